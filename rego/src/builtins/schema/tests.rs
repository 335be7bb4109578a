use super::super::testing::{Dice, Row, Want, agree_on_first, check};

fn verify(schema: &'static str, error: &'static str) -> Row {
    let want = match error {
        "" => "[true, null]".to_owned(),
        error => format!("[false, {:?}]", format!("jsonschema: {error}")),
    };
    ("json.verify_schema", format!("[{schema}]").leak(), Want::Value(want.leak()))
}

/// A document that does one thing wrong, or, with an empty kind, nothing.
fn fits(document: &str, schema: &str, kind: &str, field: &str, text: &str) -> Row {
    let want = match kind {
        "" => "[true, []]".to_owned(),
        kind => format!(
            "[false, [{{\"type\": {kind:?}, \"field\": {field:?}, \"desc\": {text:?}, \"error\": {:?}}}]]",
            format!("{field}: {text}")
        ),
    };
    let args = format!("[{document}, {schema}]");
    ("json.match_schema", args.leak(), Want::Value(want.leak()))
}

fn good(document: &str, schema: &str) -> Row {
    fits(document, schema, "", "", "")
}

#[test]
fn schemas_are_told_from_what_is_none() {
    check(&[
        verify(r#"{"type": "boolean"}"#, ""),
        verify(r#""{\"type\": \"boolean\"}""#, ""),
        verify(r#"{}"#, ""),
        verify(r#""true""#, ""),
        verify("[]", "schema is invalid"),
        verify(r#""1""#, "schema is invalid"),
        verify(r#""{""#, "invalid JSON string"),
        verify("1", "wrong type, expected string or object"),
        verify(
            r#"{"type": "unknown_type"}"#,
            "has a primitive type that is NOT VALID -- given: /unknown_type/ Expected valid values are:[array boolean integer number null object string]",
        ),
        verify(r#"{"type": ["string", "string"]}"#, "string type is duplicated"),
        verify(r#"{"type": 1}"#, "Invalid type. Expected: type, given: string/Array Of Strings"),
        verify(r#"{"$schema": 1}"#, "$schema must be of type string"),
        verify(r#"{"title": 1}"#, "Invalid type. Expected: string, given: title"),
        verify(r#"{"id": 1}"#, "Invalid type. Expected: string, given: id"),
        verify(r#"{"definitions": []}"#, "Invalid type. Expected: Array Of Schemas, given: definitions"),
        verify(
            r#"{"definitions": {"a": 1}}"#,
            "Invalid type. Expected: Array Of Schemas, given: definitions",
        ),
        verify(r#"{"properties": []}"#, "Properties must be of type object"),
        verify(r#"{"properties": {"a": 1}}"#, "Expected: Valid Schema, given: Invalid JSON"),
        verify(
            r#"{"additionalProperties": 1}"#,
            "Invalid type. Expected: boolean/Valid Schema, given: additionalProperties",
        ),
        verify(
            r#"{"patternProperties": 1}"#,
            "Invalid type. Expected: Valid Schema, given: patternProperties",
        ),
        verify(r#"{"propertyNames": 1}"#, "Invalid type. Expected: Valid Schema, given: patternProperties"),
        verify(r#"{"dependencies": {"a": 1}}"#, "Dependency must be of type Schema Or Array Of Strings"),
        verify(r#"{"items": 1}"#, "Invalid type. Expected: Valid Schema/Array Of Schemas, given: items"),
        verify(r#"{"multipleOf": 0}"#, "multipleOf must be strictly greater than 0"),
        verify(r#"{"multipleOf": "1"}"#, "Invalid type. Expected: Number, given: multipleOf"),
        verify(r#"{"minimum": "1"}"#, "minimum must be of a Number"),
        verify(r#"{"exclusiveMinimum": true}"#, "exclusiveMinimum cannot be used without minimum"),
        verify(r#"{"minLength": -1}"#, "minLength must be greater than or equal to 0"),
        verify(r#"{"minLength": 1.0}"#, "minLength must be of an integer"),
        verify(r#"{"minLength": 2, "maxLength": 1}"#, "minLength cannot be greater than maxLength"),
        verify(r#"{"minItems": 2, "maxItems": 1}"#, ""),
        verify(r#"{"required": ["a", "a"]}"#, "required items must be unique"),
        verify(r#"{"required": "a"}"#, "required must be of an array"),
        verify(r#"{"enum": [1, 1.0]}"#, "enum items must be unique"),
        verify(r#"{"uniqueItems": 1}"#, "uniqueItems must be of a boolean"),
        verify(r#"{"allOf": [1]}"#, "Expected: Valid Schema, given: Invalid JSON"),
        verify(r#"{"not": 1}"#, "not must be of an object"),
        verify(r#"{"if": 1}"#, "if must be of an object"),
        verify(r##"{"$ref": "#/definitions/a"}"##, "Object has no key 'definitions'"),
        verify(r##"{"$ref": "#/a", "a": 1}"##, "Valid Schema must be of type object"),
    ]);
}

#[test]
fn drafts_allow_what_they_know() {
    let four = "http://json-schema.org/draft-04/schema#";
    let six = "http://json-schema.org/draft-06/schema#";
    let of = |draft: &str, rest: &str| &*format!("{{\"$schema\": \"{draft}\", {rest}}}").leak();
    check(&[
        verify(of(four, r#""properties": {"a": true}"#), "Expected: Valid Schema, given: Invalid JSON"),
        verify(
            of(four, r#""exclusiveMinimum": 1"#),
            "Invalid type. Expected: boolean, given: exclusiveMinimum",
        ),
        verify(
            of(six, r#""minimum": 1, "exclusiveMinimum": true"#),
            "Invalid type. Expected: number, given: exclusiveMinimum",
        ),
        verify(of(six, r#""id": 1"#), ""),
        good("[1]", of(four, r#""const": 2, "contains": {"type": "string"}"#)),
        good("[1]", of(six, r#""if": true, "then": false"#)),
        good(
            "[1]",
            of("https://json-schema.org/draft/2020-12/schema", r#""prefixItems": [false], "$defs": 1"#),
        ),
    ]);
}

#[test]
fn objects_are_held_against_schemas() {
    check(&[
        good(r#"{"id": 5}"#, r#"{"properties": {"id": {"type": "integer"}}, "required": ["id"]}"#),
        good(r#""{\"id\": 5}""#, r#"{"properties": {"id": {"type": "integer"}}}"#),
        good(r#"{"id": 5.0}"#, r#""{\"properties\": {\"id\": {\"type\": \"integer\"}}}""#),
        fits(
            r#"{"id": "foo"}"#,
            r#"{"properties": {"id": {"type": "integer"}}}"#,
            "invalid_type",
            "id",
            "Invalid type. Expected: integer, given: string",
        ),
        fits(
            r#"{"a": [{"b": 1.5}]}"#,
            r#"{"properties": {"a": {"items": {"properties": {"b": {"type": ["integer", "null"]}}}}}}"#,
            "invalid_type",
            "a.0.b",
            "Invalid type. Expected: [integer,null], given: number",
        ),
        fits(
            "[]",
            r#"{"type": "object"}"#,
            "invalid_type",
            "(Root)",
            "Invalid type. Expected: object, given: array",
        ),
        fits("{}", r#"{"required": ["id"]}"#, "required", "(Root)", "id is required"),
        fits(
            r#"{"a": 1}"#,
            r#"{"additionalProperties": false}"#,
            "additional_property_not_allowed",
            "(Root)",
            "Additional property a is not allowed",
        ),
        fits(
            r#"{"a": {"b": 1}}"#,
            r#"{"properties": {"a": {"additionalProperties": {"type": "null"}}}}"#,
            "invalid_type",
            "a.b",
            "Invalid type. Expected: null, given: integer",
        ),
        fits(
            r#"{"a": 1}"#,
            r#"{"dependencies": {"a": ["b"]}}"#,
            "missing_dependency",
            "(Root)",
            "Has a dependency on b",
        ),
        fits(
            r#"{"a": 1}"#,
            r#"{"dependencies": {"a": {"minProperties": 2}}}"#,
            "array_min_properties",
            "(Root)",
            "Must have at least 2 properties",
        ),
        fits(
            r#"{"a": 1}"#,
            r#"{"maxProperties": 0}"#,
            "array_max_properties",
            "(Root)",
            "Must have at most 0 properties",
        ),
    ]);
}

#[test]
fn arrays_are_held_against_schemas() {
    check(&[
        fits(
            "[1, 2]",
            r#"{"items": [{}], "additionalItems": false}"#,
            "array_no_additional_items",
            "(Root)",
            "No additional items allowed on array",
        ),
        fits(
            "[1, 2]",
            r#"{"items": [{}], "additionalItems": {"type": "null"}}"#,
            "invalid_type",
            "1",
            "Invalid type. Expected: null, given: integer",
        ),
        good("[1, 2]", r#"{"additionalItems": false}"#),
        fits("[1]", r#"{"minItems": 2}"#, "array_min_items", "(Root)", "Array must have at least 2 items"),
        fits("[1]", r#"{"maxItems": 0}"#, "array_max_items", "(Root)", "Array must have at most 0 items"),
        fits(
            "[1, 2, 1.0]",
            r#"{"uniqueItems": true}"#,
            "unique",
            "(Root)",
            "array items[0,2] must be unique",
        ),
        good("[9007199254740993, 1]", r#"{"contains": {"const": 9007199254740992}}"#),
        fits("[]", r#"{"contains": {}}"#, "contains", "(Root)", "At least one of the items must match"),
    ]);
}

#[test]
fn numbers_and_strings_are_held_against_schemas() {
    check(&[
        fits("[0.3]", r#"{"items": {"multipleOf": 0.2}}"#, "multiple_of", "0", "Must be a multiple of 0.2"),
        good("[0.3, 1e3]", r#"{"items": {"multipleOf": 0.1}}"#),
        fits("[7]", r#"{"items": {"maximum": 6.5}}"#, "number_lte", "0", "Must be less than or equal to 6.5"),
        fits(
            "[7]",
            r#"{"items": {"maximum": 7, "exclusiveMaximum": true}}"#,
            "number_lt",
            "0",
            "Must be less than 7",
        ),
        fits(
            "[-7]",
            r#"{"items": {"exclusiveMinimum": 1000000}}"#,
            "number_gt",
            "0",
            "Must be greater than 1e+06",
        ),
        fits(
            "[-7]",
            r#"{"items": {"minimum": -6}}"#,
            "number_gte",
            "0",
            "Must be greater than or equal to -6",
        ),
        fits(
            r#"["é"]"#,
            r#"{"items": {"minLength": 2}}"#,
            "string_gte",
            "0",
            "String length must be greater than or equal to 2",
        ),
        fits(
            r#"["éé"]"#,
            r#"{"items": {"maxLength": 1}}"#,
            "string_lte",
            "0",
            "String length must be less than or equal to 1",
        ),
    ]);
}

#[test]
fn values_are_held_against_several_schemas() {
    check(&[
        fits(
            r#"["<"]"#,
            r#"{"items": {"const": {"b": 1.50, "a": "<"}}}"#,
            "const",
            "0",
            "0 does not match: {\"a\":\"\\u003c\",\"b\":1.5}",
        ),
        fits(
            "[3]",
            r#"{"items": {"enum": [1, "x", null]}}"#,
            "enum",
            "0",
            "0 must be one of the following: 1, \"x\", null",
        ),
        fits("[3]", r#"{"not": {}}"#, "number_not", "(Root)", "Must not validate the schema (not)"),
        fits("[3]", r#"{"items": false}"#, "false", "0", "False always fails validation"),
        fits(
            "[3]",
            r#"{"oneOf": [{}, true]}"#,
            "number_one_of",
            "(Root)",
            "Must validate one and only one schema (oneOf)",
        ),
        good(
            "[3]",
            r#"{"anyOf": [{"type": "string"}, {"type": "array"}], "oneOf": [{"type": "string"}, {"type": "array"}]}"#,
        ),
        ("json.match_schema", r#"[1, {}]"#, Want::Failed),
        ("json.match_schema", r#"["x", {}]"#, Want::Failed),
        ("json.match_schema", r#"[{}, {"type": "unknown"}]"#, Want::Failed),
        ("json.match_schema", r#"[{}, null]"#, Want::Failed),
    ]);
}

#[test]
fn the_best_of_several_schemas_tells_what_is_wrong() {
    check(&[
        (
            "json.match_schema",
            r#"[{"a": 1}, {"anyOf": [{"type": "string"}, {"properties": {"a": {"type": "null"}}}]}]"#,
            Want::Value(
                r#"[false, [
            {"type": "number_any_of", "field": "(Root)", "desc": "Must validate at least one schema (anyOf)", "error": "(Root): Must validate at least one schema (anyOf)"},
            {"type": "invalid_type", "field": "a", "desc": "Invalid type. Expected: null, given: integer", "error": "a: Invalid type. Expected: null, given: integer"}]]"#,
            ),
        ),
        (
            "json.match_schema",
            r#"[[1, 2], {"allOf": [{"maxItems": 1}], "if": true, "then": {"minItems": 3}}]"#,
            Want::Value(
                r#"[false, [
            {"type": "array_max_items", "field": "(Root)", "desc": "Array must have at most 1 items", "error": "(Root): Array must have at most 1 items"},
            {"type": "number_all_of", "field": "(Root)", "desc": "Must validate all the schemas (allOf)", "error": "(Root): Must validate all the schemas (allOf)"},
            {"type": "condition_then", "field": "(Root)", "desc": "Must validate \"then\" as \"if\" was valid", "error": "(Root): Must validate \"then\" as \"if\" was valid"},
            {"type": "array_min_items", "field": "(Root)", "desc": "Array must have at least 3 items", "error": "(Root): Array must have at least 3 items"}]]"#,
            ),
        ),
        (
            "json.match_schema",
            r#"[["x", 1], {"contains": {"type": "null"}, "oneOf": [{"minItems": 3}, {"type": "string"}]}]"#,
            Want::Value(
                r#"[false, [
            {"type": "number_one_of", "field": "(Root)", "desc": "Must validate one and only one schema (oneOf)", "error": "(Root): Must validate one and only one schema (oneOf)"},
            {"type": "array_min_items", "field": "(Root)", "desc": "Array must have at least 3 items", "error": "(Root): Array must have at least 3 items"},
            {"type": "contains", "field": "(Root)", "desc": "At least one of the items must match", "error": "(Root): At least one of the items must match"},
            {"type": "invalid_type", "field": "0", "desc": "Invalid type. Expected: null, given: string", "error": "0: Invalid type. Expected: null, given: string"}]]"#,
            ),
        ),
        (
            "json.match_schema",
            r#"[{"a": 1}, {"propertyNames": {"maxLength": 0}}]"#,
            Want::Value(
                r#"[false, [
            {"type": "invalid_property_name", "field": "(Root)", "desc": "Property name of \"a\" does not match", "error": "(Root): Property name of \"a\" does not match"},
            {"type": "string_lte", "field": "(Root)", "desc": "String length must be less than or equal to 0", "error": "(Root): String length must be less than or equal to 0"}]]"#,
            ),
        ),
    ]);
}

#[test]
fn references_lead_through_the_document() {
    let tree = r##"{"type": "object", "properties": {"next": {"$ref": "#"}, "at": {"$ref": "#/definitions/a~1b"}}, "definitions": {"a/b": {"type": "integer"}}}"##;
    let named = r##"{"$id": "https://example.com/tree.json#", "properties": {"a": {"$ref": "#/definitions/a"}, "b": {"$ref": "https://example.com/tree.json#/definitions/a"}}, "definitions": {"a": {"type": "null"}}}"##;
    check(&[
        good(r#"{"next": {"next": {"at": 1}}}"#, tree),
        fits(
            r#"{"next": {"next": {"at": "1"}}}"#,
            tree,
            "invalid_type",
            "next.next.at",
            "Invalid type. Expected: integer, given: string",
        ),
        good(r#"{"a": null, "b": null}"#, named),
        fits(
            r#"{"a": null, "b": 1}"#,
            named,
            "invalid_type",
            "b",
            "Invalid type. Expected: null, given: integer",
        ),
        good("[1]", r##"{"items": {"$ref": "#/x/0"}, "x": [{"type": "integer"}]}"##),
        good(
            "[1]",
            r##"{"items": {"$ref": "#/definitions/a", "type": "string"}, "definitions": {"a": true}}"##,
        ),
        good(r#"{"$ref": 1}"#, r##"{"properties": {"$ref": {"type": "integer"}}}"##),
        good(
            "[]",
            r##"{"$id": "tree", "examples": [{"id": "a"}, {"id": "b"}], "items": {"$ref": "#/definitions/a"}, "definitions": {"a": {}}}"##,
        ),
    ]);
}

#[test]
fn what_lies_elsewhere_or_leads_nowhere_ends_the_decision() {
    let refused =
        |schema: &str| -> Row { ("json.match_schema", format!("[[1], {schema}]").leak(), Want::Budget) };
    check(&[
        refused(r##"{"$ref": "#"}"##),
        refused(r##"{"allOf": [{"$ref": "#"}]}"##),
        refused(r#"{"$ref": "https://example.com/schema"}"#),
        refused(r#"{"$ref": "http://json-schema.org/draft-07/schema#"}"#),
        refused(r##"{"$ref": "#a", "definitions": {"a": {"$id": "#a"}}}"##),
        refused(r##"{"definitions": {"a": {"$id": "a", "items": {"$ref": "#"}}}}"##),
        refused(r#"{"definitions": {"a": {"$id": "a"}, "b": {"$id": "a"}}}"#),
        refused(r##"{"items": {"$ref": "#/definitions/a", "type": 1}, "definitions": {"a": true}}"##),
        refused(r#"{"const": 1e400}"#),
        refused(r#"{"minimum": 1e3000}"#),
        refused(r#"{"items": {"type": "integer"}, "x": 1, "not": {"maximum": 1e-3000}}"#),
    ]);
    let chain: Vec<String> =
        (0..1000).map(|i| format!("\"d{i}\": {{\"$ref\": \"#/definitions/d{}\"}}", i + 1)).collect();
    let args = format!("[{{\"$ref\": \"#/definitions/d0\", \"definitions\": {{{}}}}}]", chain.join(", "));
    check(&[("json.verify_schema", args.leak(), Want::Budget)]);
}

#[test]
fn formats_are_what_go_takes_for_them() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("date", &["2020-02-29"], &["2021-02-29", "2020-2-29", ""]),
        ("time", &["10:00:00", "10:00:00Z", "10:00:00.5+01:00"], &["10:00", "25:00:00"]),
        ("date-time", &["2020-02-29T10:00:00Z", "10:00:00", "2020-02-29"], &["2020-02-29 10:00:00Z", "x"]),
        ("ipv4", &["1.2.3.4", "::ffff:1.2.3.4"], &["1.2.3", "01.2.3.4", "::1"]),
        ("ipv6", &["::1", "::ffff:1.2.3.4"], &["1.2.3.4", "::1%eth0", ":::"]),
        (
            "email",
            &["a@b", " a.b@c.d ", "é@ü", "a@ b"],
            &["a", "a@", "@b", "a.@b", "a@b@c", "a b@c", "a..b@c", "a,b@c", ""],
        ),
        ("hostname", &["a", "a-b.c", "1.2"], &["", "-a", "a-", "a..b", "a_b", "a."]),
        (
            "uuid",
            &["00000000-0000-0000-0000-00000000000A"],
            &["0000-0000", "00000000-0000-0000-0000-00000000000g"],
        ),
        ("json-pointer", &["", "/a/~0~1", "/"], &["a", "/~2", "/~"]),
        ("relative-json-pointer", &["0", "1#", "10/a"], &["", "01", "/a", "-1"]),
        (
            "uri",
            &["http://a/b?c#d", "mailto:x", "a://u:p@h:1/%20", "a:"],
            &[
                "",
                "//a",
                "a",
                "http://a b",
                ":a",
                "http://a:x/",
                "a:\\\\b",
                "1a:b",
                "http://a/%zz",
                "a:b\\u007f",
            ],
        ),
        (
            "uri-reference",
            &["", "a/b:c", "//h/p", "?#", "*", "///a", "a%20b"],
            &["a b:c", "b\\u0000", "a%2", "#%g", "\\\\", "//h h"],
        ),
        ("uri-template", &["http://a/{b}", "a{b{c}", "a}"], &["a{b", "a{b}{", "\\\\"]),
        ("nothing-known", &["", "x"], &[]),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for (format, have, have_not) in cases {
        let schema = format!("{{\"items\": {{\"format\": \"{format}\"}}}}");
        for text in *have {
            rows.push(good(&format!("[\"{text}\"]"), &schema));
        }
        for text in *have_not {
            let error = format!("Does not match format '{format}'");
            rows.push(fits(&format!("[\"{text}\"]"), &schema, "format", "0", &error));
        }
    }
    rows.push(good("[1, null, {}]", r#"{"items": {"format": "date"}}"#));
    for (format, text) in
        [("email", "A <a@b>"), ("uri", "http://[::1]/"), ("uri", "http://a:1:2/"), ("uri-template", "a%7B")]
    {
        let args = format!("[[\"{text}\"], {{\"items\": {{\"format\": \"{format}\"}}}}]");
        rows.push(("json.match_schema", args.leak(), Want::Budget));
    }
    check(&rows);
}

#[test]
fn patterns_are_regular_expressions() {
    check(&[
        verify(r#"{"pattern": "("}"#, "pattern must be a valid regex"),
        verify(r#"{"patternProperties": {"(": {}}}"#, "Invalid regex pattern '('"),
        good(r#"["abc"]"#, r#"{"items": {"pattern": "b"}}"#),
        fits(r#"["ac"]"#, r#"{"items": {"pattern": "b"}}"#, "pattern", "0", "Does not match pattern 'b'"),
        fits(
            r#"{"xa": 1, "b": 1}"#,
            r#"{"patternProperties": {"^x": {"type": "null"}}}"#,
            "invalid_type",
            "xa",
            "Invalid type. Expected: null, given: integer",
        ),
        good(r#"{"xa": 1}"#, r#"{"patternProperties": {"^x": {}}, "additionalProperties": false}"#),
        good(r#"["^a+$"]"#, r#"{"items": {"format": "regex"}}"#),
        fits(r#"["("]"#, r#"{"items": {"format": "regex"}}"#, "format", "0", "Does not match format 'regex'"),
    ]);
}

fn document(dice: &mut Dice, depth: u64) -> String {
    let many = |dice: &mut Dice| 0..dice.roll(4);
    match dice.roll(if depth == 0 { 6 } else { 9 }) {
        0 => "null".to_owned(),
        1 => dice.pick(&["true", "false"]).to_string(),
        2 | 3 => dice.pick(&["0", "1", "2.0", "-3", "1.5", "10", "1e2"]).to_string(),
        4 | 5 => format!("\"{}\"", dice.pick(&["", "a", "bb", "ccc", "2020-01-01"])),
        6 | 7 => {
            let members = many(dice)
                .map(|_| format!("\"{}\": {}", dice.pick(&["a", "b", "c", "d"]), document(dice, depth - 1)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        _ => format!("[{}]", many(dice).map(|_| document(dice, depth - 1)).collect::<Vec<_>>().join(", ")),
    }
}

fn keyword(dice: &mut Dice, depth: u64) -> String {
    let types = ["array", "boolean", "integer", "number", "null", "object", "string", "odd"];
    let inner = |dice: &mut Dice| if depth == 0 { "true".to_owned() } else { schema(dice, depth - 1) };
    let list = |dice: &mut Dice| (0..1 + dice.roll(3)).map(|_| inner(dice)).collect::<Vec<_>>().join(", ");
    let number = *dice.pick(&["0", "1", "2", "3", "1.5", "-1", "2.0"]);
    match dice.roll(18) {
        0 | 1 => format!("\"type\": \"{}\"", dice.pick(&types[..7])),
        2 => format!("\"type\": [\"{}\", \"{}\"]", dice.pick(&types), dice.pick(&types)),
        3 => format!("\"properties\": {{\"a\": {}, \"b\": {}}}", inner(dice), inner(dice)),
        4 => format!("\"additionalProperties\": {}", inner(dice)),
        5 => format!("\"required\": [\"{}\", \"{}\"]", dice.pick(&["a", "b"]), dice.pick(&["b", "c"])),
        6 => format!(
            "\"{}\": {number}",
            dice.pick(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"])
        ),
        7 => format!("\"minimum\": {number}, \"exclusiveMinimum\": {}", dice.pick(&["true", "false", "1"])),
        8 => format!(
            "\"{}\": {number}",
            dice.pick(&["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"])
        ),
        9 => format!("\"items\": {}", inner(dice)),
        10 => format!("\"items\": [{}], \"additionalItems\": {}", list(dice), inner(dice)),
        11 => format!("\"{}\": [{}]", dice.pick(&["anyOf", "oneOf", "allOf"]), list(dice)),
        12 => format!("\"{}\": {}", dice.pick(&["not", "contains", "propertyNames"]), inner(dice)),
        13 => format!("\"if\": {}, \"then\": {}, \"else\": {}", inner(dice), inner(dice), inner(dice)),
        14 => format!("\"enum\": [{}, {}]", document(dice, 1), document(dice, 1)),
        15 => format!("\"const\": {}", document(dice, 1)),
        16 => format!("\"dependencies\": {{\"a\": {}, \"b\": [\"c\"]}}, \"uniqueItems\": true", inner(dice)),
        _ => {
            format!("\"$schema\": \"http://json-schema.org/draft-0{}/schema#\"", dice.pick(&["4", "6", "7"]))
        }
    }
}

fn schema(dice: &mut Dice, depth: u64) -> String {
    match dice.roll(8) {
        0 => dice.pick(&["true", "false", "{}"]).to_string(),
        _ => {
            let keywords: Vec<String> = (0..1 + dice.roll(3)).map(|_| keyword(dice, depth)).collect();
            format!("{{{}}}", keywords.join(", "))
        }
    }
}

#[test]
fn opa_agrees_on_whether_documents_fit() {
    let mut dice = Dice(5);
    let mut calls = Vec::new();
    for _ in 0..400 {
        let schema = schema(&mut dice, 2);
        let document = document(&mut dice, 3);
        calls.push(("json.verify_schema", format!("[{schema:?}]")));
        calls.push(("json.match_schema", format!("[{document:?}, {schema:?}]")));
    }
    agree_on_first(&calls);
}
