//! Large policies are compiled in a time that grows as they do: these would not end in minutes, or overflow the stack or
//! the memory, where it grew with the square.
use crate::ast::Version;
use crate::{Policy, Source};

/// So many paths of the input are read by `data.t.p`.
fn check(rows: &[(&str, String, usize)]) {
    for (what, text, reads) in rows {
        let text = format!("package t\n{text}");
        let source = Source { name: "a.rego", text: &text, version: Version::V1 };
        let policy = Policy::load(&[source]).unwrap_or_else(|error| panic!("{what}: {error}"));
        let entry = policy.entry(&["t", "p"]).unwrap();
        let found = policy.reads(&entry).input;
        let first: Vec<_> = found.iter().take(3).collect();
        assert_eq!(found.len(), *reads, "{what}: {first:?}");
    }
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(|index| line(index) + "\n").collect()
}

fn rule(conditions: usize, condition: impl Fn(usize) -> String) -> String {
    format!("p if {{\n{}}}\n", lines(conditions, condition))
}

#[test]
fn many_definitions_load() {
    check(&[
        ("a field each", lines(40_000, |n| format!("p if input.f{n} == 1")), 40_000),
        ("a field for two", lines(20_000, |n| format!("p if input.f{} == {n}", n / 2)), 10_000),
        (
            "a field in another for two",
            lines(20_000, |n| format!("p if input.f{}.g{n} == {n}", n / 2)),
            20_000,
        ),
        ("all fields for each", lines(5, |_| rule(2_000, |field| format!("input.f{field} == 1"))), 2_000),
        (
            "one of ten values of six fields",
            lines(100, |n| rule(6, |field| format!("input.f{field} in {{{n}, 1, 2, 3, 4, 5, 6, 7, 8, 9}}"))),
            6,
        ),
    ]);
}

#[test]
fn long_bodies_load() {
    check(&[
        ("a field each", rule(20_000, |n| format!("input.f{n} == 1")), 20_000),
        ("one field", rule(20_000, |n| format!("input.f == {n}")), 1),
        ("names of one field", rule(20_000, |n| format!("x{n} = input.f")), 1),
        ("values of one field", rule(20_000, |n| format!("input.f in {{{n}, 1}}")), 1),
        ("names of fields", rule(20_000, |n| format!("x{n} = input.f{n}; x{n} in {{{n}, 1}}")), 20_000),
        (
            "names of parts of names",
            rule(1_000, |n| {
                let whole = if n == 0 { "input".to_owned() } else { format!("x{n}") };
                format!("x{} = {whole}.a", n + 1)
            }),
            2,
        ),
    ]);
}
