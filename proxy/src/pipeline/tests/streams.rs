//! Raw TCP streams.
use super::peers::{Conversation, played};
use super::world::{Upstream, World};
use super::{only, text};
use crate::traffic::endpoint::State;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// The web workload may open a stream, and only on the route of this listener.
pub(super) const POLICY: &str = r#"package authz
import rego.v1
default decision := {"allowed": false, "reason": "not you"}
decision := true if {
    input.postern.action == "connect"
    input.attributes.source.principal == "spiffe://example.org/web"
}"#;
const UNDEFINED: &str = super::UNDEFINED;
const NOBODY: &str = "package authz\nimport rego.v1\ndefault decision := false";

pub(super) fn world(policy: Option<&str>, upstream: Upstream, more: &[(&str, &str)]) -> World {
    let mut changes = vec![
        ("    inbound:", "    protocol: tcp\n    inbound:"),
        (
            "limits: { body_bytes_max: 64KiB, policy_body_bytes_max: 1KiB, drain_grace: 1s }",
            "limits: { drain_grace: 1s }",
        ),
        (
            "      - { name: watched, match: { path_prefix: /watched }, upstream: app, enforcement: observe }\n",
            "",
        ),
        ("      - { name: told, match: { path_prefix: /told }, upstream: app, explain: detail }\n", ""),
        ("      - { name: calls, match: { path_prefix: /calls }, upstream: calls }\n", ""),
        ("name: api, match: { path_prefix: /api }", "name: db, match: {}, stream_idle_timeout: 1m"),
        ("127.0.0.1:2] }", "127.0.0.1:2], protocol: tcp }"),
    ];
    changes.extend(more);
    World::configured(policy, &changes).with_upstream(upstream)
}

/// A server that speaks first and then says everything back in capitals.
pub(super) fn greeting() -> Upstream {
    played(|_, mut stream| async move {
        stream.write_all(b"hello\n").await.unwrap();
        let mut heard = [0; 1024];
        while let Ok(read) = stream.read(&mut heard).await
            && read > 0
        {
            stream.write_all(&heard[..read].to_ascii_uppercase()).await.unwrap();
        }
        stream.write_all(b"bye\n").await.unwrap();
    })
}

async fn hear(conversation: &mut Conversation, length: usize) -> String {
    let mut heard = vec![0; length];
    conversation.0.read_exact(&mut heard).await.unwrap();
    String::from_utf8(heard).unwrap()
}

/// How the stream ended, and why.
fn end(records: &[serde_json::Value]) -> (String, String) {
    let outcome = only(records, "outcome");
    (text(outcome, "end").to_owned(), text(outcome, "reason").to_owned())
}

fn ended(end: &str, reason: &str) -> (String, String) {
    (end.to_owned(), reason.to_owned())
}

#[test]
fn a_permitted_stream_carries_bytes_both_ways_whoever_speaks_first() {
    let (heard, records) = world(Some(POLICY), greeting(), &[]).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let first = hear(&mut conversation, 6).await;
        conversation.say("ping").await;
        let second = hear(&mut conversation, 4).await;
        // An end of one side leaves the other open.
        conversation.0.shutdown().await.unwrap();
        let mut rest = String::new();
        conversation.0.read_to_string(&mut rest).await.unwrap();
        [first, second, rest]
    });
    assert_eq!(heard, ["hello\n", "PING", "bye\n"]);
    let decision = only(&records, "decision");
    assert_eq!((text(decision, "method"), text(decision, "decision")), ("connect", "allow"), "{decision}");
    assert_eq!((text(decision, "route"), text(decision, "host")), ("db", "app.test"), "{decision}");
    let outcome = only(&records, "outcome");
    assert_eq!((&outcome["request_bytes"], &outcome["response_bytes"]), (&4.into(), &14.into()), "{outcome}");
    assert_eq!(end(&records), ended("done", ""));
}

/// A stream that is refused: no byte comes, and the decision and its outcome have this reason.
fn check_refused(world: World, reason: &str) {
    let (heard, records) = world.run(async |_, caller| caller.shake_hands().await.read_to_end().await);
    assert_eq!(heard, 0);
    assert_eq!(end(&records), ended("refused", reason), "{records:#?}");
}

#[test]
fn what_policy_does_not_permit_reaches_nobody() {
    let nobody = || -> Upstream { std::rc::Rc::new(|_| panic!("nobody is to be called")) };
    check_refused(world(Some(NOBODY), nobody(), &[]), "policy.denied");
    check_refused(world(None, nobody(), &[]), "policy.not_ready");
    let elsewhere = [("match: {},", "match: { authorities: [db.test] },")];
    check_refused(world(Some(POLICY), nobody(), &elsewhere), "route.none");
}

#[test]
fn a_route_takes_the_server_names_that_it_lists() {
    let (heard, _) =
        world(Some(POLICY), greeting(), &[("match: {},", "match: { authorities: [\"*.test\"] },")])
            .run(async |_, caller| hear(&mut caller.shake_hands().await, 6).await);
    assert_eq!(heard, "hello\n");
}

#[test]
fn an_endpoint_that_takes_no_connection_is_followed_by_another_one() {
    let good = greeting();
    let upstream: Upstream = std::rc::Rc::new(move |number| match number {
        0 => Err(std::io::ErrorKind::ConnectionRefused.into()),
        _ => good(number),
    });
    let (heard, records) = world(Some(POLICY), upstream, &[])
        .run(async |_, caller| hear(&mut caller.shake_hands().await, 6).await);
    assert_eq!(heard, "hello\n");
    let outcome = only(&records, "outcome");
    assert_eq!(outcome["attempts"], 2);
    assert_eq!(outcome["tried"][0]["reason"], "upstream.connect_failed", "{outcome}");
    let nobody: Upstream = std::rc::Rc::new(|_| Err(std::io::ErrorKind::ConnectionRefused.into()));
    check_refused(world(Some(POLICY), nobody, &[]), "upstream.connect_failed");
}

#[test]
fn a_stream_that_stands_still_for_too_long_ends() {
    let (took, records) = world(Some(POLICY), greeting(), &[]).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        tokio::time::sleep(Duration::from_secs(50)).await;
        conversation.say("still here").await;
        let began = Instant::now();
        conversation.read_to_end().await;
        began.elapsed()
    });
    assert!((60..62).contains(&took.as_secs()), "{took:?}");
    assert_eq!(end(&records), ended("timeout", ""));
}

#[test]
fn an_open_stream_ends_when_policy_no_longer_permits_it() {
    for (policy, is_ended) in [(NOBODY, true), (POLICY, false)] {
        let (took, records) = world(Some(POLICY), greeting(), &[]).run(async |world, caller| {
            let mut conversation = caller.shake_hands().await;
            hear(&mut conversation, 6).await;
            world.change_policy(policy);
            let began = Instant::now();
            conversation.read_to_end().await;
            began.elapsed()
        });
        assert_eq!(took < Duration::from_secs(3), is_ended, "{took:?}");
        assert_eq!(end(&records).0, if is_ended { "revoked" } else { "timeout" }, "{records:#?}");
    }
}

#[test]
fn an_open_stream_ends_with_the_callers_identity() {
    let world = world(Some(POLICY), greeting(), &[]);
    let (took, records) = world.with_caller_ttl(Duration::from_secs(20)).run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        hear(&mut conversation, 6).await;
        world.clock.advance(Duration::from_secs(21));
        let began = Instant::now();
        conversation.read_to_end().await;
        began.elapsed()
    });
    // What has begun may go on for a grace of half a minute.
    assert!((30..33).contains(&took.as_secs()), "{took:?}");
    assert_eq!(end(&records), ended("revoked", "peer.expired"));
}

/// It takes connections, and never says who it is.
#[test]
fn an_endpoint_that_lets_the_time_of_a_route_pass_is_left_out() {
    let tls = ("protocol: tcp }", "protocol: tcp, tls: { mutual: { trust_domains: [example.org] } } }");
    let time = ("stream_idle_timeout: 1m", "stream_idle_timeout: 1m, timeout: 1s");
    let world = world(Some(POLICY), super::peers::silent(), &[tls, time]);
    let (left_out, records) = world.run(async |world, _| {
        for _ in 0..20 {
            world.caller().await.shake_hands().await.read_to_end().await;
        }
        let in_force = world.shared.load();
        let app = in_force.routing.upstreams().find(|upstream| &*upstream.name == "app").unwrap();
        let endpoints = app.balancer.endpoints().iter();
        endpoints.filter(|endpoint| endpoint.state() == State::Ejected).count()
    });
    let outcomes = records.iter().filter(|record| record["kind"] == "outcome");
    assert!(outcomes.into_iter().all(|outcome| text(outcome, "reason") == "upstream.timeout"));
    assert_eq!(left_out, 1);
}

#[test]
fn an_upstream_has_so_many_streams() {
    let more = [("protocol: tcp }", "protocol: tcp, requests_max: 1 }")];
    let (heard, records) = world(Some(POLICY), greeting(), &more).run(async |world, caller| {
        let mut first = caller.shake_hands().await;
        hear(&mut first, 6).await;
        let refused = world.caller().await.shake_hands().await.read_to_end().await;
        drop(first);
        tokio::time::sleep(Duration::from_secs(1)).await;
        (refused, hear(&mut world.caller().await.shake_hands().await, 6).await)
    });
    assert_eq!(heard, (0, "hello\n".to_owned()));
    assert!(records.iter().any(|record| text(record, "reason") == "upstream.overflow"), "{records:#?}");
}

#[test]
fn an_open_stream_that_has_a_grace_left_is_judged_again_when_policy_changes() {
    for (policy, seconds, reason) in [(NOBODY, 0, "policy.denied"), (POLICY, 27, "peer.expired")] {
        let world = world(Some(POLICY), greeting(), &[]).with_caller_ttl(Duration::from_secs(20));
        let (took, records) = world.run(async |world, caller| {
            let mut conversation = caller.shake_hands().await;
            hear(&mut conversation, 6).await;
            world.clock.advance(Duration::from_secs(21));
            tokio::time::sleep(Duration::from_secs(3)).await;
            world.change_policy(policy);
            let began = Instant::now();
            conversation.read_to_end().await;
            began.elapsed().as_secs()
        });
        assert!((seconds..seconds + 3).contains(&took), "{took} s instead of {seconds}");
        assert_eq!(end(&records), ended("revoked", reason));
    }
}

#[test]
fn an_open_stream_has_the_whole_grace_whenever_trust_lapses() {
    let terms =
        [("trust_domains: [example.org]", "trust_domains: [example.org], on_trust_change: drain, grace: 9s")];
    let (took, records) = world(Some(POLICY), greeting(), &terms).run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        hear(&mut conversation, 6).await;
        world.lapse_of_trust("example.org", Duration::from_secs(5)).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        world.remove_trust_domain("example.org");
        let began = Instant::now();
        conversation.read_to_end().await;
        began.elapsed().as_secs()
    });
    assert!((8..12).contains(&took), "{took} s");
    assert_eq!(end(&records), ended("revoked", "peer.untrusted"));
}

#[test]
fn who_was_proven_to_be_at_the_other_end_of_a_stream_is_in_its_outcome() {
    let tls = ("protocol: tcp }", "protocol: tcp, tls: { mutual: { trust_domains: [example.org] } } }");
    let world = world(Some(POLICY), greeting(), &[tls]);
    let service = world.service_tls("spiffe://example.org/db");
    let upstream = played(move |_, stream| {
        let (config, _proven) = service.connection();
        async move {
            let accepting = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config)).accept(stream);
            let mut stream = accepting.await.unwrap();
            stream.write_all(b"hello\n").await.unwrap();
            drop(stream.read(&mut [0; 64]).await);
        }
    });
    let (heard, records) =
        world.with_upstream(upstream).run(async |_, caller| hear(&mut caller.shake_hands().await, 6).await);
    assert_eq!(heard, "hello\n");
    assert_eq!(text(only(&records, "outcome"), "server"), "spiffe://example.org/db");
}

#[test]
fn an_observing_route_carries_what_policy_denies_and_records_that_it_did() {
    let observed = [("stream_idle_timeout: 1m", "stream_idle_timeout: 1m, enforcement: observe")];
    for (policy, reason, would) in [
        (NOBODY, "policy.denied", "deny"),
        (POLICY, "policy.allowed", "allow"),
        (UNDEFINED, "policy.undefined", "deny"),
    ] {
        let (heard, records) = world(Some(policy), greeting(), &observed).run(async |world, caller| {
            let mut conversation = caller.shake_hands().await;
            let first = hear(&mut conversation, 6).await;
            // Nor does one end that is open when policy changes.
            world.change_policy(NOBODY);
            tokio::time::sleep(Duration::from_secs(5)).await;
            conversation.say("ping").await;
            [first, hear(&mut conversation, 4).await]
        });
        assert_eq!(heard, ["hello\n", "PING"]);
        let decision = only(&records, "decision");
        assert_eq!((text(decision, "decision"), text(decision, "enforcement")), ("allow", "observe"));
        assert_eq!((text(decision, "would"), text(decision, "reason")), (would, reason), "{decision}");
    }
    // What policy could not be asked about is not let through.
    let nobody = || -> Upstream { std::rc::Rc::new(|_| panic!("nobody is to be called")) };
    check_refused(world(None, nobody(), &observed), "policy.not_ready");
}
