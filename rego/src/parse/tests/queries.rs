//! Queries: expressions as `opa eval` takes them.
use super::*;

/// Checks rows of a query and the shape of its body or its error.
fn check(rows: &[(&str, &str)]) {
    for (text, want) in rows {
        let got = match query(text, 0) {
            Ok(body) => shape::of_body(&body),
            Err(error) => error.to_string(),
        };
        assert_eq!(&got, want, "{text}");
    }
}

#[test]
fn a_query_is_expressions_with_anything_between_them() {
    check(&[
        ("data.a.p = x", r#"(call eq (data "a" "p") x)"#),
        ("x := 1; y := x", "(call assign x 1); (call assign y x)"),
        ("x := 1\ny := x\n", "(call assign x 1); (call assign y x)"),
        ("x := 1 y := x # z", "(call assign x 1); (call assign y x)"),
        ("not x", "not x"),
        ("some k, v in input", "some k v in input"),
        ("every x in y { x } with input as 1", "every x in y {x} with input as 1"),
        ("1 in [1]", r#"(call (internal "member_2") 1 (array 1))"#),
        ("", "1:1: a query must not be empty"),
        ("  # x", "1:6: a query must not be empty"),
        ("x;", "1:3: unexpected end of the text: expected a term"),
        ("x, y", "1:2: unexpected `,`: here it may stand only in `key, value in collection`"),
        ("package x", "1:1: unexpected keyword `package`: expected a term"),
        ("p if x", "1:3: unexpected keyword `if`: expected a term"),
    ]);
}
