//! From whom a connection is, as upstreams are told by the PROXY protocol.
use super::peers::{Caller, played};
use super::world::{Upstream, World};
use super::{ALLOW, GET, status};
use ppp::v2;
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};

const TWO: &str = "127.0.0.1:1, 127.0.0.1:2]";
const CALLER: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 4000 8443";
const NOBODY: &str = "PROXY UNKNOWN";

/// What the connections of an upstream began with, in the order in which they were made; and how many have ended.
#[derive(Clone, Debug, Default)]
struct Told {
    headers: Rc<RefCell<Vec<String>>>,
    ended: Rc<RefCell<usize>>,
}

impl Told {
    /// An upstream that hears the header out and then does as `serve` does.
    fn then<F>(&self, serve: impl Fn(BufReader<DuplexStream>) -> F + Clone + 'static) -> Upstream
    where
        F: Future<Output = ()> + 'static,
    {
        let told = self.clone();
        played(move |_, stream| {
            let (told, serve) = (told.clone(), serve.clone());
            async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                assert!(line.ends_with("\r\n"), "{line:?}");
                told.headers.borrow_mut().push(line.trim_end().to_owned());
                serve(stream).await;
                *told.ended.borrow_mut() += 1;
            }
        })
    }

    /// One that answers each request with 200.
    fn answering(&self) -> Upstream {
        self.then(answer)
    }
}

async fn answer(mut stream: impl AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut heard = [0; 4096];
    while stream.read(&mut heard).await.unwrap_or(0) > 0 {
        stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    }
}

fn world(rest: &str) -> World {
    World::configured(Some(ALLOW), &[(TWO, &format!("127.0.0.1:1], proxy_protocol: v1{rest}"))])
}

/// Has callers ask an upstream that is told; what its connections began with.
fn check(rest: &str, ask: impl AsyncFnOnce(&World, Caller), expected: &[&str]) {
    let told = Told::default();
    world(rest).with_upstream(told.answering()).run(ask);
    assert_eq!(*told.headers.borrow(), expected);
}

#[test]
fn a_connection_that_was_announced_serves_that_callers_connection_alone() {
    let ask = async |world: &World, caller: Caller| {
        let mut first = caller.shake_hands().await;
        let mut second = world.caller().await.shake_hands().await;
        for _ in 0..3 {
            assert_eq!(status(&first.ask(GET).await), 200);
            assert_eq!(status(&second.ask(GET).await), 200);
        }
    };
    check("", ask, &[CALLER, CALLER]);
}

#[test]
fn what_nobody_can_use_any_more_is_closed() {
    let told = Told::default();
    let (ended, _) = world("").with_upstream(told.answering()).run(async |world, caller| {
        let mut stays = world.caller().await.shake_hands().await;
        stays.ask(GET).await;
        caller.ask(GET).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let ended = *told.ended.borrow();
        stays.ask(GET).await;
        ended
    });
    assert_eq!((ended, told.headers.borrow().len()), (1, 2));
}

#[test]
fn a_caller_over_http2_shares_its_connections_with_nobody_either() {
    let told = Told::default();
    let upstream = told.then(async |stream| {
        let service = hyper::service::service_fn(async |_| {
            let body = http_body_util::Full::new(bytes::Bytes::new());
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        });
        let io = hyper_util::rt::TokioIo::new(stream);
        let builder = hyper::server::conn::http2::Builder::new(crate::upstream::LocalExecutor);
        drop(builder.serve_connection(io, service).await);
    });
    world(", protocol: h2c").with_upstream(upstream).run(async |world, caller| {
        let mut first = caller.shake_hands().await;
        for _ in 0..2 {
            assert_eq!(status(&first.ask(GET).await), 200);
        }
        assert_eq!(status(&world.caller().await.ask(GET).await), 200);
    });
    assert_eq!(*told.headers.borrow(), [CALLER, CALLER]);
}

#[test]
fn an_upstream_is_told_before_tls() {
    let told = Told::default();
    let id = "spiffe://example.org/service";
    let world = world(&format!(", tls: {{ mutual: {{ spiffe_ids: [\"{id}\"] }} }}"));
    let tls = world.service_tls(id);
    let upstream = told.then(move |stream| {
        let config = std::sync::Arc::new(tls.connection().0);
        async move { answer(tokio_rustls::TlsAcceptor::from(config).accept(stream).await.unwrap()).await }
    });
    let (answer, _) = world.with_upstream(upstream).run(async |_, caller| caller.ask(GET).await);
    assert_eq!((status(&answer), told.headers.borrow().as_slice()), (200, &[CALLER.to_owned()][..]));
}

#[test]
fn the_next_endpoint_is_told_as_the_first_one_was() {
    let (told, bad) = (Told::default(), Told::default());
    let (good, fails) = (told.answering(), bad.then(async |_| {}));
    let rest = "127.0.0.1:1, 127.0.0.1:2], proxy_protocol: v1, balance: round_robin";
    let retry = "retry: { attempts_max: 2, on: [connect_failure, reset] }";
    let changes = [(TWO, rest), ("retry: { attempts_max: 2, on: [connect_failure] }", retry)];
    let world = World::configured(Some(ALLOW), &changes)
        .with_endpoints(move |endpoint| if endpoint.port() == 1 { fails(0) } else { good(0) });
    let (answer, _) = world.run(async |_, caller| caller.ask(GET).await);
    assert_eq!(status(&answer), 200, "{answer}");
    for told in [told, bad] {
        assert_eq!(*told.headers.borrow(), [CALLER]);
    }
}

#[test]
fn what_the_sidecar_asks_or_copies_is_nobodys() {
    let (main, shadow) = (Told::default(), Told::default());
    let (to_main, to_shadow) = (main.answering(), shadow.answering());
    let api = "{ name: api, match: { path_prefix: /api }, upstream: app,";
    let changes = [
        (
            TWO,
            "127.0.0.1:1], proxy_protocol: v1, health: { probe: { http: { path: /healthz } }, interval: 1h }",
        ),
        (api, &*format!("{api} mirror: {{ upstream: shadow }},")),
        ("upstreams:\n", "upstreams:\n  shadow: { endpoints: [127.0.0.1:9], proxy_protocol: v1 }\n"),
    ];
    let world = World::configured(Some(ALLOW), &changes)
        .with_endpoints(move |endpoint| if endpoint.port() == 9 { to_shadow(0) } else { to_main(0) });
    world.run(async |_, caller| {
        // The first look at what is due is made at once.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(status(&caller.ask(GET).await), 200);
        tokio::time::sleep(Duration::from_millis(10)).await;
    });
    assert_eq!(*main.headers.borrow(), [NOBODY, CALLER]);
    assert_eq!(*shadow.headers.borrow(), [NOBODY]);
}

#[test]
fn a_raw_stream_begins_with_the_name_that_was_asked_for_and_who_asked_in_version_2() {
    let heard: Rc<RefCell<Vec<u8>>> = Rc::default();
    let kept = Rc::clone(&heard);
    let upstream = played(move |_, mut stream| {
        let kept = Rc::clone(&kept);
        async move {
            let mut bytes = vec![0; 16];
            stream.read_exact(&mut bytes).await.unwrap();
            let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
            bytes.resize(16 + length, 0);
            stream.read_exact(&mut bytes[16..]).await.unwrap();
            kept.borrow_mut().extend(bytes);
            stream.write_all(b"hello\n").await.unwrap();
        }
    });
    let more = [("127.0.0.1:2], protocol: tcp }", "127.0.0.1:2], protocol: tcp, proxy_protocol: v2 }")];
    let world = super::streams::world(Some(super::streams::POLICY), upstream, &more);
    world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut said = String::new();
        conversation.0.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello\n");
    });
    let heard = heard.borrow();
    let header = v2::Header::try_from(heard.as_slice()).unwrap();
    let ends = v2::IPv4::new([192, 0, 2, 7], [192, 0, 2, 1], 4000, 8443);
    assert_eq!((header.command, header.addresses), (v2::Command::Proxy, v2::Addresses::IPv4(ends)));
    let more: Vec<(u8, String)> = header
        .tlvs()
        .map(|tlv| tlv.map(|tlv| (tlv.kind, String::from_utf8_lossy(&tlv.value).into_owned())).unwrap())
        .collect();
    let expected = [(2, "app.test".to_owned()), (0xE5, "spiffe://example.org/web".to_owned())];
    assert_eq!(more, expected);
}
