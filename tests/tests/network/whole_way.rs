//! From one application to another, and no other way.

use std::net::SocketAddr;
use std::path::Path;

use postern_tests::netns::{Routed, Segment};
use postern_tests::peer;
use serde_json::{Value, json};

use crate::pair::{GREETER, Pair, WEB, serve_greeter, serve_web};
use crate::{facts, logged};

const CLIENT: &str = "spiffe://example.org/client";

#[test]
fn an_application_that_knows_of_nothing_reaches_another_by_mutual_tls_alone() {
    let Some(curl) = peer("POSTERN_CURL") else { return };
    let Some(pair) = Pair::start("http") else { return };
    let services = serve_web(&pair.net);
    let overheard = pair.net.listen();
    let ask = |host, path: &str| {
        let url = format!("http://{}/{path}", SocketAddr::new(host, WEB));
        pair.application(&curl, &["-s", "-g", "-m", "10", "-w", "\n%{http_code}", "-d", "a-secret", &url])
    };
    for host in Routed::SERVER {
        let answer = ask(host, "orders");
        let (body, status) = answer.out.rsplit_once('\n').expect("a status");
        let seen: Value = serde_json::from_str(body).unwrap_or_default();
        let found = (status, &seen["path"], &seen["body"]);
        assert_eq!(found, ("200", &json!("/orders"), &json!("a-secret")), "{host}: {answer:?}");
    }
    let denied = ask(Routed::SERVER_TOO[0], "orders");
    assert!(denied.out.contains("not there") && denied.out.ends_with("403"), "{denied:?}");
    // On the way, the client said `hello` of TLS first, and nothing that anybody could read.
    let segments = overheard.segments();
    let to_service: Vec<_> = segments.iter().filter(|segment| segment.to == WEB).collect();
    assert!(to_service.len() > 2, "{segments:?}");
    let secret = b"a-secret".as_slice();
    assert!(!segments.iter().any(|s| s.payload.windows(secret.len()).any(|part| part == secret)));
    let mut callers = Vec::new();
    for segment in to_service {
        if !callers.contains(&segment.from) {
            callers.push(segment.from);
            assert!(segment.payload.starts_with(&[22, 3]), "no hello of TLS: {segment:?}");
        }
    }
    no_other_way(&pair, &curl);
    let heard = |s: &Segment| s.payload.starts_with(b"GET /around ");
    assert!(overheard.segments().iter().any(heard), "what is in the clear would have been heard");

    assert!(services.iter().all(|service| service.count() == 1), "{services:?}");
    let (_, asking, asked) = pair.stop();
    let at = Routed::SERVER.map(|host| SocketAddr::new(host, WEB).to_string());
    let there = SocketAddr::new(Routed::SERVER_TOO[0], WEB).to_string();
    let members = ["dst", "peer", "method", "decision"];
    let allowed = |at: &String| [at, CLIENT, "POST", "allow"].map(str::to_owned);
    let mut expected: Vec<_> = at.iter().map(allowed).collect();
    assert_eq!(facts(&logged(&asked, "decision"), members), expected);
    expected.insert(1, [there.as_str(), CLIENT, "POST", "deny"].map(str::to_owned));
    assert_eq!(facts(&logged(&asking, "decision"), members), expected);
    // Where each of the two was connected, and what came back.
    let members = ["endpoint", "status", "end"];
    let reached: Vec<_> = at.iter().map(|at| [at, "200", "done"].map(str::to_owned)).collect();
    assert_eq!(facts(&logged(&asked, "outcome"), members), reached);
}

/// Neither around the client's sidecar nor from between the two is anything to be had in the clear.
fn no_other_way(pair: &Pair, curl: &Path) {
    for host in Routed::SERVER {
        let url = format!("http://{}/around", SocketAddr::new(host, WEB));
        for (place, uid) in [(&pair.net.client, 1002), (&pair.net.router, Routed::APPLICATION)] {
            let answer = pair.net.run(place, uid, curl, &["-s", "-g", "-m", "3", &url]);
            assert!(answer.code != Some(0) && answer.out.is_empty(), "{host} as {uid}: {answer:?}");
        }
    }
}

#[test]
fn whoever_speaks_first_is_heard_at_once_over_both_sidecars() {
    let Some(pair) = Pair::start("tcp") else { return };
    serve_greeter(&pair.net);
    for host in Routed::SERVER {
        // An answer is waited for 2 s here, and what a caller says for 10 s there.
        let address = SocketAddr::new(host, GREETER);
        let mut conversation = pair.net.client.connect(Routed::APPLICATION, address);
        assert_eq!(conversation.read(), "220 mail.test ready", "{host}");
        assert_eq!(conversation.echo("EHLO client"), "250 EHLO client", "{host}");
        for (place, uid) in [(&pair.net.client, 1002), (&pair.net.router, Routed::APPLICATION)] {
            let said = place.ask(uid, address);
            assert!(!said.contains("220"), "{host} as {uid}: {said}");
        }
    }
    let (_, asking, asked) = pair.stop();
    for scene in [asking, asked] {
        let found = facts(&logged(&scene, "decision"), ["dst", "peer", "method", "decision"]);
        let allowed = |host| {
            [&SocketAddr::new(host, GREETER).to_string(), CLIENT, "connect", "allow"].map(str::to_owned)
        };
        assert_eq!(found, Routed::SERVER.map(allowed));
    }
}
