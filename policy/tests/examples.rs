//! Every folder under `examples/policies/` is a policy with a table of cases, and every case is run.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]
use postern_policy::tooling::{CASES_FILE, CasesError, Expect, NOW_NS, Selection, Suite, Table, plain};
use std::fs;
use std::path::{Path, PathBuf};

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policies");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn sources(folder: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            sources(&path, &format!("{name}/"), files);
        } else {
            files.push((name, fs::read(&path).unwrap()));
        }
    }
}

fn suite(folder: &Path) -> Suite {
    let mut files = Vec::new();
    sources(&folder.join("bundle"), "", &mut files);
    let read = |name: &str| {
        let refuse = |error: std::io::Error| CasesError { file: name.to_owned(), what: error.to_string() };
        fs::read(folder.join(name)).map_err(refuse)
    };
    let table = Table::read(CASES_FILE, &read(CASES_FILE).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let cases = table.all_cases(&read).unwrap_or_else(|error| panic!("{error}"));
    let root = folder.file_name().unwrap().to_str().unwrap().to_owned();
    Suite { root, files: files.into_iter().collect(), table: Some((CASES_FILE.to_owned(), table)), cases }
}

#[test]
fn every_example_policy_answers_its_cases() {
    let folders = folders();
    assert!(folders.len() >= 5, "there are at least five example policies");
    for folder in folders {
        let suite = suite(&folder);
        let name = &suite.root;
        assert!(folder.join("README.md").exists(), "{name} has no README.md");
        assert!(!suite.cases.is_empty(), "{name} has no cases");
        let allowed = suite.cases.iter().filter(|case| case.expect == Expect::Allow).count();
        assert!(
            allowed > 0 && allowed < suite.cases.len(),
            "{name} has no case that is allowed, or none that is denied"
        );
        let report = suite.run(&Selection::default(), NOW_NS, &|| 0);
        let report = report.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(report.passed(), "{name}:\n{}", plain(&report, false));
    }
}
