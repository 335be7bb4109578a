//! Figures without noise: user instructions (callgrind) and system calls (strace) per request, as the difference of
//! two runs of different length, so that start, handshakes and stop cancel out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::peers::{Language, Peer, postern, upstream};
use super::{Ground, ask};

/// Requests of the short and of the long run.
const SHORT: u64 = 1_000;
const LONG: u64 = 5_000;

/// Under callgrind a drain takes a while.
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// The steps of a request that are reported apart, by a part of their function's name.
const STEPS: [(&str, &str); 3] = [
    ("normalise", "pipeline::normalise::normalise"),
    ("route", "pipeline::route::find"),
    ("decide", "pipeline::decide::ask"),
];

/// Measures and gives the table.
pub(super) fn measure(ground: &Ground) -> Result<String> {
    let _upstream = upstream(ground)?;
    let (short, long) = (instructions(ground, SHORT)?, instructions(ground, LONG)?);
    let (few, many) = (system_calls(ground, SHORT)?, system_calls(ground, LONG)?);
    let requests = (LONG - SHORT) as f64;
    let mut text = String::from("| per request | figure |\n|---|---|\n");
    for (name, _) in [("all", "")].iter().chain(&STEPS) {
        let at = |run: &BTreeMap<String, u64>| run.get(*name).copied().unwrap_or(0);
        if at(&long) > 0 {
            let each = (at(&long) as f64 - at(&short) as f64) / requests;
            let _ = writeln!(text, "| user instructions, {name} | {each:.0} |");
        }
    }
    let mut calls: Vec<(&String, f64)> = Vec::new();
    for (name, count) in &many {
        let each = (*count as f64 - few.get(name).copied().unwrap_or(0) as f64) / requests;
        if each >= 0.05 {
            calls.push((name, each));
        }
    }
    calls.sort_by(|a, b| b.1.total_cmp(&a.1));
    let sum: f64 = calls.iter().map(|(_, each)| each).sum();
    let each: Vec<String> = calls.iter().map(|(name, each)| format!("{name} {each:.2}")).collect();
    let _ = writeln!(text, "| system calls | {sum:.1} ({}) |", each.join(", "));
    Ok(text)
}

/// Instructions of a run of this length: `all`, and inclusive of each step that the optimiser left a function.
fn instructions(ground: &Ground, requests: u64) -> Result<BTreeMap<String, u64>> {
    let out = ground.folder.join(format!("callgrind.{requests}"));
    let valgrind = ground.tool("POSTERN_VALGRIND")?;
    let peer = postern(ground, Language::Rego, |program| {
        let mut command = Command::new(valgrind);
        command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display())).arg(program);
        command
    })?;
    drive(ground, &peer, requests)?;
    stop(peer)?;
    let mut found = BTreeMap::new();
    found.insert("all".to_owned(), total(&out)?);
    let annotate = valgrind.with_file_name("callgrind_annotate");
    let mut command = Command::new(annotate);
    command.args(["--inclusive=yes", "--threshold=100"]).arg(&out);
    let text = String::from_utf8_lossy(&command.output().context("callgrind_annotate")?.stdout).into_owned();
    for (step, part) in STEPS {
        let inclusive = text.lines().filter(|line| line.contains(part)).filter_map(leading_number).max();
        found.insert(step.to_owned(), inclusive.unwrap_or(0));
    }
    Ok(found)
}

/// `summary:` or `totals:` of a callgrind file.
fn total(out: &Path) -> Result<u64> {
    let text = fs::read_to_string(out).with_context(|| format!("cannot read `{}`", out.display()))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("summary: ").or_else(|| line.strip_prefix("totals: ")));
    line.and_then(leading_number).context("callgrind's file has no total")
}

/// `12,345 (1.2%) name` → 12345.
fn leading_number(line: &str) -> Option<u64> {
    line.split_whitespace().next()?.replace(',', "").parse().ok()
}

/// System calls of a run of this length, by name.
fn system_calls(ground: &Ground, requests: u64) -> Result<BTreeMap<String, u64>> {
    let out = ground.folder.join(format!("strace.{requests}"));
    let strace = ground.tool("POSTERN_STRACE")?;
    let peer = postern(ground, Language::Rego, |program| {
        let mut command = Command::new(strace);
        command.args(["-f", "-c", "-o"]).arg(&out).arg(program);
        command
    })?;
    drive(ground, &peer, requests)?;
    stop(peer)?;
    let text = fs::read_to_string(&out).with_context(|| format!("cannot read `{}`", out.display()))?;
    Ok(parse_strace(&text))
}

/// The rows of `strace -c`: `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn parse_strace(text: &str) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(count), Some(name)) = (words.get(3), words.last()) else { continue };
        if let Ok(count) = count.parse()
            && *name != "total"
        {
            calls.insert((*name).to_owned(), count);
        }
    }
    calls
}

fn drive(ground: &Ground, peer: &Peer, requests: u64) -> Result<()> {
    let requests = requests.to_string();
    ask(ground, peer, &["load", "--connections", "8", "--rate", "500", "--requests", &requests]).map(drop)
}

/// Lets the proxy end by itself: only then are the counts written.
fn stop(mut peer: Peer) -> Result<()> {
    if !peer.process.stop(STOP_LIMIT)? {
        bail!("postern does not stop");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strace_table_is_read_with_and_without_errors() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                     60.00    0.001000           1      2000           writev\n\
                     40.00    0.000500           1      2100       100 recvfrom\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.001500           1      4100       100 total\n";
        let calls = parse_strace(text);
        assert_eq!(calls.len(), 2, "{calls:?}");
        assert_eq!((calls["writev"], calls["recvfrom"]), (2000, 2100));
    }

    #[test]
    fn a_number_is_read_with_its_commas() {
        assert_eq!(leading_number("  12,345 (1.20%)  a::b"), Some(12_345));
        assert_eq!(leading_number("name"), None);
    }
}
