//! A real OpenTelemetry Collector receives what the sidecar traced.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use postern_tests::{Running, Scene, Version, peer, port};
use serde_json::{Value, json};

const START_LIMIT: Duration = Duration::from_secs(30);

/// The sidecar sends within a second; the collector writes at once.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(20);

/// A trace that the caller began and sampled.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn collector(program: &Path, folder: &Path, receiver: SocketAddr) -> Running {
    let config = json!({
        "receivers": { "otlp": { "protocols": { "grpc": { "endpoint": receiver.to_string() } } } },
        "exporters": { "file": { "path": folder.join("spans.jsonl"), "flush_interval": "100ms" } },
        "service": {
            "telemetry": { "metrics": { "level": "none" } },
            "pipelines": { "traces": { "receivers": ["otlp"], "exporters": ["file"] } },
        },
    });
    let path = folder.join("collector.json");
    fs::write(&path, config.to_string()).expect("the collector's configuration");
    let mut command = Command::new(program);
    command.arg("--config").arg(path);
    let mut collector = Running::start("otelcol", command, folder);
    collector.wait_for_port(receiver, START_LIMIT);
    collector
}

/// All spans in the collector's file: one OTLP message a line.
fn spans(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("spans.jsonl")).unwrap_or_default();
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    messages
        .flat_map(|message| list(&message, "resourceSpans"))
        .flat_map(|resource| list(&resource, "scopeSpans"))
        .flat_map(|scope| list(&scope, "spans"))
        .collect()
}

fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let attributes = span["attributes"].as_array()?;
    let found = attributes.iter().find(|attribute| attribute["key"] == key)?;
    found["value"]["stringValue"].as_str()
}

/// The spans of the collector whose decision id is this.
fn spans_of(folder: &Path, decision_id: &str) -> Vec<Value> {
    let mut all = spans(folder);
    all.retain(|span| attribute(span, "postern.decision_id") == Some(decision_id));
    all
}

const SERVER: u64 = 2;
const CLIENT: u64 = 3;

fn of_kind(spans: &[Value], kind: u64) -> &Value {
    spans
        .iter()
        .find(|span| span["kind"] == kind)
        .unwrap_or_else(|| panic!("no span of kind {kind} in {spans:#?}"))
}

#[test]
fn one_server_span_and_one_client_span_arrive_with_the_decision_id() {
    let Some(program) = peer("POSTERN_OTELCOL") else { return };
    let mut scene = Scene::new();
    let receiver = port::free();
    let mut collector = collector(&program, scene.folder.path(), receiver);
    scene.config["telemetry"] = json!({ "otlp": { "url": format!("http://{receiver}") }, "sample": 0.0 });
    let sidecar = scene.start();

    let ask = Request::builder()
        .uri("/things/42")
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .body(Bytes::new())
        .expect("a request");
    let answer = scene.caller("/client").call(scene.listener, Version::Http2, ask).expect("an answer");
    assert_eq!(answer.status, 200);
    let id = answer.decision_id().to_owned();
    let found = collector.wait_for("the spans", ARRIVAL_LIMIT, |_| {
        Some(spans_of(scene.folder.path(), &id)).filter(|spans| spans.len() >= 2)
    });
    assert_eq!(found.len(), 2, "{found:#?}");
    let (server, client) = (of_kind(&found, SERVER), of_kind(&found, CLIENT));
    assert_eq!((server["traceId"].as_str(), server["parentSpanId"].as_str()), (Some(TRACE), Some(PARENT)));
    assert_eq!((client["traceId"].as_str(), &client["parentSpanId"]), (Some(TRACE), &server["spanId"]));
    assert_eq!(attribute(server, "http.request.method"), Some("GET"));
    assert_eq!(attribute(server, "postern.decision"), Some("allow"));

    // The upstream was told to go on where the client span is.
    let told = scene.upstream.seen()[0]["headers"]["traceparent"][0].as_str().unwrap_or_default().to_owned();
    let span_id = client["spanId"].as_str().expect("a span id");
    assert_eq!(told, format!("00-{TRACE}-{span_id}-01"));
    sidecar.stop();
}

#[test]
fn a_deny_is_traced_though_nothing_is_sampled() {
    let Some(program) = peer("POSTERN_OTELCOL") else { return };
    let mut scene = Scene::new();
    let receiver = port::free();
    let mut collector = collector(&program, scene.folder.path(), receiver);
    scene.config["telemetry"] = json!({ "otlp": { "url": format!("http://{receiver}") }, "sample": 0.0 });
    let sidecar = scene.start();
    let answer = scene.caller("/stranger").get(scene.listener, Version::Http1, "/things").expect("an answer");
    assert_eq!(answer.status, 403);
    let id = answer.decision_id().to_owned();
    let found = collector.wait_for("the span", ARRIVAL_LIMIT, |_| {
        Some(spans_of(scene.folder.path(), &id)).filter(|spans| !spans.is_empty())
    });
    let server = of_kind(&found, SERVER);
    assert_eq!(attribute(server, "postern.decision"), Some("deny"));
    assert_eq!(attribute(server, "postern.reason"), Some("policy.denied"));
    sidecar.stop();
}

#[test]
fn a_raw_stream_leaves_its_spans_when_it_has_ended() {
    let Some(program) = peer("POSTERN_OTELCOL") else { return };
    let mut scene = Scene::new();
    let (receiver, egress) = (port::free(), port::free());
    let mut collector = collector(&program, scene.folder.path(), receiver);
    scene.config["telemetry"] = json!({ "otlp": { "url": format!("http://{receiver}") }, "sample": 1.0 });
    scene.config["listeners"]["bytes"] = json!({
        "outbound": { "address": egress.to_string() },
        "protocol": "tcp",
        "routes": [{ "match": {}, "upstream": "raw" }],
    });
    let service = scene.upstream.address();
    scene.config["upstreams"]["raw"] = json!({ "endpoints": [service.to_string()], "protocol": "tcp" });
    scene.write_policy("package postern.authz\ndefault decision := false\ndecision := true if input.postern.action == \"connect\"\n");
    let sidecar = scene.start();
    drop(TcpStream::connect(egress).expect("the sidecar takes it"));
    let found = collector.wait_for("the spans", ARRIVAL_LIMIT, |_| {
        let mut all = spans(scene.folder.path());
        all.retain(|span| span["name"] == "TCP");
        Some(all).filter(|spans| spans.len() >= 2)
    });
    let (server, client) = (of_kind(&found, SERVER), of_kind(&found, CLIENT));
    assert_eq!(client["parentSpanId"], server["spanId"]);
    assert_eq!(attribute(server, "postern.decision"), Some("allow"));
    assert_eq!(attribute(client, "postern.upstream"), Some("raw"));
    assert_eq!(attribute(client, "server.address"), Some("127.0.0.1"));
    sidecar.stop();
    let text = postern_tests::sidecar::records(&scene.audit());
    assert!(text.contains(server["traceId"].as_str().expect("a trace id")), "the record names the trace");
}
