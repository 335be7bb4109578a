//! Sidecars with a network between them: the whole way from one application to another, which know of nothing, and what
//! becomes of it where the network is bad.

mod bad_way;
mod broken_way;
mod databases;
mod far;
mod gone;
mod names;
mod pair;
mod whole_way;

use std::time::Duration;

use postern_tests::Scene;
use postern_tests::sidecar::records;
use serde_json::Value;

/// Longest wait for another process.
const LIMIT: Duration = Duration::from_secs(20);

/// The records of this kind in a sidecar's log.
fn logged(scene: &Scene, kind: &str) -> Vec<Value> {
    let text = records(&scene.audit());
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|record| record["kind"] == kind).collect()
}

/// These members of each, sorted.
fn facts<const N: usize>(records: &[Value], members: [&str; N]) -> Vec<[String; N]> {
    let fact = |record: &Value, member: &str| match &record[member] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut all: Vec<_> = records.iter().map(|record| members.map(|member| fact(record, member))).collect();
    all.sort();
    all
}
