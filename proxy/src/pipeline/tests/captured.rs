//! Connections that packet rules lead here on their way elsewhere.
use super::peers::{Caller, echo, played};
use super::secure::secured;
use super::world::World;
use super::{only, status, text};
use crate::listener::hello_for;
use crate::upstream::BoxIo;
use serde_json::Value;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

/// The workload may go to one host, whatever it says there.
const POLICY: &str = r#"package authz
import rego.v1
default decision := false
decision := true if {
    input.attributes.source.principal == "spiffe://example.org/app"
    input.attributes.destination.address.socketAddress.address in {"192.0.2.9", "192.0.2.10", "fd00::9"}
}"#;
/// It may go wherever TLS asks for this name.
const BY_NAME: &str = r#"package authz
import rego.v1
default decision := false
decision := true if input.attributes.tlsSession.sni == "db.test""#;
const ALLOW: &str = super::ALLOW;

const GET: &str = "GET /x HTTP/1.1\r\nHost: orders.test\r\nConnection: close\r\n\r\n";
const ROUTES: &str = r#"
      - { name: web, match: { destinations: ["*:80", "*:8080"] }, upstream: there }
      - { name: named, match: { authorities: [db.test], destinations: ["*:443", "*:8080"] }, upstream: wire }
      - { name: wire, match: { destinations: ["192.0.2.0/24:5432", "[fd00::]/16:5432", "*:8080"] }, upstream: wire }"#;

/// Where endpoints were called, and where connections to them have ended.
#[derive(Clone, Default)]
struct Calls {
    made: Rc<RefCell<Vec<SocketAddr>>>,
    ended: Rc<RefCell<Vec<SocketAddr>>>,
}

type Changes = Vec<(String, String)>;

fn owned((from, to): (&str, &str)) -> (String, String) {
    (from.to_owned(), to.to_owned())
}

/// What these routes change in the usual configuration, with this of the upstream for requests.
fn changes(routes: &str, upstream: &str) -> Changes {
    let usual = [
        "      - { name: watched, match: { path_prefix: /watched }, upstream: app, enforcement: observe }\n",
        "      - { name: told, match: { path_prefix: /told }, upstream: app, explain: detail }\n",
        "      - { name: calls, match: { path_prefix: /calls }, upstream: calls }\n",
    ];
    let api = "\n      - { name: api, match: { path_prefix: /api }, upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }";
    let upstreams = format!(
        "there: {{ endpoints: [original_destination], {upstream} }}\n  wire: {{ endpoints: [original_destination], plaintext: any_address, protocol: tcp }}"
    );
    let door = (
        "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }",
        "outbound: { address: 127.0.0.1:15001, captured: redirect }\n    protocol: detect",
    );
    let other = [door, (api, routes), ("app: { endpoints: [127.0.0.1:1, 127.0.0.1:2] }", &*upstreams)];
    usual.map(|route| (route, "")).into_iter().chain(other).map(owned).collect()
}

fn made(policy: &str, changes: &Changes) -> World {
    let changes: Vec<_> = changes.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    World::configured(Some(policy), &changes)
}

fn configured(policy: &str, upstream: &str) -> World {
    made(policy, &changes(ROUTES, upstream))
}

/// A world whose workload is led away from there. On ports 80 a server answers requests; elsewhere one greets and then
/// says everything back.
fn world(policy: &str, destination: &str) -> (World, Calls) {
    let world = configured(policy, "plaintext: any_address");
    let (calls, requests) = (Calls::default(), echo(&world.seen));
    let noted = calls.clone();
    let world = world.with_endpoints(move |endpoint: SocketAddr| {
        noted.made.borrow_mut().push(endpoint);
        let ended = Rc::clone(&noted.ended);
        match endpoint.port() {
            80 => Ok(watched(requests(0)?, endpoint, ended)),
            8080 if noted.made.borrow().len() > 1 => requests(0),
            _ => played(greet)(0),
        }
    });
    world.lead_away_from(Some(destination));
    (world, calls)
}

async fn greet(_: usize, mut stream: DuplexStream) {
    let mut heard = [0; 4096];
    drop(stream.write_all(b"hello\n").await);
    while let Ok(count) = stream.read(&mut heard).await
        && count > 0
    {
        drop(stream.write_all(&heard[..count]).await);
    }
}

/// The same stream; its end is noted.
fn watched(mut stream: BoxIo, endpoint: SocketAddr, ended: Rc<RefCell<Vec<SocketAddr>>>) -> BoxIo {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    drop(tokio::task::spawn_local(async move {
        drop(tokio::io::copy_bidirectional(&mut stream, &mut theirs).await);
        ended.borrow_mut().push(endpoint);
    }));
    Box::new(ours)
}

/// Says it, and listens until so many bytes have come or no more do; gives them, and how long the first one took.
async fn converse(caller: Caller, said: &[u8], count: usize) -> (Vec<u8>, Duration) {
    let (mut io, began) = (caller.io, Instant::now());
    drop(io.write_all(said).await);
    let mut heard = vec![0; count];
    let mut first = None;
    let mut filled = 0;
    while filled < count
        && let Ok(read) = io.read(&mut heard[filled..]).await
        && read > 0
    {
        first.get_or_insert(began.elapsed());
        filled += read;
    }
    heard.truncate(filled);
    (heard, first.unwrap_or_default())
}

/// What is said to this destination goes there by this route, and whoever speaks first there is heard at once or after the
/// time for detection.
#[track_caller]
fn check(policy: &str, (destination, said): (&str, &[u8]), (route, name): (&str, &str), is_at_once: bool) {
    let (world, calls) = world(policy, destination);
    let expected = [b"hello\n", said].concat();
    let ((heard, took), records) = world.run(async |_, caller| converse(caller, said, expected.len()).await);
    assert_eq!(heard, expected, "{records:#?}");
    assert_eq!(took < Duration::from_millis(50), is_at_once, "{took:?}");
    assert_eq!(*calls.made.borrow(), [destination.parse().unwrap()]);
    let decision = only(&records, "decision");
    let of = |member| text(decision, member);
    assert_eq!((of("dst"), of("method"), of("route"), of("host")), (destination, "connect", route, name));
    assert_eq!(text(only(&records, "outcome"), "endpoint"), destination);
}

/// What is said to this destination is answered by nobody; the decision has this reason.
#[track_caller]
fn check_refused(policy: &str, (destination, said): (&str, &[u8]), reason: &str) {
    let (world, calls) = world(policy, destination);
    let ((heard, _), records) = world.run(async |_, caller| converse(caller, said, 1).await);
    assert!(heard.is_empty());
    assert_eq!(*calls.made.borrow(), []);
    let decision = only(&records, "decision");
    assert_eq!((text(decision, "dst"), text(decision, "reason")), (destination, reason), "{decision}");
}

#[test]
fn a_stream_goes_where_it_was_going_and_who_speaks_first_there_is_heard_at_once() {
    check(POLICY, ("192.0.2.9:5432", b""), ("wire", ""), true);
    check(POLICY, ("[fd00::9]:5432", b"ping"), ("wire", ""), true);
    // No request is looked for where no route takes one.
    check(POLICY, ("192.0.2.9:5432", GET.as_bytes()), ("wire", ""), true);
}

#[test]
fn where_it_may_be_either_the_first_bytes_decide_and_silence_is_a_stream() {
    check(POLICY, ("192.0.2.9:8080", b""), ("wire", ""), false);
    check(POLICY, ("192.0.2.9:8080", b"*1\r\n$4\r\nPING\r\n"), ("wire", ""), true);
    check(POLICY, ("192.0.2.9:8080", &hello_for("other.test")), ("wire", "other.test"), true);
    check(BY_NAME, ("192.0.2.9:8080", &hello_for("DB.test")), ("named", "db.test"), true);
}

#[test]
fn a_route_by_name_takes_what_tls_asks_for() {
    check(BY_NAME, ("192.0.2.9:443", &hello_for("db.test")), ("named", "db.test"), true);
    check_refused(ALLOW, ("192.0.2.9:443", &hello_for("other.test")), "route.none");
    check_refused(ALLOW, ("192.0.2.9:443", b"\x16\x03\x01\x00\x00"), "route.none");
    check_refused(ALLOW, ("192.0.2.9:443", GET.as_bytes()), "route.none");
}

#[test]
fn what_no_route_takes_and_what_policy_denies_goes_nowhere() {
    check_refused(ALLOW, ("192.0.2.9:25", b""), "route.none");
    check_refused(ALLOW, ("198.51.100.1:5432", b""), "route.none");
    check_refused(POLICY, ("192.0.2.66:5432", b""), "policy.denied");
    check_refused(BY_NAME, ("192.0.2.9:5432", b""), "policy.denied");
}

/// On a listener for streams alone, that somebody who speaks first is heard at once or not, and by which route.
#[track_caller]
fn check_tcp((destination, said): (&str, &[u8]), route: &str, is_at_once: bool) {
    let limits = "limits: { body_bytes_max: 64KiB, policy_body_bytes_max: 1KiB, drain_grace: 1s }";
    let web = "      - { name: web, match: { destinations: [\"*:80\", \"*:8080\"] }, upstream: there }\n";
    let routes = ROUTES.replace(web, "");
    let mut changes = changes(&routes, "plaintext: any_address");
    changes
        .extend([("protocol: detect", "protocol: tcp"), (limits, "limits: { drain_grace: 1s }")].map(owned));
    let world = made(ALLOW, &changes).with_endpoints(|_| played(greet)(0));
    world.lead_away_from(Some(destination));
    let ((heard, took), records) = world.run(async |_, caller| converse(caller, said, 6).await);
    assert_eq!(heard, b"hello\n");
    assert_eq!(took < Duration::from_millis(50), is_at_once, "{took:?}");
    assert_eq!(text(only(&records, "decision"), "route"), route);
}

#[test]
fn a_listener_for_streams_looks_for_a_name_only_where_a_route_asks_for_one() {
    check_tcp(("192.0.2.9:5432", b""), "wire", true);
    check_tcp(("192.0.2.9:8080", b""), "wire", false);
    check_tcp(("192.0.2.9:8080", &hello_for("db.test")), "named", true);
    check_tcp(("192.0.2.9:8080", GET.as_bytes()), "wire", true);
}

/// A request to there comes to this status.
#[track_caller]
fn check_request(policy: &str, destination: &str, expected: u16) -> Vec<Value> {
    let (world, calls) = world(policy, destination);
    let ((heard, _), records) = world.run(async |_, caller| converse(caller, GET.as_bytes(), 4096).await);
    assert_eq!(status(&String::from_utf8_lossy(&heard)), expected);
    let called = if expected == 200 { vec![destination.parse().unwrap()] } else { Vec::new() };
    assert_eq!(*calls.made.borrow(), called);
    let decision = only(&records, "decision");
    let of = |member| text(decision, member);
    assert_eq!((of("dst"), of("method"), of("host")), (destination, "GET", "orders.test"));
    records
}

#[test]
fn a_request_goes_where_it_was_going_and_policy_sees_where_that_is() {
    check_request(POLICY, "192.0.2.9:80", 200);
    check_request(POLICY, "[fd00::9]:80", 200);
    check_request(POLICY, "192.0.2.66:80", 403);
    // Where it might have been a stream, it is a request all the same.
    check_request(POLICY, "192.0.2.66:8080", 403);
}

#[test]
fn what_was_going_nowhere_else_is_refused() {
    for (destination, reason) in [
        (Some("127.0.0.1:15001"), "conn.loop"),
        (Some("224.0.0.1:80"), "conn.not_captured"),
        (None, "conn.not_captured"),
    ] {
        let (world, calls) = world(ALLOW, "192.0.2.9:80");
        world.lead_away_from(destination);
        let ((heard, _), records) = world.run(async |_, caller| converse(caller, GET.as_bytes(), 4096).await);
        assert!(heard.is_empty());
        assert_eq!(*calls.made.borrow(), []);
        let entry = only(&records, "conn");
        assert_eq!(text(entry, "reason"), reason, "{entry}");
        assert_eq!(text(entry, "detail").contains("going to"), destination.is_some(), "{entry}");
        assert!(records.iter().all(|record| record["kind"] != "decision"));
    }
}

#[test]
fn a_listener_that_captures_nothing_asks_nobody_where_a_connection_was_going() {
    let world = World::new(Some(ALLOW));
    world.lead_away_from(Some("192.0.2.9:80"));
    let (_, records) = world.run(async |_, caller| caller.ask(super::GET).await);
    assert!(only(&records, "decision").get("dst").is_none());
}

#[test]
fn an_inbound_connection_that_was_captured_is_known_by_where_it_was_going() {
    let address = "address: 127.0.0.1:8443,";
    let captured = format!("{address} captured: transparent,");
    let policy = "package authz\nimport rego.v1\ndecision := true if input.attributes.destination.address.socketAddress.portValue == 8080";
    let world = World::configured(Some(policy), &[(address, &captured)]);
    world.lead_away_from(Some("192.0.2.1:8080"));
    let (answer, records) = world.run(async |_, caller| caller.ask(super::GET).await);
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(text(only(&records, "decision"), "dst"), "192.0.2.1:8080");
}

#[test]
fn a_service_that_was_being_called_proves_who_it_is_where_it_has_to() {
    const SERVICE: &str = "spiffe://example.org/service";
    for (actual, expected) in [(SERVICE, 200), ("spiffe://example.org/impostor", 503)] {
        let world = configured(ALLOW, &format!("tls: {{ mutual: {{ spiffe_ids: [\"{SERVICE}\"] }} }}"));
        let upstream = secured(&world, actual).0;
        let world = world.with_upstream(upstream);
        world.lead_away_from(Some("192.0.2.9:80"));
        let ((heard, _), records) = world.run(async |_, caller| converse(caller, GET.as_bytes(), 4096).await);
        assert_eq!(status(&String::from_utf8_lossy(&heard)), expected, "{records:#?}");
    }
}

#[test]
fn connections_to_where_workloads_were_going_are_kept_for_a_while_and_not_without_end() {
    let (world, calls) = world(ALLOW, "192.0.2.9:80");
    let noted = calls.clone();
    let (ended, _) = world.run(async |world, first| {
        drop(first);
        let ask = async |destination: &str| {
            world.lead_away_from(Some(destination));
            converse(world.caller().await, GET.as_bytes(), 4096).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        ask("192.0.2.9:80").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        ask("192.0.2.9:80").await;
        let kept = (noted.made.borrow().len(), noted.ended.borrow().len());
        // Of more destinations than are kept, the one used longest ago makes room.
        for last in 10..18 {
            ask(&format!("192.0.2.{last}:80")).await;
        }
        let pushed_out = noted.ended.borrow().clone();
        tokio::time::sleep(Duration::from_secs(35)).await;
        (kept, pushed_out, noted.ended.borrow().len())
    });
    assert_eq!(ended, ((1, 0), vec!["192.0.2.9:80".parse().unwrap()], 9));
    assert_eq!(calls.made.borrow().len(), 9);
}
