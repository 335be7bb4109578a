//! Copies of requests: who gets them, what they hold, and that nobody notices.
use super::peers::{echo, hasty, played, silent};
use super::world::{Upstream, World};
use super::{ALLOW, DENY, only, status, text};
use bytes::Bytes;
use http::Request;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Seen = Rc<RefCell<Vec<Request<Bytes>>>>;

const GET: &str = "GET /api/x?q=1 HTTP/1.1\nHost: a.test\n\n";
const API: &str = "{ name: api, match: { path_prefix: /api }, upstream: app,";
const TELLING: &str = " identity_headers: { xfcc: { mode: sanitize_set }, client_cert: leaf },";
const CALLS: &str = "calls: { endpoints: [127.0.0.1:3], protocol: h2c }";

/// A world whose `api` is copied to an upstream at port 9, and what each of the two has seen.
fn mirrored(policy: &str, (mirror, route): (&str, &str), shadow: Option<Upstream>) -> (World, Seen, Seen) {
    let api = format!("{API} mirror: {{ upstream: shadow{mirror} }},{route}");
    let calls = format!("{CALLS}\n  shadow: {{ endpoints: [127.0.0.1:9] }}");
    let (main_seen, shadow_seen) = (Seen::default(), Seen::default());
    let (main, shadow) = (echo(&main_seen), shadow.unwrap_or_else(|| echo(&shadow_seen)));
    let world = World::configured(Some(policy), &[(API, &*api), (CALLS, &*calls)]);
    let world = world.with_endpoints(move |endpoint| match endpoint.port() {
        9 => shadow(0),
        _ => main(0),
    });
    (world, main_seen, shadow_seen)
}

/// What was counted of copies, once each of so many requests has come to something.
async fn counted(world: &World, requests: usize) -> Vec<(String, usize)> {
    for _ in 0..1_000 {
        let metrics = world.metrics.encode();
        let lines = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix("postern_upstream_mirrored_total{upstream=\"shadow\",result=\"")?;
            let (result, count) = rest.split_once("\"} ")?;
            Some((result.to_owned(), count.parse().unwrap()))
        });
        let counts: Vec<(String, usize)> = lines.filter(|(_, count)| *count > 0).collect();
        if counts.iter().map(|(_, count)| count).sum::<usize>() >= requests {
            return counts;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("copies have come to nothing:\n{}", world.metrics.encode());
}

/// A request is answered by the upstream itself with this status, and its copy comes to `result`.
fn check((mirror, request): (&str, &str), shadow: Option<Upstream>, (code, result): (u16, &str)) {
    let (world, main, _) = mirrored(ALLOW, (mirror, ""), shadow);
    let ((answer, counts), _) = world.run(async |world, caller| {
        let answer = caller.ask(request).await;
        (answer, counted(world, 1).await)
    });
    assert_eq!((status(&answer), main.borrow().len()), (code, 1), "{answer}");
    assert_eq!(counts, [(result.to_owned(), 1)], "{request}");
}

fn post(length: usize) -> String {
    format!("POST /api/x HTTP/1.1\nHost: a.test\nContent-Length: {length}\n\n{}", "b".repeat(length))
}

#[test]
fn a_copy_is_the_request_without_what_shows_who_calls() {
    let (world, main, shadow) = mirrored(ALLOW, ("", TELLING), None);
    let request = "POST /api/x?q=1 HTTP/1.1\nHost: a.test\nAuthorization: Bearer x\nCookie: a=b\nDPoP: x\nProxy-Authorization: x\nTxn-Token: x\nX-Kept: yes\nX-Postern-Mirror: lie\nContent-Length: 4\n\nbody";
    let (answer, records) = world.run(async |world, caller| {
        let answer = caller.ask(request).await;
        assert_eq!(counted(world, 1).await, [("answered".to_owned(), 1)]);
        answer
    });
    assert_eq!(status(&answer), 200, "{answer}");
    let (main, shadow) = (main.borrow(), shadow.borrow());
    let (main, copy) = (&main[0], &shadow[0]);
    assert_eq!((copy.method(), copy.uri(), copy.body()), (main.method(), main.uri(), main.body()));
    for kept in ["host", "x-kept", "content-length", "traceparent"] {
        assert_eq!(copy.headers().get(kept), main.headers().get(kept), "{kept}");
        assert!(copy.headers().contains_key(kept), "{kept}");
    }
    for taken in ["authorization", "cookie", "dpop", "proxy-authorization", "txn-token"] {
        assert!(!copy.headers().contains_key(taken), "{taken}");
    }
    for told in ["x-forwarded-client-cert", "client-cert"] {
        assert!(main.headers().contains_key(told) && !copy.headers().contains_key(told), "{told}");
    }
    let decision = only(&records, "decision");
    assert_eq!(copy.headers()["x-postern-mirror"], *text(decision, "id"));
    assert!(!main.headers().contains_key("x-postern-mirror"));
    assert!(decision["mutations"].as_array().unwrap().iter().any(|done| done == "mirror shadow"));
    assert_eq!(only(&records, "outcome")["attempts"], 1);
}

#[test]
fn what_becomes_of_a_copy_is_counted_and_the_caller_hears_nothing_of_it() {
    let failing = played(|_, mut stream| async move {
        let mut heard = [0; 1024];
        let _read = stream.read(&mut heard).await;
        stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    check(("", GET), Some(failing), (200, "answered"));
    check(("", GET), Some(Rc::new(|_| Err(std::io::ErrorKind::ConnectionRefused.into()))), (200, "failed"));
    check((", timeout: 1s", GET), Some(silent()), (200, "timeout"));
}

#[test]
fn a_body_that_is_too_long_to_be_kept_is_not_copied() {
    check((", body_bytes_max: 8B", &post(8)), None, (200, "answered"));
    check((", body_bytes_max: 8B", &post(9)), None, (200, "body"));
}

#[test]
fn what_is_left_of_a_copy_is_let_go_when_it_has_been_answered() {
    let open: Rc<Cell<usize>> = Rc::default();
    let api = format!("{API} mirror: {{ upstream: shadow }},");
    let calls = format!("{CALLS}\n  shadow: {{ endpoints: [127.0.0.1:9], protocol: h2c }}");
    let (main, shadow) = (echo(&Seen::default()), hasty(200, &open));
    let world = World::configured(Some(ALLOW), &[(API, &*api), (CALLS, &*calls)]);
    let world = world.with_endpoints(move |endpoint| match endpoint.port() {
        9 => shadow(0),
        _ => main(0),
    });
    let (counts, _) = world.run(async |world, caller| {
        caller.ask(&post(4)).await;
        let counts = counted(world, 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        counts
    });
    assert_eq!(counts, [("answered".to_owned(), 1)]);
    assert_eq!(open.get(), 0, "streams open at the mirror");
}

#[test]
fn no_more_copies_are_under_way_than_may_be() {
    let (world, main, _) = mirrored(ALLOW, (", requests_max: 2", ""), Some(silent()));
    let (counts, _) = world.run(async |world, caller| {
        caller.ask(GET).await;
        for _ in 0..3 {
            assert_eq!(status(&world.caller().await.ask(GET).await), 200);
        }
        counted(world, 4).await
    });
    assert_eq!(main.borrow().len(), 4);
    assert_eq!(counts, [("timeout".to_owned(), 2), ("overflow".to_owned(), 2)]);
}

#[test]
fn what_is_not_forwarded_is_not_copied() {
    let limit = " rate_limits: [{ name: few, requests: 1, per: 1m }],";
    for (policy, route, statuses, copies) in
        [(DENY, "", [403, 403], 0), (ALLOW, limit, [200, 429], 1), (ALLOW, "", [200, 200], 2)]
    {
        let (world, _, shadow) = mirrored(policy, ("", route), None);
        let (asked, _) = world.run(async |world, caller| {
            let asked = [caller.ask(GET).await, world.caller().await.ask(GET).await];
            counted(world, copies).await;
            asked
        });
        assert_eq!(asked.each_ref().map(|answer| status(answer)), statuses, "{policy}");
        assert_eq!(shadow.borrow().len(), copies, "{policy}");
    }
}

#[test]
fn a_share_is_drawn_by_lot() {
    let (world, _, shadow) = mirrored(ALLOW, (", percent: 50", ""), None);
    let (copied, records) = world.run(async |world, caller| {
        caller.ask(GET).await;
        for _ in 1..40 {
            world.caller().await.ask(GET).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        shadow.borrow().len()
    });
    assert!((8..=32).contains(&copied), "{copied}");
    let is_told = |record: &&serde_json::Value| record["mutations"].to_string().contains("mirror shadow");
    assert_eq!(records.iter().filter(is_told).count(), copied);
}
