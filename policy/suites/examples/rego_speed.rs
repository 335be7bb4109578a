//! What a Rego decision costs, beside real OPA in the same run: `cargo run --release --example rego_speed`.
//!
//! Ours is a whole decision of the proxy, the input's building included. OPA's is `opa bench`: its engine in its own process
//! with the query prepared and the input parsed (`in process`), and a server asked over loopback (`server`). `POSTERN_OPA`
//! names the program; without it the table has our column alone.
#![expect(clippy::disallowed_methods, reason = "it measures wall time")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
use postern_policy::{
    Body, BundleLimits, Entry, Http, Pdp, PdpLimits, PolicyBundle, Query, Scratch, Signers, Source,
};
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const CALLER: &str = "spiffe://example.org/u7";

/// What OPA gets: the same request in the shape of its Envoy plugin.
const INPUT: &str = r#"{"attributes": {"source": {"address": {"socketAddress": {"address": "10.0.0.7", "portValue": 4711}},
    "principal": "spiffe://example.org/u7"}, "request": {"http": {"method": "GET", "path": "/orders/7/items",
    "host": "orders.example.org", "protocol": "HTTP/2", "scheme": "https", "headers": {"x-tenant": "a", ":method": "GET"}}}},
    "parsed_path": ["orders", "7", "items"], "version": {"ext_authz": "v3", "encoding": "protojson"}}"#;

struct Case {
    name: String,
    policy: String,
    data: String,
}

fn rbac(bindings: usize, caller: &str) -> Case {
    let rows: Vec<String> =
        (0..bindings).map(|n| format!(r#""spiffe://example.org/u{n}": ["reader", "writer"]"#)).collect();
    let policy = format!(
        r#"package t
import input.attributes.request.http
default allow := false
allow if {{
	some role in data.bindings[{caller}]
	some grant in data.roles[role]
	grant.method == http.method
	glob.match(grant.path, ["/"], http.path)
}}
"#
    );
    let data = format!(
        r#"{{"bindings": {{{}}}, "roles": {{"reader": [{{"method": "GET", "path": "/orders/*/items"}}],
            "writer": [{{"method": "PUT", "path": "/orders/**"}}]}}}}"#,
        rows.join(", ")
    );
    Case { name: format!("roles of a caller, one glob, {bindings} bindings"), policy, data }
}

fn rules(count: usize, matching: usize) -> Case {
    let mut policy = "package t\ndefault allow := false\n".to_owned();
    for n in 0..count {
        let user = if n == matching { 7 } else { count.saturating_add(n) };
        policy.push_str(&format!(
            "allow if {{ input.attributes.source.principal == \"spiffe://example.org/u{user}\"; \
             startswith(input.attributes.request.http.path, \"/orders\") }}\n"
        ));
    }
    let place = if matching == 0 { "first" } else { "last" };
    Case { name: format!("{count} rules, the {place} holds"), policy, data: "{}".to_owned() }
}

fn list(count: usize) -> Case {
    let rows: Vec<String> = (0..count).map(|n| format!(r#"{{"user": "u{n}"}}"#)).collect();
    let wanted = count.saturating_sub(1);
    let policy = format!("package t\nallow if {{ some b in data.list; b.user == \"u{wanted}\" }}\n");
    Case {
        name: format!("a list of {count}, the last one"),
        policy,
        data: format!("{{\"list\": [{}]}}", rows.join(", ")),
    }
}

fn query(headers: &Vec<(String, String)>) -> Result<Query<'_>, std::net::AddrParseError> {
    Ok(Query {
        now_ns: 1_700_000_000_123_456_789,
        action: "GET",
        source: Source {
            address: "10.0.0.7:4711".parse()?,
            spiffe_id: Some(CALLER),
            trust_domain: Some("example.org"),
            sni: Some("orders.example.org"),
            certificate_serial: Some("0a0b0c"),
        },
        destination: "10.0.0.8:8443".parse()?,
        destination_principal: None,
        http: Some(Http {
            id: "01JD0000000000000000000000",
            scheme: "https",
            authority: "orders.example.org",
            path: "/orders/7/items",
            query: None,
            protocol: "HTTP/2",
            headers,
            body: Body::NotRead,
            size: 0,
        }),
        claims: None,
        token_issuer: None,
        transaction: None,
        workload_token: None,
        route: "orders",
        service: "orders",
    })
}

/// The least mean over batches, in nanoseconds, and how long loading took.
fn ours(case: &Case) -> Result<(u128, Duration), Box<dyn Error>> {
    let signers = Signers::UnsignedAllowedForDevelopment;
    let limits =
        BundleLimits { file_bytes_max: 1 << 30, decompressed_bytes_max: 1 << 30, ..BundleLimits::default() };
    let files = [("p.rego", case.policy.as_bytes()), ("data.json", case.data.as_bytes())];
    let began = Instant::now();
    let bundle = PolicyBundle::from_files(files, &limits, &signers)?;
    let limits = PdpLimits { timeout: Duration::from_secs(60), steps_max: u64::MAX, ..PdpLimits::default() };
    let pdp = Pdp::load(&[("b", bundle)], &Entry::Rego { path: "t/allow".to_owned() }, &limits)?;
    let loaded = began.elapsed();
    let headers = vec![("x-tenant".to_owned(), "a".to_owned())];
    let (mut scratch, query) = (Scratch::default(), query(&headers)?);
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
    let principal = "input.attributes.source.principal";
    let cases = [10, 1_000, 100_000]
        .into_iter()
        .flat_map(|n| [rbac(n, principal), rbac(n, "input.attributes.nobody")])
        .chain([10, 1_000, 10_000].into_iter().flat_map(|n| [rules(n, 0), rules(n, n.saturating_sub(1))]))
        .chain([10, 1_000, 100_000].into_iter().map(list));
    for case in cases {
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
