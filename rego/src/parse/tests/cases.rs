//! Every module and query of OPA's compliance cases is read, unless OPA refuses it as well.
use super::*;
use std::io::Read;

/// The cases of an archive of OPA's, when the machine has them.
#[expect(clippy::print_stdout, reason = "a skipped test says so where the suite looks for it")]
fn cases(archive: &str) -> Vec<serde_json::Value> {
    let Some(data) = std::env::var_os("POSTERN_DATA") else {
        let thread = std::thread::current();
        println!("SKIPPED {}: POSTERN_DATA is not set", thread.name().unwrap_or("a test"));
        return Vec::new();
    };
    let archive = std::fs::read(std::path::Path::new(&data).join("opa-cases").join(archive)).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    let mut all = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        if entry.path_bytes().ends_with(b".yaml") && entry.read_to_string(&mut text).is_ok() {
            // A few files hold what this YAML reader refuses.
            let file = serde_saphyr::from_str::<serde_json::Value>(&text).unwrap_or_default();
            all.extend(file.get("cases").and_then(|cases| cases.as_array()).cloned().unwrap_or_default());
        }
    }
    all
}

/// Checks that all of an archive is read, but for modules with experimental keywords.
fn check(archive: &str, version: Version) {
    let mut wrong = Vec::new();
    let mut read = 0;
    for case in cases(archive) {
        let note = case.get("note").and_then(|note| note.as_str()).unwrap_or_default();
        let modules = case.get("modules").and_then(|modules| modules.as_array()).cloned().unwrap_or_default();
        let mut results: Vec<_> = modules
            .iter()
            .map(|text| text.as_str().unwrap())
            .map(|text| module(text, 0, version).map_err(|error| (text.to_owned(), error)).err())
            .collect();
        if let Some(text) = case.get("query").and_then(|text| text.as_str()) {
            results.push(query(text, 0).map_err(|error| (text.to_owned(), error)).err());
        }
        read += results.len();
        for (text, error) in results.into_iter().flatten() {
            if !error.what.contains("is experimental") {
                wrong.push(format!("{note}: {error}\n{text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {read}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn all_modules_and_queries_of_opas_cases_of_v1_are_read() {
    check("v1.tar.gz", Version::V1);
}

#[test]
fn all_modules_and_queries_of_opas_cases_of_v0_are_read() {
    check("v0.tar.gz", Version::V0);
}
