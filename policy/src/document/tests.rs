use super::*;

const SMALL: DocumentLimits = DocumentLimits { depth_max: 4, values_max: 16 };

/// Parses and compares the canonical bytes, or the start of the error.
fn check(text: &str, want: Result<&str, &str>) {
    let got = parse(text.as_bytes(), SMALL);
    match (got, want) {
        (Ok(document), Ok(want)) => {
            assert_eq!(String::from_utf8(canonical(&document)).unwrap(), want, "{text}");
        }
        (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{text}: {error}"),
        (got, want) => panic!("{text}: got {got:?}, want {want:?}"),
    }
}

#[test]
fn members_are_sorted_and_number_literals_are_kept() {
    check(r#" { "b" : 1.0 , "a" : [ 1e3, -0, true, null ] } "#, Ok(r#"{"a":[1e3,-0,true,null],"b":1.0}"#));
    check("123456789012345678901234567890", Ok("123456789012345678901234567890"));
}

#[test]
fn strings_are_escaped_as_go_escapes_them() {
    check(
        r#""<>&\u2028\b\f\n\u0001\"\\\/é😀\ud83d\ude00""#,
        Ok("\"<>&\\u2028\\b\\f\\n\\u0001\\\"\\\\/é😀😀\""),
    );
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    check(r#"{"a":1,"a":2}"#, Err("`a` stands twice"));
    check(r#"{"a":1,"\u0061":2}"#, Err("`a` stands twice"));
    check(r#""\ud800""#, Err("surrogate"));
    check(r#"{"a":1} x"#, Err("follows"));
    check("01", Err("JSON writes numbers"));
    check("1.", Err("JSON writes numbers"));
    check(".5", Err("JSON value"));
    check("+1", Err("JSON value"));
    check("NaN", Err("JSON value"));
    check("[1,]", Err("JSON value"));
    check("{,}", Err("member name"));
    check("[1 2]", Err("expected"));
    check("\"a\nb\"", Err("control character"));
    check("", Err("too early"));
    check("\u{feff}{}", Err("JSON value"));
}

#[test]
fn costs_are_bounded() {
    check("[[[[1]]]]", Ok("[[[[1]]]]"));
    check("[[[[[1]]]]]", Err("nesting"));
    check("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", Err("number of values"));
    check("1e401", Err("exponent"));
    check("1e99999999999999999999", Err("exponent"));
    check(&"9".repeat(200), Err("length of a number"));
    check(&"[".repeat(1_000_000), Err("nesting"));
}

#[test]
fn an_error_names_its_line() {
    check("{\n\n\"a\": x}", Err("line 3"));
}
