//! What only shows while a connection is open: for how long a caller is believed, and what an upstream is told.

use std::time::Duration;

use http::Request;
use postern_tests::caller::get;
use serde_json::json;

use crate::kit::sidecar::Sidecar;
use crate::{Row, row};

pub(super) fn tl() -> Vec<Row> {
    vec![
        row("TL-04", "no request outlives its proof", "X509-SVID §5, RFC 5280 §6 (O)")
            .accepts("two requests on a connection", || {
                let sidecar = Sidecar::start(|_| {})?;
                let mut connection = sidecar.connect(&sidecar.scene.caller("/client"))?;
                sidecar.ask(&mut connection, get("/a"))?;
                sidecar.ask(&mut connection, get("/b"))
            })
            .refuses("after the caller's SVID has expired", "peer.expired", || {
                let sidecar = Sidecar::start(|_| {})?;
                let identity = sidecar.scene.authority.issue_for("/client", time::Duration::seconds(60));
                let caller = postern_tests::Caller::new(&identity, sidecar.scene.authority.bundle_pem());
                let mut connection = sidecar.connect(&caller)?;
                sidecar.ask(&mut connection, get("/a"))?;
                sidecar.move_clock(Duration::from_secs(61));
                sidecar.ask(&mut connection, get("/b"))
            })
            .refuses("after its trust domain lost its authority", "peer.untrusted", distrusted)
            .accepts("while a list shows that it is not revoked", || listed(20))
            .refuses("after that list expired", "peer.revocation_unknown", || listed(61)),
        row("TL-05", "nobody connects to the expired", "X509-SVID §5 (O)")
            .accepts("while our SVID is valid", || {
                let sidecar = Sidecar::start(|_| {})?;
                sidecar.connect(&sidecar.scene.caller("/client"))
            })
            .refuses("when it has expired", "handshake", || {
                let sidecar = Sidecar::start(|_| {})?;
                let caller = sidecar.scene.caller("/client");
                sidecar.move_clock(Duration::from_secs(10 * 365 * 24 * 3600));
                if sidecar.is_ready() {
                    return Err("still ready".to_owned());
                }
                sidecar.connect(&caller)
            }),
        row("TL-06", "identity headers are not callers'", "RFC 9440 §2.4, RFC 9110 §7.6.1")
            .accepts("a header that tells nothing of identity", || told("x-colour", &json!({})))
            .refuses("x-forwarded-client-cert", "not told", || told("x-forwarded-client-cert", &json!({})))
            .refuses("client-cert", "not told", || told("client-cert", &json!({})))
            .refuses("x-spiffe-id", "not told", || told("x-spiffe-id", &json!({}))),
    ]
}

pub(super) fn jt() -> Vec<Row> {
    vec![
        row("JT-18", "claim headers are not callers'", "RFC 8725 §3.8 (O)")
            .accepts("a header that carries no claim", || told("x-user", &json!({})))
            .refuses("a header that the route sets", "not told", || {
                let claims = json!({ "identity_headers": { "claims": { "x-user": "sub" } } });
                told("x-user", &claims)
            }),
    ]
}

/// The authority of the caller's trust domain is taken away while its connection is open. The sidecar's own identity is
/// of another trust domain, so that it stays whole.
fn distrusted() -> Result<(), String> {
    let sidecar = Sidecar::start(|_| {})?;
    let mut connection = sidecar.connect(&sidecar.scene.caller("/client"))?;
    sidecar.ask(&mut connection, get("/a"))?;
    let other = postern_tests::Authority::new(sidecar.scene.authority.trust_domain());
    let folder = sidecar.scene.folder.path();
    other.issue("/sidecar").write(folder, "sidecar");
    std::fs::write(folder.join("trust.pem"), other.bundle_pem()).map_err(|error| error.to_string())?;
    let refused = sidecar.until("a refusal", || sidecar.ask(&mut connection, get("/b")).err())?;
    // The connection may have been closed before the request got there.
    Err(if refused.contains("peer.untrusted") {
        refused
    } else {
        format!("peer.untrusted, told by: {refused}")
    })
}

/// The caller's trust domain has a revocation list for a minute; so many seconds later the caller asks again.
fn listed(seconds: u64) -> Result<(), String> {
    let sidecar = Sidecar::start(|scene| {
        let list = scene.path("list.crl");
        let content = scene.authority.revocation_list(&[], time::Duration::seconds(60));
        // Without the file the sidecar does not start, and says which one it misses.
        drop(std::fs::write(&list, content));
        let trust_domain = scene.authority.trust_domain();
        scene.config["identity"]["source"]["files"]["crls"] = json!({ trust_domain: list });
    })?;
    let mut connection = sidecar.connect(&sidecar.scene.caller("/client"))?;
    sidecar.ask(&mut connection, get("/a"))?;
    sidecar.move_clock(Duration::from_secs(seconds));
    sidecar.ask(&mut connection, get("/b")).map(drop)
}

/// Whether the upstream is told what a caller says by this header.
fn told(header: &'static str, route: &serde_json::Value) -> Result<(), String> {
    let sidecar = Sidecar::start(|scene| {
        let keys = scene.path("jwks.json");
        // Without the file there are no keys, and the first request with a token says so.
        drop(std::fs::write(&keys, "{\"keys\":[]}"));
        scene.config["tokens"] = json!([{
            "issuer": "https://idp.test",
            "audiences": ["a"],
            "algorithms": ["ES256"],
            "keys": { "file": keys },
        }]);
        let listeners = scene.config["listeners"].as_object_mut();
        let listener = listeners.and_then(|all| all.values_mut().next());
        if let (Some(listener), Some(added)) = (listener, route.as_object()) {
            for (name, value) in added {
                listener["routes"][0][name] = value.clone();
            }
        }
    })?;
    let mut connection = sidecar.connect(&sidecar.scene.caller("/client"))?;
    let ask = Request::get("/a").header(header, "spiffe://example.org/somebody").body(bytes::Bytes::new());
    sidecar.ask(&mut connection, ask.map_err(|error| error.to_string())?)?;
    let seen = sidecar.scene.upstream.seen();
    let told = seen.iter().any(|request| request.to_string().contains("spiffe://example.org/somebody"));
    if told { Ok(()) } else { Err("not told".to_owned()) }
}
