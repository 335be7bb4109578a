//! The request cases of llhttp, Node's parser, in all its modes: what it takes only when it is told to be lenient is a
//! case here like the others.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::run;
use serde_json::Value;

/// The cases, as they are and, where they name no host, with one; empty when there is no suite.
pub fn cases() -> Vec<Vec<u8>> {
    let Some(data) = std::env::var_os("POSTERN_DATA") else { return Vec::new() };
    let path = Path::new(&data).join("llhttp/llhttp-cases.json.gz");
    if !path.is_file() {
        return Vec::new();
    }
    let mut command = Command::new("gzip");
    command.arg("-dc").arg(&path);
    let text = run(command, Duration::from_secs(20)).expect_code(0).out;
    let all: Vec<Value> = serde_json::from_str(&text).expect("the cases");
    let requests = all.iter().filter(|case| {
        case["meta"]["type"].as_str().is_none_or(|kind| kind.starts_with("request"))
            && case["raw"].as_str().is_some_and(|raw| raw.contains("HTTP/"))
            && !case["raw"].as_str().is_some_and(|raw| raw.starts_with("HTTP/"))
    });
    requests.filter_map(|case| case["raw"].as_str()).flat_map(|raw| with_host(bytes(raw))).collect()
}

/// The notation of the suite: a line's end is CRLF unless a backslash precedes it, and `\r`, `\n` and such are those bytes.
fn bytes(raw: &str) -> Vec<u8> {
    let joined = raw.replace("\\\n", "").replace('\n', "\r\n");
    let signs = [("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\u{c}"), ("\\b", "\u{8}")];
    signs.iter().fold(joined, |text, (from, to)| text.replace(from, to)).into_bytes()
}

fn with_host(case: Vec<u8>) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(&case).to_ascii_lowercase();
    let end = case.windows(2).position(|two| two == b"\r\n");
    match end {
        Some(end) if !text.contains("\nhost:") => {
            let mut hosted = case.clone();
            drop(hosted.splice(end..end, b"\r\nHost: a.test".iter().copied()));
            vec![case, hosted]
        }
        _ => vec![case],
    }
}
