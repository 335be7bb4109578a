//! What a Rego decision costs, beside real OPA in the same run: `cargo run --release --example rego_speed`.
//!
//! Ours is a whole decision of the proxy, the input's building included. OPA's is `opa bench`: its engine in its own process
//! with the query prepared and the input parsed (`in process`), and a server asked over loopback (`server`). `POSTERN_OPA`
//! names the program; without it the table has our column alone.
#![expect(clippy::disallowed_methods, reason = "it measures wall time")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
mod decisions;

use postern_policy::Scratch;
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What OPA gets: the same request in the shape of its Envoy plugin.
const INPUT: &str = r#"{"attributes": {"source": {"address": {"socketAddress": {"address": "10.0.0.7", "portValue": 4711}},
    "principal": "spiffe://example.org/u7"}, "request": {"http": {"method": "GET", "path": "/orders/7/items",
    "host": "orders.example.org", "protocol": "HTTP/2", "scheme": "https", "headers": {"x-tenant": "a", ":method": "GET"}}}},
    "parsed_path": ["orders", "7", "items"], "version": {"ext_authz": "v3", "encoding": "protojson"}}"#;

/// The least mean over batches, in nanoseconds, and how long loading took.
fn ours(case: &decisions::Case) -> Result<(u128, Duration), Box<dyn Error>> {
    let began = Instant::now();
    let pdp = case.load()?;
    let loaded = began.elapsed();
    let headers = vec![("x-tenant".to_owned(), "a".to_owned())];
    let (mut scratch, query) = (Scratch::default(), decisions::query(&headers)?);
    let verdict = pdp.decide(&mut scratch, &query);
    if !matches!(verdict.code, "policy.allowed" | "policy.denied") {
        return Err(format!("{}: {verdict:?}", case.name).into());
    }
    let (mut best, mut batch, started) = (u128::MAX, 1_u32, Instant::now());
    while started.elapsed() < Duration::from_millis(500) {
        let begin = Instant::now();
        for _ in 0..batch {
            black_box(pdp.decide(&mut scratch, black_box(&query)));
        }
        let spent = begin.elapsed().as_nanos();
        best = best.min(spent / u128::from(batch));
        if spent < 1_000_000 {
            batch = batch.saturating_mul(2);
        }
    }
    Ok((best, loaded))
}

/// The least and the middle of OPA's own figures, in nanoseconds.
fn opa(program: &Path, folder: &Path, server: bool) -> Option<(f64, f64)> {
    let mut command = Command::new(program);
    command.args(["bench", "--format", "json", "--data"]).arg(folder.join("p.rego"));
    command.arg("--data").arg(folder.join("data.json")).arg("--input").arg(folder.join("input.json"));
    if server {
        command.arg("--e2e");
    }
    let output = command.arg("data.t.allow").output().ok()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let figure = |name: &str| {
        let extra = report.get("Extra")?.as_object()?;
        let suffix = format!("_{name}");
        let eval =
            if server { "histogram_timer_server_handler_ns" } else { "histogram_timer_rego_query_eval_ns" };
        extra.iter().find(|(key, _)| key.starts_with(eval) && key.ends_with(&suffix))?.1.as_f64()
    };
    let whole = report.get("T")?.as_f64()? / report.get("N")?.as_f64()?;
    Some((figure("min").unwrap_or(whole), if server { whole } else { figure("median").unwrap_or(whole) }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let program = std::env::var_os("POSTERN_OPA");
    let folder = std::env::temp_dir().join(format!("postern-rego-speed-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    println!(
        "| decision | ours | OPA in process: least, middle | OPA server, whole | load |\n|---|---|---|---|---|"
    );
    for case in decisions::all() {
        let (nanos, load) = ours(&case)?;
        std::fs::write(folder.join("p.rego"), &case.policy)?;
        std::fs::write(folder.join("data.json"), &case.data)?;
        std::fs::write(folder.join("input.json"), INPUT)?;
        let ask = |server| program.as_ref().and_then(|program| opa(Path::new(program), &folder, server));
        let shown = |figures: Option<(f64, f64)>| {
            figures.map_or("–".to_owned(), |(a, b)| format!("{a:.0}, {b:.0}"))
        };
        let served = ask(true).map_or("–".to_owned(), |(_, whole)| format!("{whole:.0}"));
        println!("| {} | {nanos} ns | {} ns | {served} ns | {load:.1?} |", case.name, shown(ask(false)));
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
