//! Routes that lead to several upstreams: what is decided on, recorded and asked is the same one.
use super::peers::{CallerBody, endless, played};
use super::secure::secured;
use super::world::World;
use super::{ALLOW, DENY, only, status, text};
use http::Request;
use http_body_util::{BodyExt, Empty};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const API: &str = "upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }";
const INBOUND: &str =
    "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";
/// The second one beside `app`.
const NEXT: (&str, &str) = ("upstreams:\n", "upstreams:\n  next: { endpoints: [127.0.0.1:4] }\n");

fn split(weights: [u64; 2], rest: &str) -> String {
    let [app, next] = weights;
    format!("split: [{{ upstream: app, weight: {app} }}, {{ upstream: next, weight: {next} }}]{rest} }}")
}

/// The upstreams of the decisions, in order.
fn upstreams(records: &[Value]) -> Vec<&str> {
    let decisions = records.iter().filter(|record| record["kind"] == "decision");
    decisions.map(|decision| text(decision, "upstream")).collect()
}

/// The ports of the endpoints that were asked, in order.
fn endpoints(records: &[Value]) -> Vec<&str> {
    let outcomes = records.iter().filter(|record| record["kind"] == "outcome");
    outcomes.map(|outcome| text(outcome, "endpoint").rsplit(':').next().unwrap_or_default()).collect()
}

fn name_of(port: &str) -> &'static str {
    if port == "4" { "next" } else { "app" }
}

/// What comes of these requests on one connection.
fn ask_all(world: World, requests: &[String]) -> Vec<Value> {
    let (statuses, records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut statuses = Vec::new();
        for request in requests {
            statuses.push(status(&conversation.ask(request).await));
        }
        statuses
    });
    assert_eq!(statuses, vec![200; requests.len()]);
    let asked: Vec<&str> = endpoints(&records).into_iter().map(name_of).collect();
    assert_eq!(upstreams(&records), asked, "what is recorded is what is asked");
    records
}

fn get(fields: &str) -> String {
    format!("GET /api/x HTTP/1.1\nHost: a.test\n{fields}\n")
}

/// How many of 400 requests come to each of the two.
#[track_caller]
fn check(weights: [u64; 2], fields: &str, rest: &str, next: std::ops::RangeInclusive<usize>) {
    let world = World::configured(Some(ALLOW), &[NEXT, (API, &split(weights, rest))]);
    let records = ask_all(world, &vec![get(fields); 400]);
    let found = upstreams(&records).into_iter().filter(|name| *name == "next").count();
    assert!(next.contains(&found), "{weights:?} {rest}: {found}");
    let routes = records.iter().filter(|record| record["kind"] == "decision");
    assert!(routes.into_iter().all(|record| text(record, "route") == "api"));
}

#[test]
fn each_upstream_gets_its_share() {
    check([90, 10], "", "", 20..=60);
    check([1, 1], "", "", 160..=240);
    check([1, 0], "", "", 0..=0);
    check([0, 1], "", "", 400..=400);
}

#[test]
fn who_has_a_key_keeps_its_side() {
    for key in ["spiffe_id", "{ header: x-tenant }", "{ cookie: session }"] {
        let rest = format!(", split_key: {key}");
        let fields = "X-Tenant: acme\nCookie: session=7\n";
        let world = World::configured(Some(ALLOW), &[NEXT, (API, &split([1, 1], &rest))]);
        let records = ask_all(world, &vec![get(fields); 20]);
        let found = upstreams(&records);
        assert!(found.iter().all(|name| *name == found[0]), "{key}: {found:?}");
    }
    // Without one it is by lot.
    check([1, 1], "", ", split_key: { header: x-tenant }", 160..=240);
    // Others have other sides.
    let world =
        World::configured(Some(ALLOW), &[NEXT, (API, &split([1, 1], ", split_key: { header: x-tenant }"))]);
    let requests: Vec<_> = (0..100).map(|number| get(&format!("X-Tenant: {number}\n"))).collect();
    let records = ask_all(world, &requests);
    let next = upstreams(&records).into_iter().filter(|name| *name == "next").count();
    assert!((30..=70).contains(&next), "{next}");
}

#[test]
fn another_attempt_stays_with_the_upstream_that_was_decided_on() {
    let retry = ", retry: { attempts_max: 2, on: [connect_failure] }";
    let world = World::configured(Some(ALLOW), &[NEXT, (API, &split([1, 1], retry))]);
    let world = world.with_endpoints(|_| Err(std::io::ErrorKind::ConnectionRefused.into()));
    let ((), records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        for _ in 0..20 {
            assert_eq!(status(&conversation.ask(&get("")).await), 503);
        }
    });
    let outcomes = records.iter().filter(|record| record["kind"] == "outcome");
    let mut attempts = BTreeMap::new();
    for (outcome, upstream) in outcomes.zip(upstreams(&records)) {
        let tried = outcome["tried"].as_array().into_iter().flatten();
        let all = tried.map(|tried| text(tried, "endpoint")).chain([text(outcome, "endpoint")]);
        let all: Vec<&str> = all.map(|endpoint| name_of(endpoint.rsplit(':').next().unwrap())).collect();
        assert!(all.iter().all(|name| *name == upstream), "{upstream}: {all:?}");
        *attempts.entry(upstream).or_insert(0) += all.len();
    }
    assert!(attempts["app"] > 0 && attempts["next"] > 0, "{attempts:?}");
}

const OLD: &str = "spiffe://example.org/old";
const NEW: &str = "spiffe://example.org/new";

fn permits(principal: &str) -> String {
    format!(
        "package authz\nimport rego.v1\ndefault decision := false\ndecision := true if input.attributes.destination.principal == \"{principal}\""
    )
}

/// A world whose listener is for the local workload, and whose two upstreams prove who they are.
fn outbound(policy: &str, weights: [u64; 2]) -> World {
    let tls = |id: &str| format!("tls: {{ mutual: {{ spiffe_ids: [\"{id}\"] }} }} }}");
    let next = format!("upstreams:\n  next: {{ endpoints: [127.0.0.1:4], {}\n", tls(NEW));
    let changes = [
        (INBOUND, "outbound: { address: 127.0.0.1:15001 }"),
        ("upstreams:\n", &*next),
        ("127.0.0.1:1, 127.0.0.1:2] }", &*format!("127.0.0.1:1], {}", tls(OLD))),
        (API, &*split(weights, "")),
    ];
    let world = World::configured(Some(policy), &changes);
    let (old, new) = (secured(&world, OLD).0, secured(&world, NEW).0);
    world.with_endpoints(move |endpoint| if endpoint.port() == 4 { new(0) } else { old(0) })
}

#[test]
fn policy_sees_who_is_really_asked() {
    let (statuses, records) = outbound(&permits(OLD), [1, 1]).run(async |world, first| {
        let (mut statuses, mut caller) = (Vec::new(), Some(first));
        for _ in 0..20 {
            let mut io = match caller.take() {
                Some(caller) => caller.io,
                None => world.caller().await.io,
            };
            let request = "GET /api/x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
            io.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            drop(io.read_to_string(&mut answer).await);
            statuses.push(status(&answer));
        }
        statuses
    });
    let expected = upstreams(&records).into_iter().map(|name| if name == "app" { 200 } else { 403 });
    assert_eq!(statuses, expected.collect::<Vec<u16>>(), "{records:#?}");
    assert!(statuses.contains(&200) && statuses.contains(&403));
}

/// An answer without end of the upstream that has all of the weight: whether it is broken off within three seconds after
/// policy permits nothing but what `permitted` answers.
fn is_cut(weights: [u64; 2], permitted: &str) -> bool {
    let (is_cut, records) = outbound(ALLOW, weights).run(async |world, mut caller| {
        let request = "GET /api/endless HTTP/1.1\r\nHost: a.test\r\n\r\n";
        caller.io.write_all(request.as_bytes()).await.unwrap();
        let mut heard = [0; 1024];
        let read = caller.io.read(&mut heard).await.unwrap();
        assert!(heard[..read].starts_with(b"HTTP/1.1 200 "));
        world.change_policy(&permits(permitted));
        let reading = async { while caller.io.read(&mut heard).await.is_ok_and(|read| read > 0) {} };
        tokio::time::timeout(Duration::from_secs(3), reading).await.is_ok()
    });
    assert_eq!(text(only(&records, "outcome"), "end"), if is_cut { "revoked" } else { "client_gone" });
    is_cut
}

#[test]
fn an_answer_is_judged_again_with_the_upstream_that_gives_it() {
    assert!(is_cut([1, 0], NEW) && is_cut([0, 1], OLD));
    assert!(!is_cut([1, 0], OLD) && !is_cut([0, 1], NEW));
}

#[test]
fn an_answer_of_a_split_route_ends_when_policy_no_longer_permits_it() {
    let calls =
        ("upstream: calls }", "split: [{ upstream: calls, weight: 1 }, { upstream: more, weight: 1 }] }");
    let more = ("upstreams:\n", "upstreams:\n  more: { endpoints: [127.0.0.1:5], protocol: h2c }\n");
    let world = World::configured(Some(ALLOW), &[calls, more]).with_upstream(endless());
    let (heard, records) = world.run(async |world, caller| {
        let mut caller = caller.speak_http2().await;
        let body: CallerBody = Empty::new().map_err(|never| match never {}).boxed();
        let request = Request::get("https://a.test/calls/x").body(body).unwrap();
        let answer = caller.send_request(request).await.unwrap();
        world.change_policy(DENY);
        tokio::time::timeout(Duration::from_secs(3), answer.into_body().collect()).await
    });
    assert!(heard.unwrap().is_err());
    let outcome = only(&records, "outcome");
    assert_eq!((text(outcome, "end"), text(outcome, "reason")), ("revoked", "policy.denied"), "{outcome}");
}

/// Opens this many streams, each of which the upstream greets by its port.
fn open(streams: usize, key: &str) -> Vec<String> {
    let more = "      - { name: watched, match: { path_prefix: /watched }, upstream: app, enforcement: observe }\n      - { name: told, match: { path_prefix: /told }, upstream: app, explain: detail }\n      - { name: calls, match: { path_prefix: /calls }, upstream: calls }\n";
    let limits = "limits: { body_bytes_max: 64KiB, policy_body_bytes_max: 1KiB, drain_grace: 1s }";
    let changes = [
        ("    inbound:", "    protocol: tcp\n    inbound:"),
        (limits, "limits: { drain_grace: 1s }"),
        (more, ""),
        ("name: api, match: { path_prefix: /api }", "name: db, match: {}"),
        ("127.0.0.1:2] }", "127.0.0.1:2], protocol: tcp }"),
        ("upstreams:\n", "upstreams:\n  next: { endpoints: [127.0.0.1:4], protocol: tcp }\n"),
        (API, &*split([1, 1], key)),
    ];
    let world = World::configured(Some(ALLOW), &changes);
    let made = RefCell::new(0);
    let world = world.with_endpoints(move |endpoint| {
        *made.borrow_mut() += 1;
        let greeting = format!("{}\n", name_of(&endpoint.port().to_string()));
        let greet = played(move |_, mut stream| {
            let greeting = greeting.clone();
            async move { stream.write_all(greeting.as_bytes()).await.unwrap() }
        });
        greet(0)
    });
    let (greeted, records) = world.run(async |world, first| {
        let (mut greeted, mut caller) = (Vec::new(), Some(first));
        for _ in 0..streams {
            let caller = match caller.take() {
                Some(caller) => caller,
                None => world.caller().await,
            };
            let mut conversation = caller.shake_hands().await;
            let mut greeting = String::new();
            drop(conversation.0.read_to_string(&mut greeting).await);
            greeted.push(greeting.trim().to_owned());
        }
        greeted
    });
    assert_eq!(upstreams(&records), greeted, "what is recorded is what is opened");
    greeted
}

#[test]
fn streams_are_split_by_lot_or_by_who_opens_them() {
    let greeted = open(40, "");
    let next = greeted.iter().filter(|name| *name == "next").count();
    assert!((8..=32).contains(&next), "{next}");
    let greeted = open(10, ", split_key: spiffe_id");
    assert!(greeted.iter().all(|name| *name == greeted[0]), "{greeted:?}");
}

#[test]
fn all_upstreams_of_a_split_are_looked_after() {
    let world = World::configured(Some(ALLOW), &[NEXT, (API, &split([0, 1], ""))]);
    let seen = Rc::clone(&world.seen);
    let snapshot = world.shared.load();
    assert!(snapshot.routing.upstreams().any(|upstream| &*upstream.name == "next"));
    ask_all(world, &[get("")]);
    assert_eq!(seen.borrow().len(), 1);
}
