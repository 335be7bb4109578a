//! A caller is believed for as long as its SVID is valid and its trust domain vouches for it, and not a moment longer;
//! so are we by it.
use super::peers::{CallerBody, silent};
use super::world::World;
use super::{ALLOW, GET, text};
use http::Request;
use http_body_util::{BodyExt, Empty};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What happens while a connection is open.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The caller's SVID, which lives for ten minutes, expires.
    PeerExpires,
    /// Ours, which lives for an hour, expires; the caller's does not.
    OwnExpires,
    /// Our identity is withdrawn.
    OwnWithdrawn,
    /// The caller's trust domain loses its bundle.
    BundleGoes,
    /// Another trust domain gets one.
    AnotherComes,
    /// The revocation list of the caller's trust domain, which was there before it connected, expires.
    ListExpires,
    /// One that came while the connection was open expires.
    NewListExpires,
    /// The list expires and the next one is there.
    ListRenewed,
}

impl Event {
    fn happen(self, world: &World) {
        match self {
            Self::PeerExpires => world.clock.advance(Duration::from_secs(601)),
            Self::OwnExpires => world.clock.advance(Duration::from_secs(3601)),
            Self::OwnWithdrawn => world.shared.publish(|next| next.svid = None),
            Self::BundleGoes => {
                world
                    .shared
                    .publish(|next| next.trust = Arc::new(next.trust.followed_by(Default::default())));
            }
            Self::AnotherComes => world.add_trust_domain("other.org"),
            Self::ListExpires => world.clock.advance(Duration::from_secs(61)),
            Self::NewListExpires => {
                world.list_revoked("example.org");
                world.clock.advance(Duration::from_secs(61));
            }
            Self::ListRenewed => {
                world.clock.advance(Duration::from_secs(50));
                world.list_revoked("example.org");
                world.clock.advance(Duration::from_secs(11));
            }
        }
    }

    /// What is there before the caller connects.
    fn prepare(self, world: World) -> World {
        if matches!(self, Self::ListExpires | Self::ListRenewed) {
            world.list_revoked("example.org");
        }
        world
    }
}

/// A world whose upstream never answers, under these terms of validity; its callers' SVIDs live for this long.
fn world(terms: &str, event: Event) -> World {
    let changes = [
        ("trust_domains: [example.org]", &*format!("trust_domains: [example.org]{terms}")),
        ("retry:", "timeout: 1h, retry:"),
    ];
    let lives = if matches!(event, Event::OwnExpires) { 100_000 } else { 600 };
    let world = World::configured(Some(ALLOW), &changes)
        .with_upstream(silent())
        .with_caller_ttl(Duration::from_secs(lives));
    event.prepare(world)
}

fn get() -> Request<CallerBody> {
    Request::get("https://a.test/api/x").body(Empty::new().map_err(|never| match never {}).boxed()).unwrap()
}

fn reason(records: &[Value], kind: &str) -> String {
    let record = records.iter().find(|record| record["kind"] == kind);
    record.map_or_else(String::new, |record| text(record, "reason").to_owned())
}

/// A request is in progress when the event happens: after how many seconds it ends, with which reason in its outcome,
/// and which in the connection's entry. Over both protocols.
#[track_caller]
fn check(terms: &str, event: Event, (seconds, in_outcome, in_entry): (u64, &str, &str)) {
    for is_http2 in [false, true] {
        let (took, records) = world(terms, event).run(async |world, caller| {
            let began;
            if is_http2 {
                let mut caller = caller.speak_http2().await;
                let call = tokio::task::spawn_local(caller.send_request(get()));
                tokio::time::sleep(Duration::from_secs(2)).await;
                event.happen(world);
                began = Instant::now();
                let waiting = call.abort_handle();
                drop(tokio::time::timeout(Duration::from_secs(200), call).await);
                waiting.abort();
            } else {
                let mut conversation = caller.shake_hands().await;
                conversation.say(&GET.replace('\n', "\r\n")).await;
                tokio::time::sleep(Duration::from_secs(2)).await;
                event.happen(world);
                began = Instant::now();
                drop(tokio::time::timeout(Duration::from_secs(200), conversation.read_to_end()).await);
            }
            began.elapsed().as_secs()
        });
        let what = format!("{terms} {event:?} http2 {is_http2}");
        assert!((seconds..seconds + 3).contains(&took), "{what}: {took} s instead of {seconds}");
        assert_eq!(reason(&records, "outcome"), in_outcome, "{what}");
        assert_eq!(reason(&records, "conn"), in_entry, "{what}: {records:#?}");
        let end = records.iter().find(|record| record["kind"] == "outcome").map(|record| text(record, "end"));
        let revoked = if in_outcome.is_empty() { "client_gone" } else { "revoked" };
        assert_eq!(end, Some(revoked), "{what}");
    }
}

#[test]
fn requests_in_progress_have_a_grace_when_an_svid_expires() {
    check("", Event::PeerExpires, (30, "peer.expired", "peer.expired"));
    check(", grace: 5s", Event::PeerExpires, (5, "peer.expired", "peer.expired"));
    check(", on_peer_expiry: close", Event::PeerExpires, (0, "peer.expired", "peer.expired"));
    check("", Event::OwnExpires, (30, "conn.own_identity", "conn.own_identity"));
    check(", on_peer_expiry: close", Event::OwnWithdrawn, (0, "conn.own_identity", "conn.own_identity"));
}

#[test]
fn requests_in_progress_end_when_trust_is_taken_back() {
    check("", Event::BundleGoes, (0, "peer.untrusted", "peer.untrusted"));
    check(", on_trust_change: drain, grace: 7s", Event::BundleGoes, (7, "peer.untrusted", "peer.untrusted"));
    check("", Event::AnotherComes, (200, "", ""));
}

#[test]
fn requests_in_progress_end_when_the_list_that_their_callers_need_expires() {
    let unknown = "peer.revocation_unknown";
    check("", Event::ListExpires, (0, unknown, unknown));
    check("", Event::NewListExpires, (0, unknown, unknown));
    check(", on_trust_change: drain, grace: 7s", Event::ListExpires, (7, unknown, unknown));
    check("", Event::ListRenewed, (200, "", ""));
}

#[test]
fn an_idle_connection_is_closed_when_the_list_that_its_caller_needs_expires() {
    let world = Event::ListExpires.prepare(World::new(Some(ALLOW)));
    let (took, records) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        world.clock.advance(Duration::from_secs(59));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(conversation.ask(GET).await.starts_with("HTTP/1.1 200 "));
        world.clock.advance(Duration::from_secs(1));
        let began = Instant::now();
        assert_eq!(conversation.read_to_end().await, 0);
        began.elapsed().as_secs()
    });
    assert!(took <= 1, "{took}");
    assert_eq!(reason(&records, "conn"), "peer.revocation_unknown");
}

#[test]
fn an_idle_connection_is_closed_shortly_before_its_callers_svid_expires() {
    let (took, records) = World::new(Some(ALLOW)).run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        assert!(conversation.ask(GET).await.starts_with("HTTP/1.1 200 "));
        world.clock.advance(Duration::from_secs(590));
        tokio::time::sleep(Duration::from_secs(5)).await;
        // Still open, and still served.
        assert!(conversation.ask(GET).await.starts_with("HTTP/1.1 200 "));
        world.clock.advance(Duration::from_secs(8));
        let began = Instant::now();
        assert_eq!(conversation.read_to_end().await, 0);
        began.elapsed().as_secs()
    });
    assert!(took <= 1, "{took}");
    assert_eq!(reason(&records, "conn"), "peer.expired");
}

/// Nothing more is served on an open connection after the event, also in the moment before it is looked at.
#[track_caller]
fn refused(event: Event, (status, code): (u16, &str)) {
    let lives = if matches!(event, Event::OwnExpires) { 100_000 } else { 600 };
    let world = World::new(Some(ALLOW)).with_caller_ttl(Duration::from_secs(lives));
    let (found, records) = event.prepare(world).run(async |world, caller| {
        let mut caller = caller.speak_http2().await;
        assert_eq!(caller.send_request(get()).await.unwrap().status(), 200);
        event.happen(world);
        caller.send_request(get()).await.unwrap().status().as_u16()
    });
    assert_eq!(found, status, "{event:?}");
    let refused = records.iter().find(|record| record["decision"] == "deny");
    assert_eq!(refused.map(|record| text(record, "reason")), Some(code), "{event:?}");
}

#[test]
fn no_further_request_is_served_when_either_side_is_believed_no_more() {
    refused(Event::PeerExpires, (401, "peer.expired"));
    refused(Event::BundleGoes, (401, "peer.untrusted"));
    refused(Event::OwnExpires, (503, "conn.own_identity"));
    refused(Event::OwnWithdrawn, (503, "conn.own_identity"));
    refused(Event::ListExpires, (401, "peer.revocation_unknown"));
    refused(Event::NewListExpires, (401, "peer.revocation_unknown"));
}
