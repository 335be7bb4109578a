//! No text is too much: what nests too deep is refused, and what is read twice is not read twice at every level.
use super::*;

/// Something that nests: what opens it and what closes it, and how many levels one of it is.
const NESTING: &[(&str, &str, usize)] = &[
    ("[", "]", 1),
    ("[,", "]", 1),
    ("{", "}", 1),
    ("(", ")", 1),
    ("{1: ", "}", 1),
    ("{2: 1, 1: ", "}", 1),
    ("{", ": 1}", 1),
    ("f(", ")", 1),
    ("x[", "]", 1),
    ("f(1)[", "]", 1),
    ("$\"{", "}\"", 1),
    ("[1 | ", "]", 1),
    ("[1 | 2, ", "]", 1),
    ("[1 | 2, 3 in ", "]", 1),
    ("[1 | x in ", ", 2]", 1),
    ("{1 | x, y in ", "}", 1),
    ("{1: 2 | ", "}", 1),
    ("{1: 2 | 3, 4: ", "}", 1),
    ("{1: 2 | 3, 4 in ", ": 5}", 1),
    ("{x | not ", "}", 1),
    ("{x | y := ", "}", 1),
    ("{x | y with input as ", "}", 1),
    ("{x | some y in ", "}", 1),
    ("{x | some y, z\n", "}", 1),
    ("{x | every y in z { ", "} }", 2),
    ("{x | every y in ", "{ x } }", 1),
];

fn nested((open, close, _): &(&str, &str, usize), times: usize) -> String {
    format!("package t\np := {}1{}\n", open.repeat(times), close.repeat(times))
}

fn error_of(text: &str) -> String {
    module(text, 0, Version::V1).unwrap_err().what
}

#[test]
fn what_nests_up_to_the_bound_is_read_and_what_nests_deeper_is_refused() {
    for shape in NESTING {
        let times = (MAX_NESTING - 2) / shape.2;
        let read = module(&nested(shape, times), 0, Version::V1);
        assert!(read.is_ok(), "{shape:?}: {read:?}");
        for times in [MAX_NESTING, 10_000] {
            assert_eq!(
                error_of(&nested(shape, times)),
                "brackets and bodies may nest at most 100 deep",
                "{shape:?}"
            );
        }
    }
}

#[test]
fn a_tree_is_no_deeper_than_its_bound_whatever_makes_it_deep() {
    let operators = |count: usize| format!("package t\np := 1{}\n", " + 1".repeat(count));
    let members = |count: usize| format!("package t\np := 1{}\n", " in 1".repeat(count));
    let branches = |count: usize| format!("package t\np if x {}\n", "else := 1 if x ".repeat(count));
    let brackets = |count: usize| {
        format!("package t\np := {}1{}\n", "(".repeat(90), " * 2)".repeat(90) + &" - 1".repeat(count))
    };
    for (text, bound) in [
        (&operators as &dyn Fn(usize) -> String, MAX_DEPTH - 1),
        (&members, MAX_DEPTH - 1),
        (&branches, MAX_DEPTH),
        (&brackets, MAX_DEPTH - 181),
    ] {
        let read = module(&text(bound), 0, Version::V1);
        assert!(read.is_ok(), "{read:?}");
        for count in [bound + 1, 100_000] {
            let error = error_of(&text(count));
            assert!(error.contains("at most 500"), "{error}");
        }
    }
}

#[test]
fn depth_does_not_add_up_beside_each_other() {
    let line = "x == 1 + 2 * 3 in [4 + 5]\n";
    let text = format!("package t\np if {{\n{}}}\n{}", line.repeat(1000), "q := 1 - 2\n".repeat(1000));
    assert!(module(&text, 0, Version::V1).is_ok());
    let items = "1 + 2, [3 * 4], ".repeat(1000);
    assert!(module(&format!("package t\np := [{items}]"), 0, Version::V1).is_ok());
}

#[test]
fn a_long_head_is_not_copied_without_bound() {
    let head = format!("package t\nf([{}]) if ", "a, ".repeat(10_000));
    for more in ["{ x }", "else := 1 if x "] {
        let first = if more.starts_with('{') { "{ x }" } else { "x " };
        let text = |count: usize| format!("{head}{first}{}", more.repeat(count));
        assert!(module(&text(10), 0, Version::V1).is_ok());
        assert_eq!(
            error_of(&text(400)),
            "too many bodies and `else` branches for so long a head: make them rules with short heads"
        );
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    for version in [Version::V0, Version::V1] {
        for text in differential::texts(3, &["", "import future.keywords"], 5000) {
            if let Err(error) = module(&text, 0, version) {
                assert!(error.loc.row > 0 && !error.what.is_empty());
            }
            drop(query(&text, 0));
            let cut: String = text.chars().take(text.len() / 2).collect();
            drop(module(&cut, 0, version));
        }
    }
}
