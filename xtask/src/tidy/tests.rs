//! One tree a rule, each with exactly the faults it names.

use super::*;

/// Checks a tree of these files and expects a finding a row: the path it is about and a part of its message.
fn check(files: &[(&str, &str)], expected: &[(&str, &str)]) {
    let mut tree = Tree::default();
    for (path, text) in files {
        tree.add(path, (*text).to_owned());
        let mut folder = Path::new(path);
        while let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            tree.folders.push(parent.to_string_lossy().into_owned());
            folder = parent;
        }
    }
    tree.folders.sort();
    tree.folders.dedup();
    if !tree.texts.contains_key("schema/reasons.json") {
        tree.add("schema/reasons.json", "[]".to_owned());
    }
    let mut findings = check_tree(&tree);
    findings.sort();
    let described: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(findings.len(), expected.len(), "{described:#?}");
    for (finding, (path, part)) in findings.iter().zip(expected) {
        assert!(finding.path == *path && finding.message.contains(part), "{finding}: not `{path}`, `{part}`");
    }
}

#[test]
fn a_clean_tree_has_no_findings() {
    check(&[("proxy/src/lib.rs", "//! Nothing.\n"), ("README.md", "# Postern\n")], &[]);
}

#[test]
fn the_clock_is_read_in_one_file_and_in_tests() {
    let reading = "fn a() { let _ = std::time::SystemTime::now(); }\n";
    let inline = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{reading}}}\n");
    check(
        &[
            ("proxy/src/clock.rs", reading),
            ("proxy/src/late.rs", reading),
            ("proxy/src/said.rs", "// SystemTime::now\n"),
            (
                "proxy/src/timer.rs",
                "use tokio::time::{Instant, Sleep};\nfn a() { let _ = Instant::now(); }\n",
            ),
            ("proxy/src/tests.rs", reading),
            ("proxy/src/tested.rs", &inline),
            ("tests/src/lib.rs", reading),
        ],
        &[("proxy/src/late.rs", "SystemTime::now")],
    );
}

#[test]
fn long_files_and_names_that_say_nothing_are_found() {
    let long = "// a line\n".repeat(601);
    check(
        &[
            ("a/src/long.rs", &long),
            ("a/src/utils.rs", ""),
            ("a/src/common/x.rs", ""),
            ("a/src/commonly.rs", ""),
        ],
        &[("a/src/common/x.rs", "common"), ("a/src/long.rs", "601 lines"), ("a/src/utils.rs", "utils")],
    );
}

#[test]
fn unsafe_code_stands_only_where_it_is_listed() {
    let leaf = "#![forbid(unsafe_code)]\n";
    check(
        &[
            ("audit/src/lib.rs", leaf),
            ("policy/src/lib.rs", ""),
            ("proxy/src/a.rs", "fn a() { unsafe { b() } }"),
            ("proxy/src/b.rs", "// unsafe\nconst A: &str = \"unsafe\";"),
        ],
        &[("policy/src/lib.rs", "forbid"), ("proxy/src/a.rs", "unsafe")],
    );
}

#[test]
fn a_permit_is_made_by_enforce_alone() {
    let making = "fn a() { let _ = Permitted { request }; }";
    check(
        &[("proxy/src/pipeline/enforce.rs", making), ("proxy/src/pipeline/forward.rs", making)],
        &[("proxy/src/pipeline/forward.rs", "Permitted")],
    );
}

#[test]
fn words_of_one_machine_and_of_nothing_finished_are_found() {
    let (host, path, unfinished) = (concat!("pyp", "i.org"), concat!("/wo", "rk/x"), concat!("todo", "!()"));
    check(
        &[("a.md", host), ("b.yaml", path), ("c/src/d.rs", unfinished), ("Cargo.lock", host)],
        &[("a.md", host), ("b.yaml", "/"), ("c/src/d.rs", "not finished")],
    );
}

#[test]
fn an_example_without_cases_or_readme_is_found() {
    check(
        &[
            ("examples/policies/a/README.md", ""),
            ("examples/policies/a/cases.yaml", ""),
            ("examples/policies/b/x", ""),
        ],
        &[("examples/policies/b", "README.md"), ("examples/policies/b", "cases.yaml")],
    );
}

#[test]
fn reason_codes_and_their_register_agree() {
    let register = r#"[{"code": "tls.given", "meaning": "a", "mend": "b"},
{"code": "tls.never", "meaning": "a", "mend": "b"},
{"code": "tls.mute", "meaning": "", "mend": "b"},
{"code": "token.key_unknown", "meaning": "a", "mend": "b"}]"#;
    check(
        &[
            ("schema/reasons.json", register),
            ("proxy/src/b.rs", "fn b() -> Refusal { Refusal::TokenKeyUnknown }"),
            (
                "identity/src/a.rs",
                r#"const A: [&str; 4] = ["tls.given", "tls.unknown", "tls.mute", "policy.yaml"];"#,
            ),
        ],
        &[
            ("identity/src/a.rs", "`tls.unknown` is not in"),
            ("schema/reasons.json", "no code gives the reason `tls.never`"),
            ("schema/reasons.json", "lacks its meaning"),
        ],
    );
}

#[test]
fn a_link_to_nowhere_is_found() {
    check(
        &[("docs/a.md", "[b](b.md) and [c](../c/d.rs#L1)"), ("docs/b.md", "[gone](gone.md)"), ("c/d.rs", "")],
        &[("docs/b.md", "gone.md")],
    );
}
