//! Every reason code that the product can give stands in `schema/reasons.json`, with what it means and how to mend
//! it; and every code that stands there can be given.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Finding, Tree};

const REGISTER: &str = "schema/reasons.json";

/// What a reason code begins with.
const FAMILIES: [&str; 14] = [
    "conn", "tls", "peer", "token", "keys", "request", "body", "route", "policy", "audit", "guard", "limit",
    "fault", "upstream",
];

/// What looks like a reason code and is the name of a file.
const FILE_ENDINGS: [&str; 12] =
    ["json", "yaml", "yml", "toml", "rego", "cedar", "pem", "key", "sock", "log", "gz", "rs"];

/// Where dotted names are keys of the configuration.
const SPEAK_OF_KEYS: [&str; 2] = ["proxy/src/config/", "proxy/src/cli/check"];

/// One row of the register, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Reason {
    code: String,
    meaning: String,
    mend: String,
}

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.texts.get(REGISTER) else {
        return vec![Finding::new(REGISTER, 0, "the register of reason codes is missing")];
    };
    let reasons: Vec<Reason> = match serde_json::from_str(text) {
        Ok(reasons) => reasons,
        Err(error) => return vec![Finding::new(REGISTER, error.line(), error.to_string())],
    };
    let mut findings = Vec::new();
    let mut registered = BTreeSet::new();
    for reason in &reasons {
        let line = line_of(text, &reason.code);
        if !is_code(&reason.code) {
            findings.push(Finding::new(
                REGISTER,
                line,
                format!("`{}` is not `family.name` or `family.group.name`", reason.code),
            ));
        }
        if !registered.insert(reason.code.as_str()) {
            findings.push(Finding::new(REGISTER, line, format!("`{}` stands here twice", reason.code)));
        }
        if reason.meaning.is_empty() || reason.mend.is_empty() {
            findings.push(Finding::new(
                REGISTER,
                line,
                format!("`{}` lacks its meaning or mend", reason.code),
            ));
        }
    }
    findings.extend(judge_use(tree, text, &registered));
    findings
}

fn judge_use(tree: &Tree, register: &str, registered: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut given: BTreeSet<&str> = BTreeSet::new();
    let by_variant: Vec<(String, &str)> = registered.iter().map(|code| (variant(code), *code)).collect();
    let gives = |path: &str| !SPEAK_OF_KEYS.iter().any(|folder| path.starts_with(folder));
    for source in tree.sources.iter().filter(|source| !source.is_test() && gives(&source.path)) {
        for (line, code) in source.product_strings().filter(|(_, text)| is_code(text)) {
            given.insert(code);
            if !registered.contains(code) && !is_file(code) {
                let message = format!("the reason code `{code}` is not in {REGISTER}");
                findings.push(Finding::new(&source.path, line, message));
            }
        }
        for (_, code) in source.product_lines().filter(|(_, code)| code.contains("Refusal::")) {
            let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric() && c != ':').collect();
            let named =
                |(variant, _): &&(String, &str)| words.iter().any(|word| word.ends_with(variant.as_str()));
            given.extend(by_variant.iter().filter(named).map(|(_, code)| *code));
        }
    }
    for code in registered.difference(&given) {
        let message = format!("no code gives the reason `{code}`");
        findings.push(Finding::new(REGISTER, line_of(register, code), message));
    }
    findings
}

/// `family.name` or `family.group.name`, in lower case with underscores.
fn is_code(text: &str) -> bool {
    let mut parts = text.split('.');
    let family = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let named = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    FAMILIES.contains(&family) && !rest.is_empty() && rest.iter().all(named)
}

/// Whether it ends like a file.
fn is_file(text: &str) -> bool {
    text.rsplit('.').next().is_some_and(|ending| FILE_ENDINGS.contains(&ending))
}

/// How `Refusal`, which is generated from the register, names the code: `token.key_unknown` is
/// `Refusal::TokenKeyUnknown`.
fn variant(code: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    let name: String = code.split(['.', '_']).filter_map(capital).collect();
    format!("Refusal::{name}")
}

fn line_of(text: &str, code: &str) -> usize {
    let quoted = format!("\"{code}\"");
    text.lines().position(|line| line.contains(&quoted)).map_or(0, |index| index + 1)
}
