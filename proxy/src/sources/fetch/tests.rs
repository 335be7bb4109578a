use std::future::Future;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(20);

/// rcgen's certificates are valid from 1975 to 4096.
#[derive(Debug)]
struct In2026;

impl TimeProvider for In2026 {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1_795_000_000)))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// A certificate authority, and what a server of that name needs.
fn authority(name: &str) -> (Vec<u8>, TlsAcceptor) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(vec![]).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("a root");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec![name.to_owned()])
        .expect("parameters")
        .signed_by(&key, &issuer)
        .expect("a leaf");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a server");
    (ca_certificate.pem().into_bytes(), TlsAcceptor::from(Arc::new(config)))
}

/// Reads one request's head, gives the answer, and keeps the head.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &[u8]) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    // A client that has seen enough hangs up while we still write.
    let _hung_up = stream.write_all(answer).await;
    let _hung_up = stream.shutdown().await;
    String::from_utf8(head).expect("text")
}

fn plain() -> Fetcher {
    let (roots, _) = authority("localhost");
    let file = file_with(&roots);
    let roots = TrustRoots::Files(vec![file.path().to_owned()]);
    Fetcher::new(&roots, Plaintext::LoopbackOnly, Arc::new(In2026)).expect("a fetcher")
}

fn file_with(content: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), content).expect("writing");
    file
}

/// Fetches `path` from a server that gives `bytes`; returns what came of it and the request's head.
fn fetch(bytes: &[u8], body_bytes_max: usize) -> (Result<Fetched, FetchError>, String) {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/b?x=1", listener.local_addr().expect("an address"));
        let fetcher = plain();
        let server = async {
            let (socket, _) = listener.accept().await.expect("a connection");
            answer(socket, bytes).await
        };
        tokio::join!(fetcher.get(&url, &[("if-none-match", "\"e\"")], body_bytes_max, TIMEOUT), server)
    })
}

#[track_caller]
fn check(bytes: &[u8], body_bytes_max: usize, expected: Result<(u16, &[u8]), &str>) {
    match (fetch(bytes, body_bytes_max).0, expected) {
        (Ok(fetched), Ok((status, body))) => {
            assert_eq!((fetched.status, &fetched.body[..]), (status, body));
        }
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (fetched, expected) => panic!("got {fetched:?}, expected {expected:?}"),
    }
}

#[test]
fn a_whole_answer_is_given_back_whatever_its_status() {
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", 3, Ok((200, b"abc")));
    check(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        3,
        Ok((200, b"abc")),
    );
    check(b"HTTP/1.1 200 OK\r\n\r\nabc", 3, Ok((200, b"abc")));
    check(b"HTTP/1.1 304 Not Modified\r\n\r\n", 0, Ok((304, b"")));
    check(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 0, Ok((404, b"")));
}

#[test]
fn a_redirect_is_not_followed() {
    check(
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        0,
        Ok((302, b"")),
    );
}

#[test]
fn a_body_beyond_the_limit_is_refused_announced_or_not() {
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd", 3, Err("more than 3 bytes"));
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999999\r\n\r\n", 3, Err("more than 3 bytes"));
    check(b"HTTP/1.1 200 OK\r\n\r\nabcd", 3, Err("more than 3 bytes"));
    check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n", 3, Err("more than 3 bytes"));
}

#[test]
fn a_broken_answer_is_an_error_and_not_a_short_body() {
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab", 9, Err("broke off"));
    check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nab", 9, Err("broke off"));
    check(b"SSH-2.0-x\r\n", 9, Err("broke off"));
    check(b"", 9, Err("broke off"));
    let mut headers = b"HTTP/1.1 200 OK\r\n".to_vec();
    headers.extend_from_slice(&b"x: y\r\n".repeat(ANSWER_HEADERS_MAX + 1));
    headers.extend_from_slice(b"\r\n");
    check(&headers, 9, Err("broke off"));
    check(
        &[b"HTTP/1.1 200 OK\r\nx: ", &b"y".repeat(2 * ANSWER_HEADER_BYTES_MAX)[..]].concat(),
        9,
        Err("broke off"),
    );
}

#[test]
fn the_request_says_where_it_goes_and_carries_the_given_headers() {
    let (_, head) = fetch(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 0);
    assert!(head.starts_with("GET /b?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: 127.0.0.1:"), "{head}");
    assert!(head.contains("if-none-match: \"e\"\r\n"), "{head}");
    assert!(!head.contains("accept-encoding"), "{head}");
}

#[test]
fn a_silent_server_is_left_after_the_timeout() {
    let error = block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/?token=secret", listener.local_addr().expect("an address"));
        plain().get(&url, &[], 0, Duration::from_millis(20)).await.expect_err("a timeout")
    });
    assert!(matches!(error, FetchError::Timeout { .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_closed_port_is_named() {
    let error = block_on(async {
        // Bound and never listening: nobody else gets the port, and a caller of it is refused. One that was closed
        // again may be another test's by the time it is called.
        let bound = tokio::net::TcpSocket::new_v4().expect("a socket");
        bound.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = bound.local_addr().expect("an address");
        plain().get(&format!("http://{address}/"), &[], 0, TIMEOUT).await.expect_err("refused")
    });
    assert!(matches!(error, FetchError::Connect { .. }), "{error}");
}

#[test]
fn plain_http_beyond_loopback_is_refused_before_a_byte_is_sent() {
    // 192.0.2.0/24 is reserved for documentation (RFC 5737).
    let error = block_on(plain().get("http://192.0.2.1/", &[], 0, TIMEOUT)).expect_err("refused");
    assert!(matches!(error, FetchError::Plaintext { .. }), "{error}");
}

#[test]
fn a_header_with_a_line_break_is_refused() {
    let error = block_on(plain().get("http://127.0.0.1:1/", &[("a", "b\r\nc: d")], 0, TIMEOUT));
    assert!(matches!(error, Err(FetchError::RequestHeader { .. })), "{error:?}");
}

#[track_caller]
fn check_tls(served: &str, called: &str, trusted: Option<&[u8]>, expected: Result<(), &str>) {
    let (own_root, acceptor) = authority(served);
    let file = file_with(trusted.unwrap_or(&own_root));
    let roots = TrustRoots::Files(vec![file.path().to_owned()]);
    let fetcher = Fetcher::new(&roots, Plaintext::LoopbackOnly, Arc::new(In2026)).expect("a fetcher");
    let fetched = block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = async {
            let (socket, _) = listener.accept().await.expect("a connection");
            if let Ok(stream) = acceptor.accept(socket).await {
                answer(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        };
        let url = format!("https://{called}:{port}/");
        tokio::join!(fetcher.get(&url, &[], 2, TIMEOUT), server).0
    });
    match (fetched, expected) {
        (Ok(fetched), Ok(())) => assert_eq!(&fetched.body[..], b"ok"),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (fetched, expected) => panic!("got {fetched:?}, expected {expected:?}"),
    }
}

#[test]
fn a_server_must_chain_to_the_given_roots_and_bear_the_name() {
    check_tls("127.0.0.1", "127.0.0.1", None, Ok(()));
    check_tls("other.example", "127.0.0.1", None, Err("tls with `127.0.0.1` failed"));
    let (stranger, _) = authority("127.0.0.1");
    check_tls("127.0.0.1", "127.0.0.1", Some(&stranger), Err("tls with `127.0.0.1` failed"));
}

#[test]
fn roots_that_are_not_roots_are_named() {
    let refused = |path: &std::path::Path| {
        Fetcher::new(&TrustRoots::Files(vec![path.to_owned()]), Plaintext::LoopbackOnly, Arc::new(In2026))
            .expect_err("refused")
            .to_string()
    };
    assert!(refused(file_with(b"hello").path()).contains("holds no certificate"));
    assert!(
        refused(std::path::Path::new("/nowhere/ca.pem"))
            .contains("cannot read trust roots `/nowhere/ca.pem`")
    );
}
