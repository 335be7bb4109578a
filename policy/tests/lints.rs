//! `postern policy check` over policies that are known to be right: it finds no errors in them.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails says so by panicking")]
use postern_policy::Entry;
use postern_policy::tooling::{Findings, Severity, Table, check, findings_plain};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn files_of(folder: &Path, below: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_of(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn refuse_errors(name: &str, found: &Findings) {
    assert_eq!(found.count(Severity::Error), 0, "{name}:\n{}", findings_plain(found));
}

/// The folders below one that hold a bundle with its table of cases.
fn policies_below(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("cases.yaml").is_file() && folder.join("bundle").is_dir() {
        found.push(folder.to_owned());
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            policies_below(&entry.path(), found);
        }
    }
}

#[test]
fn the_example_policies_have_neither_errors_nor_warnings() {
    let mut folders = Vec::new();
    policies_below(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/policies"), &mut folders);
    assert!(folders.len() >= 5, "{folders:?}");
    for folder in folders {
        let cases = std::fs::read(folder.join("cases.yaml")).unwrap();
        let entry = Table::read("cases.yaml", &cases).unwrap().decision.entry();
        let mut files = BTreeMap::new();
        files_of(&folder.join("bundle"), "", &mut files);
        let found = check("bundle", &files, Some(&entry));
        refuse_errors(&folder.display().to_string(), &found);
        assert_eq!(found.count(Severity::Warning), 0, "{}:\n{}", folder.display(), findings_plain(&found));
    }
}

#[test]
fn policies_written_for_the_opa_envoy_plugin_have_no_errors() {
    let Some(root) = std::env::var_os("POSTERN_DATA") else {
        println!("SKIPPED policies_written_for_the_opa_envoy_plugin_have_no_errors: POSTERN_DATA is not set");
        return;
    };
    let path = Path::new(&root).join("opa-envoy/opa-envoy-cases.json");
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut seen = 0;
    for case in all.get("check_cases").and_then(serde_json::Value::as_array).unwrap() {
        let text = |name: &str| case.get(name).and_then(serde_json::Value::as_str);
        let (Some(policy), Some(name)) = (text("policy"), text("name")) else { continue };
        let entry = text("decision_path").map(|path| Entry::Rego { path: path.to_owned() });
        let files = BTreeMap::from([("policy.rego".to_owned(), policy.as_bytes().to_vec())]);
        refuse_errors(name, &check("bundle", &files, entry.as_ref()));
        seen += 1;
    }
    assert!(seen >= 20, "{seen} policies");
}
