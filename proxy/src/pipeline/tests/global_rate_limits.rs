//! A rate limit service beside the worker: what it is asked, and what its answers and its silence come to.
use super::peers::{echo, h2c, played};
use super::world::World;
use super::{ALLOW, DENY, only, status, text};
use crate::upstream::{
    DescriptorEntry, DescriptorStatus, HeaderToAdd, LocalExecutor, OK, OVER_LIMIT, RateLimitDescriptor,
    RateLimitRequest, RateLimitResponse, Span,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use prost::Message;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const GET: &str = "GET /api/x HTTP/1.1\nHost: a.test\nX-Tenant: acme\nX-Secret: s3cret\n\n";
const API: &str = "upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }";
const DESCRIPTORS: &str = "[{ entries: [{ key: tenant, value: { header: x-tenant } }] }]";

/// What the service does with a question.
#[derive(Clone, Debug)]
enum Part {
    Says(RateLimitResponse),
    /// A body and a gRPC status as they are.
    Sends(&'static [u8], Option<&'static str>),
    /// A status of HTTP.
    Fails(u16),
    Silent,
    /// It does not even listen.
    Refuses,
}

/// What has come to the service.
#[derive(Debug, Default)]
struct Heard {
    connections: Cell<usize>,
    questions: RefCell<Vec<(http::request::Parts, RateLimitRequest)>>,
}

fn says(overall_code: i32) -> Part {
    Part::Says(RateLimitResponse { overall_code, statuses: Vec::new(), response_headers_to_add: Vec::new() })
}

fn framed(message: &RateLimitResponse) -> Bytes {
    let message = message.encode_to_vec();
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat().into()
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn play(part: Part, heard: Rc<Heard>, request: Request<Incoming>) -> io::Result<Answer> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    heard.questions.borrow_mut().push((head, RateLimitRequest::decode(&body[5..]).unwrap()));
    let (body, grpc_status) = match part {
        Part::Says(response) => (framed(&response), Some("0")),
        Part::Sends(bytes, grpc_status) => (bytes.into(), grpc_status),
        Part::Fails(status) => {
            let mut response = Response::new(Full::default().boxed_unsync());
            *response.status_mut() = status.try_into().unwrap();
            return Ok(response);
        }
        Part::Silent | Part::Refuses => std::future::pending().await,
    };
    let trailers = grpc_status.map(|status| {
        Ok(HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))]))
    });
    Ok(Response::new(Full::new(body).with_trailers(async { trailers }).boxed_unsync()))
}

/// A world whose route asks a service that plays these parts, one a question, and the last one ever after.
fn world(policy: &str, limit: &str, parts: &[Part]) -> (World, Rc<Heard>) {
    let route = format!("upstream: app, {limit} }}");
    let service = "  limits: { endpoints: [127.0.0.1:9], protocol: h2c }\n  calls: {";
    let world = World::configured(Some(policy), &[(API, &route), ("  calls: {", service)]);
    let heard = Rc::<Heard>::default();
    let (seen, parts, told) = (echo(&world.seen), parts.to_vec(), Rc::clone(&heard));
    let next = Rc::new(Cell::new(0));
    let world = world.with_endpoints(move |address| {
        if address.port() != 9 {
            return seen(0);
        }
        told.connections.set(told.connections.get() + 1);
        let part = |next: &Cell<usize>, parts: &[Part]| parts[next.get().min(parts.len() - 1)].clone();
        if matches!(part(&next, &parts), Part::Refuses) {
            next.set(next.get() + 1);
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (parts, told, next) = (parts.clone(), Rc::clone(&told), Rc::clone(&next));
        h2c(move |request| {
            let part = part(&next, &parts);
            next.set(next.get() + 1);
            play(part, Rc::clone(&told), request)
        })(0)
    });
    (world, heard)
}

fn limit(on_failure: &str) -> String {
    format!(
        "global_rate_limit: {{ service: limits, domain: orders, descriptors: {DESCRIPTORS}, timeout: 20ms, on_failure: {on_failure} }}"
    )
}

/// Asks so many times on one connection.
fn asked(world: World, times: usize) -> (Vec<String>, Vec<serde_json::Value>) {
    world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut answers = Vec::new();
        for _ in 0..times {
            answers.push(conversation.ask(GET).await);
        }
        answers
    })
}

/// What comes of a request of which the service says nothing that counts.
fn check_failure(part: &Part, on_failure: &str, (statuses, reason): (&[u16], &str)) {
    let (world, _) = world(ALLOW, &limit(on_failure), std::slice::from_ref(part));
    let seen = Rc::clone(&world.seen);
    let (answers, records) = asked(world, statuses.len());
    let found: Vec<u16> = answers.iter().map(|answer| status(answer)).collect();
    assert_eq!(found, statuses, "{part:?}, {on_failure}");
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(seen.borrow().len(), passed, "{part:?}, {on_failure}: what the upstream saw");
    let last = records.iter().rfind(|record| record["kind"] == "outcome").unwrap();
    assert_eq!(text(last, "reason"), reason, "{part:?}, {on_failure}: {last}");
    let decisions = records.iter().filter(|record| record["decision"] == "allow").count();
    assert_eq!(decisions, statuses.len(), "{part:?}, {on_failure}");
}

#[test]
fn the_time_that_the_service_takes_is_not_the_upstreams() {
    let slow = limit("allow").replace("timeout: 20ms", "timeout: 5s") + ", timeout: 1s";
    let (world, _) = world(ALLOW, &slow, &[Part::Silent]);
    let (answers, _) = asked(world, 1);
    assert_eq!(status(&answers[0]), 200);
}

#[test]
fn what_comes_of_a_request_when_the_service_fails_is_what_the_author_says() {
    for part in [
        Part::Silent,
        Part::Refuses,
        says(0),
        says(7),
        Part::Fails(500),
        Part::Sends(b"", Some("14")),
        Part::Sends(b"\0\0\0\0\x02\x08\x01", Some("14")),
        Part::Sends(b"\0\0\0\0\x02\x08\x01", None),
        Part::Sends(b"", Some("0")),
        Part::Sends(b"\0\0\0\0\x09\x08\x01", Some("0")),
        Part::Sends(b"\x01\0\0\0\x02\x08\x01", Some("0")),
        Part::Sends(b"\0\0\0\0\x02\xff\xff", Some("0")),
        Part::Sends(&[0; 100_000], Some("0")),
    ] {
        check_failure(&part, "allow", (&[200, 200, 200], ""));
        check_failure(&part, "deny", (&[503, 503], "limit.rate_unavailable"));
        let local = "{ local: { name: fallback, requests: 2, per: 1m } }";
        check_failure(&part, local, (&[200, 200, 429], "limit.rate"));
    }
}

#[test]
fn the_service_is_asked_for_what_is_named_and_told_nothing_else() {
    let limit = "global_rate_limit: { service: limits, domain: orders, on_failure: deny, descriptors: [
        { entries: [{ key: tenant, value: { header: x-tenant } }, { key: plan, value: { text: gold } }] },
        { entries: [{ key: caller, value: spiffe_id }, { key: from, value: address }, { key: domain, value: trust_domain }] },
        { entries: [{ key: none, value: { header: x-none } }] } ] }";
    let (world, heard) = world(ALLOW, limit, &[says(OK)]);
    let (answers, _) = asked(world, 1);
    assert_eq!(status(&answers[0]), 200);
    let questions = heard.questions.borrow();
    let [(head, question)] = questions.as_slice() else { panic!("{questions:?}") };
    let descriptor = |entries: &[(&str, &str)]| RateLimitDescriptor {
        entries: entries
            .iter()
            .map(|(key, value)| DescriptorEntry { key: (*key).to_owned(), value: (*value).to_owned() })
            .collect(),
    };
    let descriptors = vec![
        descriptor(&[("tenant", "acme"), ("plan", "gold")]),
        descriptor(&[
            ("caller", "spiffe://example.org/web"),
            ("from", "192.0.2.7"),
            ("domain", "example.org"),
        ]),
        descriptor(&[("none", "")]),
    ];
    assert_eq!(*question, RateLimitRequest { domain: "orders".to_owned(), descriptors });
    assert_eq!(head.uri.path(), "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
    let mut names: Vec<_> = head.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "content-type", "te", "user-agent"]);
}

#[test]
fn who_is_over_the_limit_is_told_what_the_service_wants_said_and_nothing_that_frames() {
    let header = |key: &str, value: &str| HeaderToAdd {
        key: key.to_owned(),
        value: value.to_owned(),
        raw_value: Vec::new(),
    };
    let reset =
        DescriptorStatus { code: OVER_LIMIT, duration_until_reset: Some(Span { seconds: 12, nanos: 0 }) };
    let headers = |all: &[(&str, &str)]| {
        let over = RateLimitResponse {
            overall_code: OVER_LIMIT,
            statuses: vec![reset],
            response_headers_to_add: all.iter().map(|(key, value)| header(key, value)).collect(),
        };
        let (world, _) = world(ALLOW, &limit("allow"), &[Part::Says(over)]);
        let seen = Rc::clone(&world.seen);
        let (answers, records) = asked(world, 1);
        assert!(seen.borrow().is_empty(), "something went upstream");
        let outcome = only(&records, "outcome");
        assert_eq!((text(outcome, "end"), text(outcome, "reason")), ("refused", "limit.rate"), "{outcome}");
        assert_eq!(text(only(&records, "decision"), "decision"), "allow");
        let answer = answers[0].to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 429 "), "{answer}");
        assert!(answer.contains("retry-after: 12\r\n"), "{answer}");
        assert_eq!(answer.matches("content-length: ").count(), 1, "{answer}");
        answer
    };
    let answer = headers(&[
        ("X-RateLimit-Limit", "10, 10;w=60"),
        ("Connection", "close"),
        ("Upgrade", "h9"),
        ("Content-Type", "text/html"),
        ("Content-Length", "3"),
        ("X-Postern-Id", "1"),
        ("Grpc-Status", "0"),
        ("X-Decision-Id", "mine"),
    ]);
    assert!(answer.contains("x-ratelimit-limit: 10, 10;w=60\r\n"), "{answer}");
    for gone in ["h9", "text/html", "x-postern-id", "grpc-status", "mine", "connection: close"] {
        assert!(!answer.contains(gone), "{gone} is in {answer}");
    }
    // What frames an answer twice is believed in nothing.
    let answer = headers(&[("X-A", "1"), ("Content-Length", "3"), ("Transfer-Encoding", "chunked")]);
    assert!(!answer.contains("x-a: 1"), "{answer}");
}

#[test]
fn one_connection_carries_all_questions() {
    let (world, heard) = world(ALLOW, &limit("deny"), &[says(OK)]);
    let ((), _) = world.run(async |world, first| {
        let mut asking = vec![tokio::task::spawn_local(first.ask(GET))];
        for _ in 0..9 {
            asking.push(tokio::task::spawn_local(world.caller().await.ask(GET)));
        }
        for asked in asking {
            assert_eq!(status(&asked.await.unwrap()), 200);
        }
        // Longer than anything is kept that nobody uses.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(status(&world.caller().await.ask(GET).await), 200);
    });
    assert_eq!((heard.questions.borrow().len(), heard.connections.get()), (11, 2));
}

#[test]
fn a_reload_says_how_long_the_connection_is_kept() {
    let (world, heard) = world(ALLOW, &limit("deny"), &[says(OK)]);
    let ((), _) = world.run(async |world, caller| {
        assert_eq!(status(&caller.ask(GET).await), 200);
        let route = format!("upstream: app, {} }}", limit("deny"));
        let service = "  limits: { endpoints: [127.0.0.1:9], protocol: h2c, idle_timeout: 2m }\n  calls: {";
        world.reload(&[(API, &route), ("  calls: {", service)]);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(status(&world.caller().await.ask(GET).await), 200);
    });
    assert_eq!(heard.connections.get(), 1);
}

#[test]
fn a_service_that_comes_back_is_asked_again() {
    let parts = [Part::Refuses, says(OK), Part::Silent, says(OVER_LIMIT), says(OK)];
    let (world, _) = world(ALLOW, &limit("deny"), &parts);
    let (answers, _) = asked(world, 5);
    let found: Vec<u16> = answers.iter().map(|answer| status(answer)).collect();
    assert_eq!(found, [503, 200, 503, 429, 200]);
}

#[test]
fn a_connection_by_which_nothing_comes_any_more_is_given_up() {
    let (world, heard) = world(ALLOW, &limit("deny"), &[says(OK), Part::Silent]);
    let ((), _) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        for (pause_s, expected) in [(0, 200), (0, 503), (2, 503), (0, 503)] {
            tokio::time::sleep(Duration::from_secs(pause_s)).await;
            assert_eq!(status(&conversation.ask(GET).await), expected);
        }
    });
    assert_eq!(heard.connections.get(), 2);
}

#[test]
fn nothing_is_asked_of_the_service_and_nothing_spent_by_who_is_refused_otherwise() {
    let (denied, heard) = world(DENY, &limit("deny"), &[says(OK)]);
    assert_eq!(status(&asked(denied, 1).0[0]), 403);
    assert_eq!(heard.connections.get(), 0);
    let local = "rate_limits: [{ name: r, requests: 2, per: 1m }], ";
    // The limit of the sidecar comes first ...
    let (limited, heard) = world(ALLOW, &format!("{local}{}", limit("deny")), &[says(OK)]);
    let found: Vec<u16> = asked(limited, 4).0.iter().map(|answer| status(answer)).collect();
    assert_eq!((found, heard.questions.borrow().len()), (vec![200, 200, 429, 429], 2));
    // ... and gets back what a request has spent that the service refuses.
    let parts = [says(OVER_LIMIT), says(OVER_LIMIT), says(OVER_LIMIT), says(OK)];
    let (limited, _) = world(ALLOW, &format!("{local}{}", limit("deny")), &parts);
    let found: Vec<u16> = asked(limited, 6).0.iter().map(|answer| status(answer)).collect();
    assert_eq!(found, [429, 429, 429, 200, 200, 429]);
}

/// A world whose service speaks TLS and is expected to be `/limits`, but is this.
fn secured(actual: &str) -> (World, Rc<Heard>) {
    let route = format!("upstream: app, {} }}", limit("deny"));
    let service = "  limits: { endpoints: [127.0.0.1:9], protocol: h2, tls: { mutual: { spiffe_ids: [\"spiffe://example.org/limits\"] } } }\n  calls: {";
    let world = World::configured(Some(ALLOW), &[(API, &route), ("  calls: {", service)]);
    let heard = Rc::<Heard>::default();
    let (seen, told, tls) = (echo(&world.seen), Rc::clone(&heard), Rc::new(world.service_tls(actual)));
    let world = world.with_endpoints(move |address| {
        if address.port() != 9 {
            return seen(0);
        }
        told.connections.set(told.connections.get() + 1);
        let (told, tls) = (Rc::clone(&told), Rc::clone(&tls));
        played(move |_, stream| {
            let (told, config) = (Rc::clone(&told), tls.connection().0);
            async move {
                let accepting = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream);
                let Ok(stream) = accepting.await else { return };
                let service =
                    hyper::service::service_fn(move |request| play(says(OK), Rc::clone(&told), request));
                let builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            }
        })(0)
    });
    (world, heard)
}

#[test]
fn a_service_that_has_something_to_prove_is_asked_while_it_does() {
    let (world, heard) = secured("spiffe://example.org/limits");
    let (statuses, _) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut statuses = Vec::new();
        // The SVID of the service lives for two minutes.
        for pause_s in [0, 60, 61] {
            world.clock.advance(Duration::from_secs(pause_s));
            statuses.push(status(&conversation.ask(GET).await));
        }
        statuses
    });
    assert_eq!((statuses, heard.questions.borrow().len()), (vec![200, 200, 503], 2));
    let (world, heard) = secured("spiffe://example.org/other");
    assert_eq!(status(&asked(world, 1).0[0]), 503);
    assert!(heard.questions.borrow().is_empty(), "somebody else was asked");
}
