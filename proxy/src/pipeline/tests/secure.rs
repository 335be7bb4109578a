//! Upstreams that have something to prove.
use super::peers::{CallerBody, played};
use super::world::{Upstream, World};
use super::{ALLOW, GET, only, text};
use crate::clock::Clock as _;
use crate::upstream::LocalExecutor;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const SERVICE: &str = "spiffe://example.org/service";

/// A world whose upstream speaks this in TLS and is expected to be `expected`, but is `actual`.
fn world(protocol: &str, expected: &str, actual: &str) -> (World, Rc<Cell<usize>>) {
    world_of(protocol, &format!("spiffe_ids: [\"{expected}\"]"), actual)
}

/// With these members of `tls.mutual`.
fn world_of(protocol: &str, mutual: &str, actual: &str) -> (World, Rc<Cell<usize>>) {
    let tls = format!("protocol: {protocol}, tls: {{ mutual: {{ {mutual} }} }} }}");
    let changes = [("127.0.0.1:1, 127.0.0.1:2] }", &*format!("127.0.0.1:1], {tls}"))];
    let world = World::configured(Some(ALLOW), &changes);
    let (upstream, made) = secured(&world, actual);
    (world.with_upstream(upstream), made)
}

/// An upstream with this identity. `/endless` has an answer without end, `/late` one after five seconds, `/upload` one
/// when the whole request is there, `/name` says for which name the caller asked; to others it says who called.
pub(super) fn secured(world: &World, id: &str) -> (Upstream, Rc<Cell<usize>>) {
    let made = Rc::new(Cell::new(0));
    let (counter, tls) = (Rc::clone(&made), world.service_tls(id));
    let clock = Arc::clone(&world.clock);
    let upstream = played(move |_, stream| {
        counter.set(counter.get() + 1);
        let (config, proven) = tls.connection();
        let clock = Arc::clone(&clock);
        async move {
            let Ok(stream) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await else {
                return;
            };
            let chain = stream.get_ref().1.peer_certificates().unwrap();
            let caller = proven.peer(chain, clock.unix_time()).unwrap().0.spiffe_id.to_string();
            let name = stream.get_ref().1.server_name().unwrap_or("(none)").to_owned();
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let path = request.uri().path();
                let is_endless = path.ends_with("/endless");
                let is_upload = path.ends_with("/upload");
                let wait = Duration::from_secs(if path.ends_with("/late") { 5 } else { 0 });
                let caller = if path.ends_with("/name") { name.clone() } else { caller.clone() };
                async move {
                    if is_upload {
                        drop(request.into_body().collect().await);
                    }
                    let parts = futures_util::stream::unfold(0_u64, move |said| {
                        let caller = caller.clone();
                        async move {
                            if said > 0 && !is_endless {
                                return None;
                            }
                            tokio::time::sleep(Duration::from_secs(said.min(1)) + wait).await;
                            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(caller))), said + 1))
                        }
                    });
                    Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(parts))))
                }
            });
            let io = TokioIo::new(stream);
            if is_h2 {
                drop(
                    hyper::server::conn::http2::Builder::new(LocalExecutor)
                        .serve_connection(io, service)
                        .await,
                );
            } else {
                drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
            }
        }
    });
    (upstream, made)
}

fn get(path: &str) -> Request<CallerBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed();
    Request::get(format!("https://a.test{path}")).body(body).unwrap()
}

#[test]
fn an_upstream_that_proves_who_it_is_is_told_who_we_are() {
    for protocol in ["http1", "h2"] {
        let (world, made) = world(protocol, SERVICE, SERVICE);
        let (bodies, records) = world.run(async |_, caller| {
            let mut caller = caller.speak_http2().await;
            let mut bodies = Vec::new();
            for _ in 0..2 {
                let answer = caller.send_request(get("/api/x")).await.unwrap();
                bodies.push(answer.into_body().collect().await.unwrap().to_bytes());
            }
            bodies
        });
        assert_eq!(
            bodies,
            ["spiffe://example.org/app", "spiffe://example.org/app"],
            "{protocol} {records:#?}"
        );
        assert_eq!(made.get(), 1, "connections made over {protocol}");
        let mut outcomes = records.iter().filter(|record| record["kind"] == "outcome");
        assert!(outcomes.all(|outcome| text(outcome, "server") == SERVICE), "{records:#?}");
    }
}

#[test]
fn an_upstream_is_asked_for_by_the_configured_name_and_for_an_address_by_none() {
    for (more, expected) in [(", server_name: orders.internal", "orders.internal"), ("", "(none)")] {
        let (world, _) = world_of("h2", &format!("spiffe_ids: [\"{SERVICE}\"]{more}"), SERVICE);
        let (name, records) = world.run(async |_, caller| {
            let mut caller = caller.speak_http2().await;
            let answer = caller.send_request(get("/api/name")).await.unwrap();
            answer.into_body().collect().await.unwrap().to_bytes()
        });
        assert_eq!(name, expected, "{records:#?}");
    }
}

#[test]
fn an_upstream_whose_protocol_is_changed_by_a_reload_is_spoken_to_in_the_new_one() {
    for (before, after) in [("http1", "h2"), ("h2", "http1")] {
        let change = |protocol: &str| {
            let tls =
                format!("protocol: {protocol}, tls: {{ mutual: {{ spiffe_ids: [\"{SERVICE}\"] }} }} }}");
            format!("127.0.0.1:1], {tls}")
        };
        let (world, made) = world(before, SERVICE, SERVICE);
        let (answers, _) = world.run(async |world, caller| {
            let first = caller.ask(GET).await;
            world.reload(&[("127.0.0.1:1, 127.0.0.1:2] }", &change(after))]);
            [first, world.caller().await.ask(GET).await]
        });
        assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")), "{before}: {answers:?}");
        assert_eq!(made.get(), 2, "from {before} to {after}");
    }
}

#[track_caller]
fn refused(world: World, reason: &str) {
    let (answer, records) = world.run(async |_, caller| caller.ask(GET).await);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(text(only(&records, "outcome"), "reason"), reason, "{records:#?}");
}

#[test]
fn nothing_is_sent_to_an_upstream_that_is_somebody_else() {
    for protocol in ["http1", "h2"] {
        refused(world(protocol, SERVICE, "spiffe://example.org/other").0, "upstream.identity");
        // Somebody else's authority speaks for the right name.
        let (world, _) = world(protocol, SERVICE, SERVICE);
        let foreign = secured(&World::new(None), SERVICE).0;
        refused(world.with_upstream(foreign), "upstream.identity");
    }
}

#[test]
fn nothing_is_sent_to_an_upstream_that_speaks_no_tls() {
    let (world, _) = world("http1", SERVICE, SERVICE);
    let plain = super::peers::echo(&Rc::default());
    refused(world.with_upstream(plain), "upstream.tls");
}

/// What happens to the trust domain of an upstream.
#[derive(Clone, Copy, Debug)]
enum Event {
    BundleGoes,
    ListExpires,
}

/// A world whose upstream is a service of a federated trust domain, under these terms of validity.
fn federated((protocol, terms): (&str, &str), event: Event) -> World {
    let changes = [
        ("trust_domains: [example.org]", &*format!("trust_domains: [example.org]{terms}")),
        (
            "127.0.0.1:1, 127.0.0.1:2] }",
            &*format!(
                "127.0.0.1:1], connections_max: 1, protocol: {protocol}, tls: {{ mutual: {{ trust_domains: [other.org] }} }} }}"
            ),
        ),
    ];
    let world = World::configured(Some(ALLOW), &changes);
    world.add_trust_domain("other.org");
    if let Event::ListExpires = event {
        world.list_revoked("other.org");
    }
    let (upstream, _) = secured(&world, "spiffe://other.org/service");
    world.with_upstream(upstream)
}

/// An answer is on its way from a service of a federated trust domain when something happens to that one: how it ends,
/// and what becomes of the next request.
#[track_caller]
fn broken_off(event: Event, (protocol, terms): (&str, &str), (seconds, reason): (u64, &str)) {
    let ((took, next), records) = federated((protocol, terms), event).run(async |world, caller| {
        let mut caller = caller.speak_http2().await;
        let answer = caller.send_request(get("/api/endless")).await.unwrap();
        let reading = tokio::task::spawn_local(answer.into_body().collect());
        tokio::time::sleep(Duration::from_secs(3)).await;
        match event {
            Event::BundleGoes => world.remove_trust_domain("other.org"),
            Event::ListExpires => world.clock.advance(Duration::from_secs(61)),
        }
        let began = tokio::time::Instant::now();
        let next = caller.send_request(get("/api/x")).await.unwrap().status().as_u16();
        let read = tokio::time::timeout(Duration::from_secs(100), reading).await.unwrap().unwrap();
        assert!(read.is_err(), "the answer is broken off");
        (began.elapsed().as_secs(), next)
    });
    assert!((seconds..seconds + 3).contains(&took), "{protocol}{terms}: {took} s instead of {seconds}");
    assert_eq!(next, 503);
    let mut ends: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "outcome")
        .map(|record| (text(record, "end"), text(record, "reason")))
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, [("refused", reason), ("revoked", reason)]);
}

#[test]
fn an_answer_of_an_upstream_that_is_believed_no_more_is_broken_off() {
    let drained = ", on_trust_change: drain, grace: 9s";
    for (event, reason) in
        [(Event::BundleGoes, "upstream.identity"), (Event::ListExpires, "upstream.revocation_unknown")]
    {
        broken_off(event, ("http1", ""), (0, reason));
        broken_off(event, ("h2", ""), (0, reason));
        broken_off(event, ("h2", drained), (9, reason));
    }
}

#[test]
fn an_upload_to_an_upstream_that_is_believed_no_more_ends_before_it_is_answered() {
    for (protocol, terms, seconds) in
        [("http1", "", 0), ("h2", "", 0), ("h2", ", on_trust_change: drain, grace: 9s", 9)]
    {
        let (took, records) = federated((protocol, terms), Event::BundleGoes).run(async |world, caller| {
            let mut caller = caller.speak_http2().await;
            let (parts, body) = tokio::sync::mpsc::channel(1);
            let request =
                Request::post("https://a.test/api/upload").body(super::bodies::spoken(body)).unwrap();
            let uploading = tokio::task::spawn_local(caller.send_request(request));
            parts.send(Bytes::from("some")).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
            world.remove_trust_domain("other.org");
            let began = tokio::time::Instant::now();
            let ended = tokio::time::timeout(Duration::from_secs(100), uploading).await;
            assert!(ended.is_ok_and(|ended| ended.unwrap().is_err()), "the upload is broken off");
            began.elapsed().as_secs()
        });
        assert!((seconds..seconds + 3).contains(&took), "{protocol}{terms}: {took} s instead of {seconds}");
        let outcome = only(&records, "outcome");
        assert_eq!((text(outcome, "end"), text(outcome, "reason")), ("revoked", "upstream.identity"));
    }
}

#[test]
fn who_waits_for_a_connection_takes_none_whose_upstream_is_believed_no_more_by_then() {
    let world = federated(("http1", ", on_trust_change: drain, grace: 1m"), Event::BundleGoes);
    let ((first, second), records) = world.run(async |world, caller| {
        let mut caller = caller.speak_http2().await;
        let first = caller.send_request(get("/api/late")).await.unwrap();
        let first = tokio::task::spawn_local(first.into_body().collect());
        let second = tokio::task::spawn_local(caller.send_request(get("/api/x")));
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.remove_trust_domain("other.org");
        let first = first.await.unwrap().unwrap().to_bytes();
        (first, second.await.unwrap().unwrap().status().as_u16())
    });
    assert_eq!((first, second), (Bytes::from("spiffe://example.org/app"), 503));
    assert!(records.iter().any(|record| text(record, "reason") == "upstream.identity"), "{records:#?}");
}

#[test]
fn trust_that_lapses_again_after_it_came_back_leaves_the_whole_grace() {
    let world = federated(("h2", ", on_trust_change: drain, grace: 9s"), Event::BundleGoes);
    let (took, _) = world.run(async |world, caller| {
        let mut caller = caller.speak_http2().await;
        let answer = caller.send_request(get("/api/endless")).await.unwrap();
        let reading = tokio::task::spawn_local(answer.into_body().collect());
        world.lapse_of_trust("other.org", Duration::from_secs(5)).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        world.remove_trust_domain("other.org");
        let began = tokio::time::Instant::now();
        assert!(reading.await.unwrap().is_err(), "the answer is broken off");
        began.elapsed().as_secs()
    });
    assert!((8..12).contains(&took), "{took} s");
}

#[test]
fn an_upstream_connection_does_not_outlive_the_svid_that_proved_it() {
    for protocol in ["http1", "h2"] {
        let (world, made) = world(protocol, SERVICE, SERVICE);
        let ((), _) = world.run(async |world, caller| {
            let mut conversation = caller.shake_hands().await;
            assert!(conversation.ask(GET).await.starts_with("HTTP/1.1 200 "));
            // The service's SVID lives for two minutes, the caller's for ten.
            world.clock.advance(Duration::from_secs(100));
            assert!(conversation.ask(GET).await.starts_with("HTTP/1.1 200 "));
            assert_eq!(made.get(), 1, "connections made over {protocol}");
            world.clock.advance(Duration::from_secs(30));
            // The one that the service has now has expired as well, so that nothing can be sent to it.
            assert!(conversation.ask(GET).await.starts_with("HTTP/1.1 503 "));
        });
    }
}
