//! WebSockets to an upstream that speaks HTTP/2 (RFC 8441).
use super::peers::{Conversation, played, silent};
use super::world::{Upstream, World};
use super::{ALLOW, DENY, only, status, text};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

const CHANGES: [(&str, &str); 2] = [
    (
        "upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }",
        "upstream: app, upgrades: [websocket], stream_idle_timeout: 1m }",
    ),
    ("127.0.0.1:2] }", "127.0.0.1:2], protocol: h2c }"),
];
const SWITCH: &str = "GET /api/ws?room=1 HTTP/1.1\nHost: a.test\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Protocol: chat\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n";

/// What the upstream makes of a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Greets, and says everything back in capitals.
    Agrees,
    /// Answers with this status and nothing more.
    Says(u16),
    /// Agrees, and reads nothing of what it is told.
    IsDeaf,
}

#[derive(Clone, Default)]
struct Far {
    seen: Rc<RefCell<Vec<Request<()>>>>,
    /// A stream was reset that it did not read.
    reset: Rc<Notify>,
    /// How long it takes until it says anything.
    is_late_by: Duration,
}

impl Far {
    /// An upstream that announces extended CONNECT, or does not.
    fn upstream(&self, announces: bool, how: Answer) -> Upstream {
        let far = self.clone();
        played(move |_, stream: DuplexStream| {
            let far = far.clone();
            async move {
                tokio::time::sleep(far.is_late_by).await;
                let mut builder = h2::server::Builder::new();
                if announces {
                    builder.enable_connect_protocol();
                }
                let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    drop(tokio::task::spawn_local(far.clone().answer(request, respond, how)));
                }
            }
        })
    }

    async fn answer(self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>, how: Answer) {
        let (head, said) = request.into_parts();
        let is_tunnel = head.method == Method::CONNECT;
        self.seen.borrow_mut().push(Request::from_parts(head, ()));
        let head = |status: u16| Response::builder().status(status).body(()).unwrap();
        match how {
            Answer::Agrees | Answer::IsDeaf if !is_tunnel => drop(respond.send_response(head(204), true)),
            Answer::Says(status) => drop(respond.send_response(head(status), true)),
            Answer::Agrees => echo(said, respond.send_response(head(200), false).unwrap()).await,
            Answer::IsDeaf => {
                let mut up = respond.send_response(head(200), false).unwrap();
                up.send_data(Bytes::from("hello"), false).unwrap();
                drop(poll_fn(|cx| up.poll_reset(cx)).await);
                self.reset.notify_one();
                drop(said);
            }
        }
    }
}

async fn echo(mut said: RecvStream, mut up: SendStream<Bytes>) {
    up.send_data(Bytes::from("hello"), false).unwrap();
    while let Some(Ok(part)) = said.data().await {
        said.flow_control().release_capacity(part.len()).unwrap();
        if up.send_data(part.to_ascii_uppercase().into(), false).is_err() {
            return;
        }
    }
    // Whoever is reset has no last word.
    drop(up.send_data(Bytes::new(), true));
}

fn world(upstream: Upstream) -> World {
    World::configured(Some(ALLOW), &CHANGES).with_upstream(upstream)
}

/// Reads until this much more has come.
async fn hear(conversation: &mut Conversation, until: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(until.as_bytes()) {
        let read = conversation.0.read_buf(&mut heard).await.unwrap_or(0);
        assert!(read > 0, "{}", String::from_utf8_lossy(&heard));
    }
    String::from_utf8(heard).unwrap()
}

async fn switched(caller: super::peers::Caller) -> (Conversation, String) {
    let mut conversation = caller.shake_hands().await;
    conversation.say(&SWITCH.replace('\n', "\r\n")).await;
    let head = hear(&mut conversation, "hello").await;
    (conversation, head.to_lowercase())
}

#[test]
fn a_handshake_of_http1_becomes_an_extended_connect_and_its_answer_one_to_it() {
    let far = Far::default();
    let (head, records) = world(far.upstream(true, Answer::Agrees)).run(async |_, caller| {
        let (mut conversation, head) = switched(caller).await;
        conversation.say("ping").await;
        assert_eq!(hear(&mut conversation, "PING").await, "PING");
        // The end of one side is heard by the other, whose last words still come.
        conversation.0.shutdown().await.unwrap();
        assert_eq!(conversation.read_to_end().await, 0);
        head
    });
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    // Of the key that the caller sent (RFC 6455 §1.3).
    for line in
        ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="]
    {
        assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
    }
    let seen = far.seen.borrow();
    let asked = &seen[0];
    assert_eq!(
        (asked.method(), asked.uri().path_and_query().unwrap().as_str()),
        (&Method::CONNECT, "/api/ws?room=1")
    );
    assert_eq!(asked.extensions().get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");
    assert_eq!(asked.headers()["sec-websocket-protocol"], "chat");
    for taken in ["sec-websocket-key", "upgrade", "connection"] {
        assert!(!asked.headers().contains_key(taken), "{taken}");
    }
    let decision = only(&records, "decision");
    assert_eq!((text(decision, "method"), text(decision, "path")), ("GET", "/api/ws"));
    assert_eq!(decision["mutations"], serde_json::json!(["remove sec-websocket-key"]), "{decision}");
    let outcome = only(&records, "outcome");
    assert_eq!((&outcome["status"], text(outcome, "end")), (&101.into(), "done"), "{outcome}");
    assert_eq!((&outcome["request_bytes"], &outcome["response_bytes"]), (&4.into(), &9.into()), "{outcome}");
}

#[test]
fn an_extended_connect_goes_on_as_one() {
    let far = Far::default();
    let ((), records) = world(far.upstream(true, Answer::Agrees)).run(async |_, caller| {
        let mut request = Request::builder().method(Method::CONNECT).uri("https://a.test/api/ws");
        request = request.header("sec-websocket-version", "13");
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let mut client = caller.speak_bare_http2().await.ready().await.unwrap();
        let (answer, mut up) = client.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("sec-websocket-accept"), "{answer:?}");
        up.send_data(Bytes::from("ping"), true).unwrap();
        let (mut down, mut heard) = (answer.into_body(), Vec::new());
        while let Some(part) = down.data().await {
            heard.extend_from_slice(&part.unwrap());
        }
        assert_eq!(String::from_utf8(heard).unwrap(), "helloPING");
    });
    assert!(!far.seen.borrow()[0].headers().contains_key("sec-websocket-key"));
    assert!(only(&records, "decision").get("mutations").is_none());
    let outcome = only(&records, "outcome");
    assert_eq!((&outcome["status"], text(outcome, "end")), (&200.into(), "done"), "{outcome}");
}

/// A handshake comes to this status and reason, and what follows it on another connection is served by the same upstream.
fn check(upstream: Upstream, (expected, reason): (u16, &str)) {
    let (statuses, records) = world(upstream).run(async |world, caller| {
        let refused = status(&caller.ask(SWITCH).await);
        let next = world.caller().await.ask("GET /api/x HTTP/1.1\nHost: a.test\n\n").await;
        (refused, status(&next))
    });
    assert_eq!(statuses.0, expected);
    let outcomes: Vec<_> = records.iter().filter(|record| record["kind"] == "outcome").collect();
    assert_eq!(text(outcomes[0], "reason"), reason, "{outcomes:#?}");
    assert_eq!(outcomes.len(), 2, "{outcomes:#?}");
    assert!(statuses.1 == 204 || statuses.1 == expected, "{statuses:?}");
}

#[test]
fn an_upstream_that_does_not_announce_it_is_not_asked_and_one_that_refuses_answers_as_ever() {
    let far = Far::default();
    check(far.upstream(false, Answer::Agrees), (502, "upstream.extended_connect"));
    let methods: Vec<_> = far.seen.borrow().iter().map(|request| request.method().clone()).collect();
    assert_eq!(methods, [Method::GET], "nothing but the next request");
    check(Far::default().upstream(true, Answer::Says(404)), (404, ""));
    // What agrees to nothing that can be carried.
    check(Far::default().upstream(true, Answer::Says(204)), (204, ""));
}

#[test]
fn an_upstream_that_takes_its_time_to_say_what_it_takes_is_waited_for() {
    let far = || Far { is_late_by: Duration::from_secs(1), ..Far::default() };
    let ((), _) = world(far().upstream(true, Answer::Agrees)).run(async |_, caller| {
        let began = Instant::now();
        let (_, head) = switched(caller).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!((1..2).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    });
    check(far().upstream(false, Answer::Agrees), (502, "upstream.extended_connect"));
}

#[test]
fn an_upstream_that_never_says_what_it_takes_has_the_routes_time() {
    let (took, records) = world(silent()).run(async |_, caller| {
        let began = Instant::now();
        assert_eq!(status(&caller.ask(SWITCH).await), 504);
        began.elapsed()
    });
    assert!((15..16).contains(&took.as_secs()), "{took:?}");
    assert_eq!(text(only(&records, "outcome"), "reason"), "upstream.timeout");
}

#[test]
fn a_tunnel_ends_with_the_policy_that_permitted_it_also_where_the_upstream_takes_nothing_more() {
    for how in [Answer::Agrees, Answer::IsDeaf] {
        let far = Far::default();
        let ((), records) = world(far.upstream(true, how)).run(async |world, caller| {
            let (mut conversation, _) = switched(caller).await;
            let much = "x".repeat(1 << 20);
            let is_taken = timeout(Duration::from_secs(1), conversation.say(&much)).await.is_ok();
            assert!(!is_taken || how == Answer::Agrees, "it takes more than what fits on the way");
            world.change_policy(DENY);
            let began = Instant::now();
            conversation.read_to_end().await;
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
            if how == Answer::IsDeaf {
                timeout(Duration::from_secs(5), far.reset.notified()).await.expect("a stream that is reset");
            }
        });
        let outcome = only(&records, "outcome");
        assert_eq!((text(outcome, "end"), text(outcome, "reason")), ("revoked", "policy.denied"));
    }
}

#[test]
fn a_stream_that_breaks_ends_the_websocket_and_no_other_stream() {
    let upstream = played(|_, stream: DuplexStream| async move {
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol();
        let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let is_tunnel = request.method() == Method::CONNECT;
            let answer = Response::builder().status(if is_tunnel { 200 } else { 204 }).body(()).unwrap();
            let mut up = respond.send_response(answer, !is_tunnel).unwrap();
            if is_tunnel {
                up.send_data(Bytes::from("hello"), false).unwrap();
                drop(tokio::task::spawn_local(async move {
                    let _said = request;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    up.send_reset(h2::Reason::INTERNAL_ERROR);
                }));
            }
        }
    });
    let (next, records) = world(upstream).run(async |world, caller| {
        let (mut conversation, _) = switched(caller).await;
        timeout(Duration::from_secs(5), conversation.read_to_end()).await.expect("its end");
        status(&world.caller().await.ask("GET /api/x HTTP/1.1\nHost: a.test\n\n").await)
    });
    assert_eq!(next, 204);
    let ends: Vec<_> = records.iter().filter(|r| r["kind"] == "outcome").map(|r| text(r, "end")).collect();
    assert_eq!(ends, ["upstream_error", "done"]);
}
