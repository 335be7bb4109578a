//! Postern against Envoy with the equivalent mutual TLS and RBAC, on this machine, in one run.
//!
//! CPU time per request of one binary moves between rounds on shared machines, so peers alternate inside every round
//! and what is reported is the median of the ratios of a round. `--counts` gives the two figures without noise:
//! instructions and system calls per request.

mod counts;
mod envoy;
mod peers;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{Guard, run_logged};
use crate::tools::{Provided, Shed};
use peers::Peer;

/// Longest time for a build with fat link-time optimisation.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);

/// What to measure.
#[derive(Debug)]
pub struct Options {
    pub rounds: usize,
    /// Measured seconds of a scenario.
    pub seconds: f64,
    pub figures: Figures,
    /// A part of the names of the scenarios to measure; all of them, when there is none.
    pub only: Option<String>,
    /// Where the table goes, between its markers; standard output alone, when there is none.
    pub document: Option<PathBuf>,
}

/// Which figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figures {
    /// Time, CPU and memory, against Envoy.
    Ratios,
    /// Instructions and system calls, of Postern alone.
    Counts,
}

/// One thing to measure: what the load generator is told, and the figure that is compared.
struct Scenario {
    name: &'static str,
    arguments: &'static [&'static str],
    /// Members of the load generator's answer, with their titles; the first is the one that ratios are made of.
    figures: &'static [(&'static str, &'static str)],
}

const CPU: (&str, &str) = ("cpu_us_per_request", "CPU µs/request");
const PER_SECOND: (&str, &str) = ("requests_per_second", "requests/s");

const SCENARIOS: [Scenario; 8] = [
    Scenario {
        name: "HTTP/1.1, 64 connections, closed loop",
        arguments: &["load", "--connections", "64"],
        figures: &[CPU, PER_SECOND],
    },
    Scenario {
        name: "HTTP/2, 8 connections of 8 streams, closed loop",
        arguments: &["load", "--version", "http2", "--connections", "8", "--streams", "8"],
        figures: &[CPU, PER_SECOND],
    },
    Scenario {
        name: "HTTP/1.1, 64 connections, 1,000 requests/s on schedule",
        arguments: &["load", "--connections", "64", "--rate", "1000"],
        figures: &[("p50_us", "p50 µs"), ("p99_us", "p99 µs"), ("p999_us", "p99.9 µs"), CPU],
    },
    Scenario {
        name: "a new connection with full handshake for every request, 16 in flight",
        arguments: &["load", "--connections", "16", "--requests-per-connection", "1"],
        figures: &[CPU, PER_SECOND],
    },
    Scenario {
        name: "a new connection for every request, 16 in flight, by callers that resume where they are given a ticket",
        arguments: &["load", "--connections", "16", "--requests-per-connection", "1", "--resume"],
        figures: &[CPU, PER_SECOND],
    },
    Scenario {
        name: "gRPC, unary, 8 connections of 8 streams, closed loop",
        arguments: &["load", "--version", "http2", "--connections", "8", "--streams", "8", "--grpc"],
        figures: &[CPU, PER_SECOND],
    },
    Scenario {
        name: "raw TCP, 4 streams of bytes without end",
        arguments: &["stream", "--connections", "4"],
        figures: &[("cpu_us_per_mib", "CPU µs/MiB"), ("mib_per_second", "MiB/s")],
    },
    Scenario {
        name: "memory: 1,000 idle connections",
        arguments: &["hold", "--connections", "1000"],
        figures: &[
            ("rss_idle_kib", "RSS idle KiB"),
            ("rss_held_kib", "RSS held KiB"),
            ("kib_per_connection", "KiB/connection"),
        ],
    },
];

/// What is measured without a proxy.
const TOKENS: &str = "a JWT-SVID, ES256, in one thread";

/// One measured figure: scenario, peer, member, one value a round.
#[derive(Debug)]
struct Row {
    scenario: &'static str,
    peer: String,
    member: &'static str,
    title: &'static str,
    values: Vec<f64>,
}

/// What a run needs.
struct Ground {
    folder: PathBuf,
    generator: PathBuf,
    postern: PathBuf,
    tools: Provided,
}

impl Ground {
    fn tool(&self, variable: &str) -> Result<&Path> {
        let found = self.tools.iter().find(|(name, _)| name == variable);
        Ok(&found.with_context(|| format!("no {variable}"))?.1)
    }

    /// The load generator, on the core that is not the proxy's.
    fn generator(&self, arguments: &[&str]) -> Command {
        let mut command = pinned(&self.generator, Core::Load);
        command.args(arguments);
        command
    }
}

/// The proxy has a core of its own; everything else shares the other.
#[derive(Clone, Copy, Debug)]
enum Core {
    Proxy,
    Load,
}

fn pinned(program: &Path, core: Core) -> Command {
    let mut command = Command::new("taskset");
    let core = match core {
        Core::Proxy => "0",
        Core::Load => "1",
    };
    command.args(["-c", core]).arg(program);
    command
}

/// Builds, measures, prints.
///
/// # Errors
/// When a peer cannot be had, built or started, or a request fails: a figure with failures in it is none.
pub fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    let ground = prepare(root, options.figures)?;
    let table = match options.figures {
        Figures::Ratios => ratios(&ground, options)?,
        Figures::Counts => counts::measure(&ground)?,
    };
    println!("{table}");
    if let Some(document) = &options.document {
        report::place(document, options.figures, &table)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn prepare(root: &Path, figures: Figures) -> Result<Ground> {
    if std::thread::available_parallelism()?.get() < 2 {
        bail!("a bench needs two cores: one for the proxy, one for the load");
    }
    let shed = Shed::open()?;
    let mut tools = Provided::new();
    let wanted: &[&str] = match figures {
        Figures::Ratios => &["envoy"],
        Figures::Counts => &["valgrind", "strace"],
    };
    for name in wanted {
        tools.extend(shed.obtain(name).with_context(|| format!("`{name}` cannot be had"))?);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = target.join("bench");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder)?;
    let generator = match std::env::var_os("POSTERN_BENCH") {
        Some(path) => PathBuf::from(path),
        None => {
            build(root, &["--release", "--package", "postern-bench"], &folder.join("build-generator.log"))?;
            target.join("release/postern-bench")
        }
    };
    let postern = match std::env::var_os("POSTERN_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let arguments = ["--profile", "dist", "--package", "postern-proxy", "--bin", "postern"];
            build(root, &arguments, &folder.join("build-postern.log"))?;
            target.join("dist/postern")
        }
    };
    let ground = Ground { folder, generator, postern, tools };
    let identities = ground.folder.join("identities");
    answer(ground.generator(&["identities", &identities.to_string_lossy()]))?;
    Ok(ground)
}

fn build(root: &Path, arguments: &[&str], log: &Path) -> Result<()> {
    eprintln!("xtask: cargo build {} …", arguments.join(" "));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["build", "--locked"]).args(arguments);
    run_logged(command, log, BUILD_LIMIT)
}

/// Runs the load generator and reads its line.
fn answer(mut command: Command) -> Result<Value> {
    let output = command.output().context("the load generator cannot be started")?;
    if !output.status.success() {
        bail!("the load generator: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let answer: Value =
        serde_json::from_slice(&output.stdout).context("the load generator is not understood")?;
    let count = |member: &str| answer[member].as_u64().unwrap_or(0);
    if count("failed") + count("refused") > 0 {
        bail!("not every request was answered: {answer}");
    }
    Ok(answer)
}

/// Asks `peer` as the scenario says.
fn ask(ground: &Ground, peer: &Peer, arguments: &[&str]) -> Result<Value> {
    let identities = ground.folder.join("identities");
    let mut command = ground.generator(arguments);
    let address = match arguments.first() {
        Some(&"stream") => peers::streams_of(peer.address),
        _ => peer.address,
    };
    command.arg("--address").arg(address.to_string()).arg("--pid").arg(peer.process.id().to_string());
    command.arg("--identities").arg(identities);
    answer(command).with_context(|| format!("{}, {}", peer.name, arguments.join(" ")))
}

fn ratios(ground: &Ground, options: &Options) -> Result<String> {
    let _upstream: Guard = peers::upstream(ground)?;
    let mut rows: Vec<Row> = Vec::new();
    let seconds = options.seconds.to_string();
    let is_wanted = |name: &str| options.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    for scenario in SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)) {
        for round in 0..options.rounds {
            // Processes are fresh in every round, so that none profits from what another left behind.
            let mut peers = peers::all(ground)?;
            if round % 2 == 1 {
                peers.reverse();
            }
            for peer in &peers {
                eprintln!(
                    "xtask: {}: round {} of {}: {}",
                    scenario.name,
                    round + 1,
                    options.rounds,
                    peer.name
                );
                let mut arguments = scenario.arguments.to_vec();
                if matches!(arguments.first(), Some(&("load" | "stream"))) {
                    arguments.extend(["--seconds", seconds.as_str()]);
                }
                let said = ask(ground, peer, &arguments)?;
                for (member, title) in scenario.figures {
                    let value = said[member].as_f64().with_context(|| format!("no `{member}` in {said}"))?;
                    note(&mut rows, scenario.name, &peer.name, (member, title), value);
                }
            }
        }
    }
    let mut table = report::ratios(&rows, options);
    if is_wanted(TOKENS) {
        let costs = (0..options.rounds).map(|_| token_cost(ground)).collect::<Result<Vec<_>>>()?;
        table += &report::tokens(&costs);
    }
    if rows.is_empty() && !is_wanted(TOKENS) {
        bail!("nothing has that in its title");
    }
    Ok(table)
}

/// Nanoseconds for a token that is verified, and for one that is remembered, on the proxy's core.
fn token_cost(ground: &Ground) -> Result<(f64, f64)> {
    let mut command = pinned(&ground.generator, Core::Proxy);
    command.arg("tokens");
    let said = answer(command)?;
    let figure = |member: &str| said[member].as_f64().with_context(|| format!("no `{member}` in {said}"));
    Ok((figure("verified_ns")?, figure("remembered_ns")?))
}

fn note(
    rows: &mut Vec<Row>,
    scenario: &'static str,
    peer: &str,
    (member, title): (&'static str, &'static str),
    value: f64,
) {
    let same = |row: &&mut Row| row.scenario == scenario && row.peer == peer && row.member == member;
    match rows.iter_mut().find(same) {
        Some(row) => row.values.push(value),
        None => rows.push(Row { scenario, peer: peer.to_owned(), member, title, values: vec![value] }),
    }
}
