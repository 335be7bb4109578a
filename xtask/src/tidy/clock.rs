//! The wall clock is read in one file: everything else takes `now`, or asks the timer it runs on (`tokio::time`, which
//! a simulation can hold still).

use super::{Finding, Tree};

/// The files that may ask what time it is, and why.
const READERS: [(&str, &str); 4] = [
    ("proxy/src/clock.rs", "the clock itself"),
    ("policy/src/engine/rego/mod.rs", "the engine's own safety timer is wound up"),
    ("rego/src/eval/machine.rs", "the engine's own safety timer is looked at"),
    ("rego/suite/src/judge.rs", "cases about certificates mean the time at which they are run"),
];

const QUESTIONS: [&str; 4] = ["SystemTime::now", "Instant::now", "UnixTime::now", "Utc::now"];

/// The timer's own idea of now.
const TIMER: &str = "tokio::time::";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.sources.iter().filter(|source| !source.is_test()) {
        if READERS.iter().any(|(path, _)| source.path == *path) {
            continue;
        }
        let timer = source.product_lines().any(|(_, code)| {
            code.trim_start()
                .strip_prefix("use ")
                .is_some_and(|used| used.starts_with(TIMER) && used.contains("Instant"))
        });
        for (line, code) in source.product_lines() {
            if code.contains("Instant::now") && (timer || code.contains("tokio::time::Instant::now")) {
                continue;
            }
            for question in QUESTIONS.iter().filter(|question| code.contains(**question)) {
                let message = format!("`{question}` outside proxy/src/clock.rs; take `now` as an argument");
                findings.push(Finding::new(&source.path, line, message));
            }
        }
    }
    findings
}
