//! A token lets nobody in for longer than it lives itself, nor for longer than the key that signed it is its issuer's.
use super::peers::{CallerBody, endless};
use super::tokens::TestIssuer;
use super::world::{BEGINNING_S, World};
use super::{ALLOW, READS_BODY, text};
use crate::state::{Tokens, Workloads};
use http::Request;
use http_body_util::{BodyExt, Empty};
use postern_identity::token::KeySet;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What happens to the keys of a token's issuer.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// They are replaced, and the new one has the name of the old one.
    Replaced,
    /// It takes all of them back, as a trust bundle without JWT authorities does.
    TakenBack,
    /// It is an issuer no more.
    IssuerGone,
    /// They are too old to be used.
    TooOld,
    /// The same key is published again.
    Repeated,
    /// Those of another issuer go.
    AnothersGone,
    /// The token expires.
    Expires,
    /// It has expired, but by less than clocks may be apart.
    ExpiresNow,
}

impl Event {
    fn happen(self, world: &World, issuer: &TestIssuer) {
        let first = |keys: Option<Arc<KeySet>>| move |tokens: &mut Tokens| tokens.keys[0] = keys;
        match self {
            Self::Replaced => world.change_tokens(first(TestIssuer::new().keys())),
            Self::TakenBack => world.change_tokens(first(Some(Arc::default()))),
            Self::IssuerGone => world.change_tokens(|tokens| *tokens = Tokens::default()),
            Self::TooOld => world.change_tokens(first(None)),
            Self::Repeated => world.change_tokens(first(issuer.keys())),
            Self::AnothersGone => world.change_tokens(|tokens| tokens.keys[1] = None),
            Self::Expires => world.clock.advance(Duration::from_secs(421)),
            Self::ExpiresNow => world.clock.advance(Duration::from_secs(310)),
        }
    }
}

const ISSUERS: &str = "tokens: [{ issuer: https://idp.test, audiences: [app], algorithms: [ES256], keys: { file: /nowhere } }]\npolicy:";

/// A world that takes the tokens of an issuer and of another one.
fn world(policy: &str, issuer: &TestIssuer) -> World {
    let changes = [
        ("policy:", ISSUERS),
        ("upstream: calls }", "upstream: calls, tokens: required }"),
        ("upstream: app, retry", "upstream: app, tokens: required, retry"),
    ];
    let world = World::configured(Some(policy), &changes);
    issuer.accepted_by(&world);
    world.change_tokens(|tokens| {
        let other = postern_identity::token::Issuer::new(
            "https://other.test".to_owned(),
            vec!["app".to_owned()],
            vec![postern_identity::token::Algorithm::Es256],
        );
        tokens.issuers.push(other.unwrap());
        tokens.keys.push(TestIssuer::new().keys());
    });
    world
}

fn token(issuer: &TestIssuer) -> String {
    issuer.token(&json!({"sub": "alice", "exp": BEGINNING_S + 300}))
}

fn get(path: &str, headers: &[(&str, &str)]) -> Request<CallerBody> {
    let mut request = Request::get(format!("https://a.test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new().map_err(|never| match never {}).boxed()).unwrap()
}

/// An answer without end is on its way to a caller with these headers when something happens: with which reason it
/// ends, if it does. Then the same is asked again on the same connection: its status and reason.
#[track_caller]
fn check(
    world: World,
    headers: &[(&str, &str)],
    happen: impl FnOnce(&World),
    (end, (status, reason)): (Option<&str>, (u16, &str)),
) {
    let ((has_ended, next), records) = world.with_upstream(endless()).run(async |world, caller| {
        let mut caller = caller.speak_http2().await;
        let answer = caller.send_request(get("/calls/x", headers)).await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut reading = tokio::task::spawn_local(answer.into_body().collect());
        let early = tokio::time::timeout(Duration::from_secs(30), &mut reading).await;
        assert!(early.is_err(), "nothing has happened yet");
        happen(world);
        // Nobody waits for the next look at what is in progress.
        let next = caller.send_request(get("/calls/y", headers)).await.unwrap().status().as_u16();
        let ended = tokio::time::timeout(Duration::from_secs(3), &mut reading).await;
        reading.abort();
        (ended.is_ok_and(|read| read.unwrap().is_err()), next)
    });
    assert_eq!((has_ended, next), (end.is_some(), status), "{records:#?}");
    let decisions: Vec<_> = records.iter().filter(|record| record["kind"] == "decision").collect();
    assert_eq!(text(decisions[1], "reason"), reason);
    let outcome = |record: &&Value| record["kind"] == "outcome" && record["id"] == decisions[0]["id"];
    let outcome = records.iter().find(outcome).unwrap();
    let expected = end.map_or(("client_gone", ""), |reason| ("revoked", reason));
    assert_eq!((text(outcome, "end"), text(outcome, "reason")), expected);
}

#[test]
fn an_answer_ends_with_the_token_that_permitted_it_and_with_the_key_that_signed_that() {
    let withdrawn = Some("token.key_withdrawn");
    for (event, expected) in [
        (Event::Replaced, (withdrawn, (401, "token.signature"))),
        (Event::TakenBack, (withdrawn, (401, "token.key_unknown"))),
        (Event::IssuerGone, (withdrawn, (401, "token.issuer"))),
        (Event::TooOld, (Some("keys.unavailable"), (503, "keys.unavailable"))),
        (Event::Repeated, (None, (200, "policy.allowed"))),
        (Event::AnothersGone, (None, (200, "policy.allowed"))),
        (Event::Expires, (Some("token.expired"), (401, "token.expired"))),
        (Event::ExpiresNow, (None, (401, "token.expired"))),
    ] {
        let issuer = TestIssuer::new();
        let bearer = format!("Bearer {}", token(&issuer));
        let headers = [("authorization", bearer.as_str())];
        check(world(ALLOW, &issuer), &headers, |world| event.happen(world, &issuer), expected);
    }
}

#[test]
fn an_answer_ends_with_the_key_of_its_transaction_token_while_that_token_lives() {
    // It lives for a minute, and ends nothing by being over; nor does its key when it goes after that.
    for (seconds, expected) in [
        (0, (Some("token.key_withdrawn"), (401, "token.key_unknown"))),
        (61, (None, (401, "token.key_unknown"))),
    ] {
        let issuer = TestIssuer::new();
        let world = World::new(Some(ALLOW));
        issuer.transactions_accepted_by(&world);
        let token = issuer.transaction_token(&json!({}));
        let happen = |world: &World| {
            world.clock.advance(Duration::from_secs(seconds));
            Event::TakenBack.happen(world, &issuer);
        };
        check(world, &[("txn-token", token.as_str())], happen, expected);
    }
}

#[test]
fn an_answer_ends_with_the_key_of_its_workloads_token() {
    let batch = super::workloads::Batch::new();
    let world = super::workloads::world(ALLOW, &batch).0;
    let [identity, proof] = batch.right_at("https://orders.test/calls/x", "1");
    let headers = [("workload-identity-token", identity.as_str()), ("workload-proof-token", proof.as_str())];
    let taken_back = |world: &World| {
        let mut workloads = Workloads::clone(&world.shared.load().workloads);
        workloads.keys.values_mut().for_each(|keys| *keys = Some(Arc::default()));
        world.shared.publish(|next| next.workloads = Arc::new(workloads));
    };
    check(world, &headers, taken_back, (Some("token.wit_key_withdrawn"), (400, "token.wit_key_unknown")));
}

#[test]
fn a_request_whose_tokens_key_is_withdrawn_while_its_body_comes_is_not_decided() {
    let issuer = TestIssuer::new();
    let token = token(&issuer);
    for (event, (status, reason)) in [
        (Event::TakenBack, (401, "token.key_withdrawn")),
        (Event::TooOld, (503, "keys.unavailable")),
        (Event::Repeated, (200, "policy.allowed")),
    ] {
        let world = world(READS_BODY, &issuer);
        let (answer, records) = world.run(async |world, caller| {
            let mut conversation = caller.shake_hands().await;
            let body = "{\"amount\":1}";
            let head = format!(
                "POST /api/x HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\nContent-Length: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
                body.len()
            );
            conversation.say(&head).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            event.happen(world, &issuer);
            conversation.say(body).await;
            conversation.hear().await
        });
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{event:?}: {answer}");
        assert_eq!(text(super::only(&records, "decision"), "reason"), reason, "{event:?}");
    }
}

#[test]
fn the_first_token_of_a_new_key_is_remembered_under_the_keys_that_verified_it() {
    let issuer = TestIssuer::new();
    let request = format!("GET /api/x HTTP/1.1\nHost: a.test\nAuthorization: Bearer {}\n\n", token(&issuer));
    let world = world(ALLOW, &issuer);
    world.change_tokens(|tokens| tokens.keys[0] = Some(Arc::default()));
    let ((first, second), _) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        let coming = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            world.change_tokens(|tokens| tokens.keys[0] = issuer.keys());
        };
        let (first, ()) = tokio::join!(conversation.ask(&request), coming);
        // Whoever verified it again would find that nobody takes it any more; what is remembered answers for as long as
        // the generation of keys is the same.
        let mut tokens = Tokens::clone(&world.shared.load().tokens);
        let terms = ("https://idp.test".to_owned(), vec!["nobody".to_owned()]);
        let algorithms = vec![postern_identity::token::Algorithm::Es256];
        tokens.issuers[0] = postern_identity::token::Issuer::new(terms.0, terms.1, algorithms).unwrap();
        world.shared.publish(|next| next.tokens = Arc::new(tokens));
        (first, conversation.ask(&request).await)
    });
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert!(second.starts_with("HTTP/1.1 200 "), "it was verified once more: {second}");
}
