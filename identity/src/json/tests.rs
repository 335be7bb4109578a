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

mod properties {
    use proptest::prelude::*;

    use super::*;

    const WIDE: Limits = Limits { depth_max: 64, values_max: 10_000 };

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("JSON has no infinity", |f| f.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_read_back(value in document()) {
            let compact = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(parse(compact.as_bytes(), WIDE), Ok(value.clone()));
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(parse(pretty.as_bytes(), WIDE), Ok(value));
        }

        #[test]
        fn what_is_taken_is_what_serde_json_takes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = parse(&bytes, WIDE) {
                prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
            }
        }

        #[test]
        fn text_that_is_nearly_json_never_differs(text in r#"[\[\]{},:0-9eE+\-."\\utrnalsf ]{0,40}"#) {
            match (parse(text.as_bytes(), WIDE), serde_json::from_str::<Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Ok(ours), Err(error)) => prop_assert!(false, "{ours} although {error}"),
                (Err(JsonError::Duplicate { .. } | JsonError::NumberTooLong(_)), Ok(_)) | (Err(_), Err(_)) => {}
                (Err(error), Ok(theirs)) => prop_assert!(false, "{error} although {theirs}"),
            }
        }
    }
}
