use super::*;

const LIMITS: Limits = Limits { depth_max: 4, values_max: 16 };

#[track_caller]
fn check_same_as_serde(document: &str) {
    let ours = parse(document.as_bytes(), LIMITS);
    let theirs: Value = serde_json::from_str(document).unwrap();
    assert_eq!(ours, Ok(theirs), "{document}");
}

#[track_caller]
fn check_refused(document: &str, expected: JsonError) {
    assert_eq!(parse(document.as_bytes(), LIMITS), Err(expected), "{document}");
}

#[test]
fn a_plain_document_reads_as_serde_json_reads_it() {
    for document in [
        "null",
        " true ",
        "\t[]\n",
        "{}",
        "-0",
        "0.5",
        "12e3",
        "1E-7",
        "\"\"",
        r#""a\"b\\c\/d\b\f\n\r\t""#,
        r#""\u0041\u00e4\ud83d\ude00""#,
        r#"{"a":[1,{"b":null}],"c":"ä€😀"}"#,
        "[1 , 2 ,3]",
        "123456789012345678901234567890",
        "{\"\":1}",
    ] {
        check_same_as_serde(document);
    }
}

#[test]
fn what_is_not_json_is_refused_at_its_byte() {
    for (document, at) in [
        ("", 0),
        ("{", 1),
        ("[1,]", 3),
        ("{\"a\"}", 4),
        ("{\"a\":1,}", 7),
        ("nul", 0),
        ("01", 1),
        ("+1", 0),
        ("1.", 2),
        (".5", 0),
        ("1e", 2),
        ("-", 1),
        ("NaN", 0),
        ("'a'", 0),
        ("\"a", 2),
        ("\"\n\"", 1),
        ("1 2", 2),
        ("[1]]", 3),
        ("{a:1}", 1),
        ("//", 0),
        (r#""\x""#, 2),
        (r#""\u12""#, 3),
        (r#""\u+123""#, 3),
        (r#""\ud800""#, 7),
        (r#""\udc00""#, 7),
        (r#""\ud800\u0041""#, 13),
        ("\u{feff}1", 0),
    ] {
        check_refused(document, JsonError::Syntax(at));
    }
    assert_eq!(parse(b"\"\xff\"", LIMITS), Err(JsonError::Utf8(1)));
}

#[test]
fn a_member_that_occurs_twice_is_refused_however_it_is_spelt() {
    let twice = |name: &str, at| JsonError::Duplicate { name: name.to_owned(), at };
    check_refused(r#"{"sub":"a","sub":"admin"}"#, twice("sub", 11));
    check_refused(r#"{"sub":"a","s\u0075b":"admin"}"#, twice("sub", 11));
    check_refused(r#"{"a":{"b":1,"b":1}}"#, twice("b", 12));
}

#[test]
fn limits_hold() {
    check_same_as_serde("[[[[1]]]]");
    check_refused("[[[[[1]]]]]", JsonError::TooDeep(4));
    check_refused(&"[".repeat(100_000), JsonError::TooDeep(4));
    check_same_as_serde("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]");
    check_refused("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", JsonError::TooMany(16));
    check_refused(&"1".repeat(65), JsonError::NumberTooLong(0));
}

#[test]
fn an_object_that_imitates_a_number_stays_an_object() {
    let value = parse(br#"{"$serde_json::private::Number":"1"}"#, LIMITS).unwrap();
    assert!(value.is_object());
}
