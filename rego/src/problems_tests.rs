use crate::ast::Version;
use crate::{Policy, Source, problems};

fn sources<'t>(texts: &[&'t str]) -> Vec<Source<'t>> {
    let named = ["a.rego", "b.rego", "c.rego"];
    texts.iter().zip(named).map(|(text, name)| Source { name, text, version: Version::V1 }).collect()
}

/// What is told of files, as `file:row:col code`.
fn check(texts: &[&str], expected: &[&str]) {
    let told: Vec<String> = problems(&sources(texts))
        .iter()
        .map(|one| format!("{}:{}:{} {}", one.file, one.loc.row, one.loc.col, one.code))
        .collect();
    assert_eq!(told, expected, "{texts:?}");
    assert_eq!(Policy::load(&sources(texts)).is_err(), !told.is_empty(), "{texts:?}");
}

#[test]
fn nothing_is_told_of_what_loads() {
    check(&["package a\np if input.x"], &[]);
    check(&[], &[]);
}

#[test]
fn every_file_that_cannot_be_read_is_told_and_nothing_else() {
    check(
        &["package a\np if {", "package b\np if q.r", "package c\n\np :="],
        &["a.rego:2:7 rego_parse_error", "c.rego:3:5 rego_parse_error"],
    );
}

#[test]
fn every_rule_that_does_not_compile_is_told_once() {
    check(
        &["package a\np if x == 1\nq if y == 1\nr if nope(1)\ns if t\nt if s"],
        &[
            "a.rego:2:6 rego_unsafe_var_error",
            "a.rego:3:6 rego_unsafe_var_error",
            "a.rego:4:6 rego_type_error",
            "a.rego:5:1 rego_recursion_error",
        ],
    );
}

#[test]
fn what_asks_for_a_rule_with_an_error_is_not_told() {
    check(
        &["package a\np if f(1)\nf(x) := y if z == x\nq contains x if f(x)"],
        &["a.rego:3:9 rego_unsafe_var_error", "a.rego:4:17 rego_unsafe_var_error"],
    );
    check(&["package a\np[x] := 1 if y == 1\nq if p.a"], &["a.rego:2:3 rego_unsafe_var_error"]);
}

#[test]
fn a_function_in_the_place_of_a_document_is_told_as_opa_tells_it() {
    check(
        &["package a\np if data.d with data.a.f as type_name\nq if data.d with input as io.jwt.decode"],
        &["a.rego:2:30 rego_unsafe_var_error", "a.rego:3:27 rego_unsafe_var_error"],
    );
    check(&["package a\np if data.d with input as f\nf(_) := 1"], &["a.rego:2:18 rego_type_error"]);
}

#[test]
fn rules_that_do_not_go_together_are_told_and_come_to_an_end() {
    check(&["package a\np := 1\np contains 2\np contains 3"], &["a.rego:2:1 rego_type_error"]);
    check(&["package a\nimport data.b as input\np := 1"], &["a.rego:2:1 rego_parse_error"]);
}

#[test]
fn no_more_than_so_many_are_told() {
    let text: String = (0..80).map(|n| format!("p{n} if x{n} == 1\n")).collect();
    assert_eq!(problems(&sources(&[&format!("package a\n{text}")])).len(), crate::PROBLEMS_MAX);
}

#[test]
fn what_an_entry_asks_is_told_from_what_it_does_not() {
    let text =
        "package a\np if q\nq if f(1)\nf(x) if x == 1\nr if true\nr if false\ng(x) if x == 1\ndefault s := 1";
    let policy = Policy::load(&sources(&[text])).unwrap();
    let unreached = policy.unreached(&policy.entry(&["a", "p"]).unwrap());
    let rows: Vec<u32> = unreached.iter().map(|(_, loc)| loc.row).collect();
    assert_eq!(rows, [5, 6, 7, 8]);
    assert_eq!(
        policy.unreached(&policy.entry(&["a"]).unwrap()).iter().map(|(_, loc)| loc.row).collect::<Vec<_>>(),
        [7]
    );
    assert_eq!(policy.definitions().iter().map(|loc| loc.row).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn definitions_that_no_index_tells_apart_are_counted() {
    let many = |condition: &dyn Fn(usize) -> String| {
        let rules: String = (0..20).map(|n| format!("p if {}\n", condition(n))).collect();
        format!("package a\n{rules}")
    };
    let tried = |text: &str| {
        let policy = Policy::load(&sources(&[text])).unwrap();
        policy.unindexed(10).iter().map(|rule| (rule.tried, rule.definitions)).collect::<Vec<_>>()
    };
    assert_eq!(tried(&many(&|n| format!("input.x > {n}"))), [(20, 20)]);
    assert_eq!(tried(&many(&|n| format!("input.x == {n}"))), []);
    let mixed = |n: usize| if n < 8 { format!("input.x == {n}") } else { format!("input.x > {n}") };
    assert_eq!(tried(&many(&mixed)), [(12, 20)]);
}
