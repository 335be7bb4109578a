//! Routes that lead to no upstream: who may not ask is told that, and the others what the configuration says.
use super::peers::CallerBody;
use super::world::World;
use super::{ALLOW, DENY, only, status, text};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Full};
use serde_json::Value;
use std::rc::Rc;
use std::time::Duration;

const API: &str = "upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }";
const GET: &str = "GET /api/x HTTP/1.1\nHost: a.test\n\n";
const RESPOND: &str =
    "respond: { status: 410, body: \"{}\", content_type: application/json, headers: { x-moved: \"yes\" } }";

fn world(policy: &str, answer: &str) -> World {
    World::configured(Some(policy), &[(API, &format!("{answer} }}"))])
}

/// What requests on one connection are answered, and that no upstream sees them.
fn ask_all(world: World, requests: &[&str]) -> (Vec<String>, Vec<Value>) {
    let seen = Rc::clone(&world.seen);
    let asked = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut answers = Vec::new();
        for request in requests {
            answers.push(conversation.ask(request).await);
        }
        answers
    });
    assert_eq!(seen.borrow().len(), 0, "an upstream was asked");
    asked
}

fn ask(world: World, request: &str) -> (String, Vec<Value>) {
    let (mut answers, records) = ask_all(world, &[request]);
    (answers.remove(0), records)
}

/// The field of an answer, which has it once.
fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let mut values = head.split("\r\n").filter_map(|line| line.strip_prefix(&format!("{name}: ")));
    let value = values.next().unwrap_or_else(|| panic!("no {name} in {answer}"));
    assert_eq!(values.next(), None, "{name} twice in {answer}");
    value
}

/// A request under a policy is answered with this status by a route, and recorded like that.
#[track_caller]
fn check(policy: &str, route: &str, request: &str, expected: (u16, &str, [&str; 2])) -> String {
    let (expected, decision, [end, reason]) = expected;
    let (answer, records) = ask(world(policy, route), request);
    assert_eq!(status(&answer), expected, "{answer}");
    let (decided, outcome) = (only(&records, "decision"), only(&records, "outcome"));
    assert_eq!((text(decided, "decision"), text(decided, "route")), (decision, "api"), "{decided}");
    assert_eq!(decided["upstream"], Value::Null, "{decided}");
    assert_eq!((text(outcome, "end"), text(outcome, "reason")), (end, reason), "{outcome}");
    assert_eq!((&outcome["status"], &outcome["attempts"]), (&expected.into(), &0.into()), "{outcome}");
    assert_eq!(field(&answer, "x-decision-id"), text(decided, "id"));
    assert_eq!(field(&answer, "cache-control"), "no-store", "a cache asks nobody whether it may");
    answer
}

#[test]
fn a_permitted_request_is_answered_as_it_is_written() {
    let answer = check(ALLOW, RESPOND, GET, (410, "allow", ["done", ""]));
    assert!(answer.ends_with("\r\n\r\n{}"), "{answer}");
    assert_eq!(field(&answer, "content-type"), "application/json");
    assert_eq!((field(&answer, "content-length"), field(&answer, "x-moved")), ("2", "yes"));
    let bare = check(ALLOW, "respond: { status: 204 }", GET, (204, "allow", ["done", ""]));
    assert!(bare.ends_with("\r\n\r\n") && !bare.contains("content-length"), "{bare}");
    let head =
        check(ALLOW, "respond: { status: 204 }", &GET.replace("GET", "HEAD"), (204, "allow", ["done", ""]));
    assert!(!head.contains("content-length"), "{head}");
    let redirect = "redirect: { host: b.test, headers: { x-moved: \"yes\" } }";
    let answer = check(ALLOW, redirect, GET, (308, "allow", ["done", ""]));
    assert_eq!((field(&answer, "location"), field(&answer, "x-moved")), ("https://b.test/api/x", "yes"));
    assert_eq!(field(&answer, "content-length"), "0");
}

#[test]
fn who_may_not_ask_is_told_that_and_nothing_else() {
    let denied = (403, "deny", ["refused", "policy.denied"]);
    let answer = check(DENY, RESPOND, GET, denied);
    assert!(!answer.contains("x-moved"), "{answer}");
    let answer = check(DENY, "redirect: { host: b.test }", GET, denied);
    assert!(!answer.contains("location"), "{answer}");
    let open = format!("{RESPOND}, enforcement: observe");
    let (answer, records) = ask(world(DENY, &open), GET);
    assert_eq!((status(&answer), text(only(&records, "decision"), "would")), (410, "deny"));
}

#[test]
fn a_head_is_answered_without_a_body_whose_length_it_tells() {
    let request = GET.replace("GET", "HEAD") + "GET /api/x HTTP/1.1\nHost: a.test\nConnection: close\n\n";
    let (said, _) = world(ALLOW, RESPOND).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&request.replace('\n', "\r\n")).await;
        let mut said = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut conversation.0, &mut said).await.unwrap();
        said
    });
    let answers: Vec<_> = said.split("\r\n\r\n").collect();
    let [head, get, "{}"] = answers.as_slice() else { panic!("{said}") };
    assert!(head.contains("content-length: 2") && get.starts_with("HTTP/1.1 410 "), "{said}");
}

#[test]
fn a_body_that_nobody_reads_does_not_become_the_next_request() {
    let inner = "GET /told/smuggled HTTP/1.1\nHost: a.test\n\n";
    let bytes = inner.replace('\n', "\r\n").len();
    let post = format!("POST /api/x HTTP/1.1\nHost: a.test\nContent-Length: {bytes}\n\n{inner}");
    for route in [RESPOND, "redirect: { host: b.test }"] {
        let (answers, records) = ask_all(world(ALLOW, route), &[&post, GET]);
        let statuses: Vec<u16> = answers.iter().map(|answer| status(answer)).collect();
        assert_eq!(statuses[0], statuses[1], "{answers:?}");
        let decisions = records.iter().filter(|record| record["kind"] == "decision");
        let paths: Vec<&str> = decisions.map(|record| text(record, "path")).collect();
        assert_eq!(paths, ["/api/x"; 2], "{records:#?}");
    }
}

#[test]
fn a_body_that_comes_after_the_answer_is_let_pass_by() {
    let head = "POST /api/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 60000\r\n\r\n";
    let (statuses, _) = world(ALLOW, RESPOND).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(head).await;
        let first = conversation.hear().await;
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            conversation.say(&"x".repeat(30_000)).await;
        }
        [status(&first), status(&conversation.ask(GET).await)]
    });
    assert_eq!(statuses, [410, 410]);
}

fn http2(method: &str, path: &str, content_type: &str, body: &'static str) -> Request<CallerBody> {
    let body = match body {
        "" => Empty::new().map_err(|never| match never {}).boxed(),
        body => Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed(),
    };
    let request = Request::builder().method(method).uri(format!("https://a.test{path}"));
    request.header("content-type", content_type).body(body).unwrap()
}

#[test]
fn streams_of_one_connection_are_answered_each() {
    let (answers, records) = world(ALLOW, RESPOND).run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let mut answers = Vec::new();
        for (method, body) in [("GET", ""), ("POST", "unread"), ("HEAD", "")] {
            let answer = caller.send_request(http2(method, "/api/x", "text/plain", body)).await.unwrap();
            let (head, body) = answer.into_parts();
            let length = head.headers["content-length"].to_str().unwrap().to_owned();
            answers.push((head.status.as_u16(), length, body.collect().await.unwrap().to_bytes()));
        }
        answers
    });
    let expected = |body: &'static str| (410, "2".to_owned(), Bytes::from(body));
    assert_eq!(answers, [expected("{}"), expected("{}"), expected("")]);
    let outcomes = records.iter().filter(|record| record["kind"] == "outcome");
    let ends: Vec<_> = outcomes.map(|outcome| (text(outcome, "end"), &outcome["response_bytes"])).collect();
    assert_eq!(ends, [("done", &2.into()), ("done", &2.into()), ("done", &0.into())]);
}

/// What a gRPC call is told on a route.
#[track_caller]
fn check_grpc(policy: &str, route: &str, (code, message, recorded): (&str, &str, u16)) {
    let (answer, records) = world(policy, route).run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        caller.send_request(http2("POST", "/api/Method", "application/grpc", "\0\0\0\0\0")).await.unwrap()
    });
    let headers = answer.headers();
    assert_eq!(
        (answer.status().as_u16(), &headers["content-type"]),
        (200, &"application/grpc".parse().unwrap())
    );
    assert_eq!(
        (&headers["grpc-status"], &headers["grpc-message"]),
        (&code.parse().unwrap(), &message.parse().unwrap()),
        "{route}"
    );
    assert!(http_body::Body::is_end_stream(answer.body()), "trailers alone");
    assert_eq!(only(&records, "outcome")["status"], recorded);
}

#[test]
fn a_grpc_call_is_told_what_its_client_would_make_of_the_status() {
    let respond = |status: u16| format!("respond: {{ status: {status} }}");
    for (status, code, message) in [
        (200, "2", "OK"),
        (400, "13", "Bad Request"),
        (401, "16", "Unauthorized"),
        (403, "7", "Forbidden"),
        (404, "12", "Not Found"),
        (429, "14", "Too Many Requests"),
        (503, "14", "Service Unavailable"),
        (599, "2", "answered without an upstream"),
    ] {
        check_grpc(ALLOW, &respond(status), (code, message, status));
    }
    check_grpc(ALLOW, RESPOND, ("2", "Gone", 410));
    check_grpc(ALLOW, "redirect: { host: b.test }", ("2", "Permanent Redirect", 308));
    check_grpc(DENY, RESPOND, ("7", "policy.denied", 403));
}

/// Where a request is led, of which nothing else comes.
#[track_caller]
fn check_led(redirect: &str, (target, host): (&str, &str), expected: &str) {
    let request = format!("GET {target} HTTP/1.1\nHost: {host}\n\n");
    let (answer, _) = ask(world(ALLOW, &format!("redirect: {{ {redirect} }}")), &request);
    match expected.strip_prefix("request.") {
        None => assert_eq!(field(&answer, "location"), expected, "{answer}"),
        Some(_) => {
            assert!(!answer.contains("location") && answer.contains(expected), "{answer}");
        }
    }
}

#[test]
fn nobody_is_led_where_the_configuration_does_not_say() {
    let path = "path_prefix: /v2";
    check_led(path, ("/api/x?q=1", "A.test:443"), "https://a.test/v2/x?q=1");
    check_led(path, ("/api/x", "a.test:8443"), "https://a.test:8443/v2/x");
    check_led(path, ("http://a.test/api/x", "a.test"), "https://a.test/v2/x");
    // Whoever asks of one host is not led to another.
    check_led(path, ("http://evil.test/api/x", "a.test"), "request.host_mismatch");
    check_led(path, ("/api/x", "a.test@evil.test"), "request.host_invalid");
    check_led(path, ("/api/x", "a.test, evil.test"), "request.host_invalid");
    let root = "host: b.test, path_prefix: /";
    check_led(root, ("/api", "a.test"), "https://b.test/");
    check_led(root, ("/api/evil.test", "a.test"), "https://b.test/evil.test");
    check_led(root, ("/api//evil.test", "a.test"), "request.path_empty_segment");
    check_led(root, ("/api/%2Fevil.test", "a.test"), "request.path_separator");
    check_led(root, ("/api/%5Cevil.test", "a.test"), "request.path_separator");
    check_led(root, ("/api/..//evil.test", "a.test"), "request.path_dot_segment");
    check_led(root, ("/api/@evil.test", "a.test"), "https://b.test/@evil.test");
}

#[test]
fn no_byte_of_a_request_becomes_another_line_of_the_answer() {
    let led = "host: b.test";
    check_led(led, ("/api/%0d%0aSet-Cookie:%20a=b", "a.test"), "request.path_character");
    check_led(led, ("/api/%E5%98%8A%E5%98%8Dx", "a.test"), "https://b.test/api/%E5%98%8A%E5%98%8Dx");
    check_led(
        led,
        ("/api/x?a=%0d%0aSet-Cookie:%20a=b", "a.test"),
        "https://b.test/api/x?a=%0d%0aSet-Cookie:%20a=b",
    );
    check_led("path: /gone, strip_query: true, status: 301", ("/api/x?q=1", "a.test"), "https://a.test/gone");
    check_led("port: 8444", ("/api/x", "a.test"), "https://a.test:8444/api/x");
}

#[test]
fn who_is_over_a_rate_limit_is_told_of_that() {
    let route = format!("{RESPOND}, rate_limits: [{{ name: r, requests: 1, per: 1m }}]");
    let post = "POST /api/x HTTP/1.1\nHost: a.test\nContent-Length: 4\n\nbody";
    let (answers, _) = ask_all(world(ALLOW, &route), &[post, post, GET]);
    let statuses: Vec<u16> = answers.iter().map(|answer| status(answer)).collect();
    assert_eq!(statuses, [410, 429, 429]);
}

#[test]
fn policy_may_have_more_said_and_edit_the_query_that_goes_on() {
    let policy = r#"package authz
import rego.v1
decision := {
    "allowed": true,
    "response_headers_to_add": {"x-seen": "yes", "cache-control": "private"},
    "query_parameters_to_remove": ["token"],
}"#;
    let request = "GET /api/x?token=1&q=2 HTTP/1.1\nHost: a.test\n\n";
    let (answer, records) = ask(world(policy, "redirect: { host: b.test }"), request);
    assert_eq!(field(&answer, "location"), "https://b.test/api/x?q=2");
    assert_eq!((field(&answer, "x-seen"), field(&answer, "cache-control")), ("yes", "private"));
    assert_eq!(only(&records, "decision")["mutations"], serde_json::json!(["remove query token"]));
}

#[test]
fn an_answer_without_an_upstream_has_no_principal_behind_it() {
    let policy = r#"package authz
import rego.v1
default decision := false
decision := true if not input.attributes.destination.principal"#;
    let inbound = "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";
    let outbound = (inbound, "outbound: { address: 127.0.0.1:15001 }");
    let route = (API, "redirect: { scheme: https } }");
    let world = World::configured(Some(policy), &[outbound, route]);
    let (answer, _) = world.run(async |_, caller| {
        let mut io = caller.io;
        let request = "GET /api/x HTTP/1.1\r\nHost: a.test:8080\r\nConnection: close\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut io, request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        drop(tokio::io::AsyncReadExt::read_to_string(&mut io, &mut answer).await);
        answer
    });
    assert_eq!(field(&answer, "location"), "https://a.test/api/x", "as it was asked in plain text");
}

#[test]
fn an_answer_that_is_not_read_ends_when_policy_no_longer_permits_it() {
    let long = format!("respond: {{ status: 200, body: \"{}\" }}", "x".repeat(16 * 1024));
    let check = |policy: &str, is_cut: bool| {
        let (last, records) = world(ALLOW, &long).run(async |world, caller| {
            let mut client = caller.speak_bare_http2().await;
            let mut answers = Vec::new();
            // The window of the connection is full after four of them.
            for _ in 0..6 {
                client = client.ready().await.unwrap();
                let request = Request::get("https://a.test/api/x").body(()).unwrap();
                answers.push(client.send_request(request, true).unwrap().0.await.unwrap());
            }
            world.change_policy(policy);
            let mut last = answers.pop().unwrap().into_body();
            let heard = tokio::time::timeout(Duration::from_secs(3), last.data()).await;
            heard.ok().map(|part| part.map(|part| part.is_err()))
        });
        assert_eq!(last, is_cut.then_some(Some(true)), "{records:#?}");
    };
    check(ALLOW, false);
    check(DENY, true);
}
