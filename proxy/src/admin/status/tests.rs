use super::*;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug)]
struct View {
    checks: Mutex<Vec<Check>>,
    started: bool,
}

impl StatusView for View {
    fn live(&self) -> Vec<Check> {
        vec![check("workers", "")]
    }

    fn checks(&self) -> Vec<Check> {
        self.checks.lock().unwrap().clone()
    }

    fn is_started(&self) -> bool {
        self.started
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
}

/// A check that is well if there is no reason.
fn check(name: &'static str, reason: &str) -> Check {
    Check { name, ok: reason.is_empty(), reason: reason.to_owned() }
}

/// A status port for one test.
struct Port {
    address: SocketAddr,
    view: Arc<View>,
    serving: tokio::task::JoinHandle<Infallible>,
}

async fn port(started: bool, limits: ServerLimits) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let view = Arc::new(View { checks: Mutex::default(), started });
    let serving = tokio::spawn(serve(listener, Arc::clone(&view) as Arc<dyn StatusView>, limits));
    Port { address, view, serving }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Sends the bytes and gives everything that comes back until the connection is closed.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // A reset after the answer is how a refused rest of a request shows.
    drop(stream.read_to_string(&mut answer).await);
    answer
}

async fn get(port: &Port, target: &str, accept: &str) -> (u16, String, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
    parts(&exchange(port.address, &request).await)
}

/// Status, head and body of an answer.
fn parts(answer: &str) -> (u16, String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn readiness_follows_the_checks_and_names_what_fails() {
    let port = port(true, ServerLimits::STATUS).await;
    let set = |checks: Vec<Check>| *port.view.checks.lock().unwrap() = checks;
    set(vec![check("policy", "no bundle has been loaded yet"), check("identity", "")]);
    let (status, head, body) = get(&port, "/readyz", "*/*").await;
    assert_eq!((status, body.as_str()), (503, "policy: no bundle has been loaded yet\n"));
    assert!(head.contains("cache-control: no-store"), "{head}");
    set(vec![check("policy", ""), check("identity", "")]);
    assert_eq!(get(&port, "/readyz", "*/*").await.2, "ok\n");
    set(vec![check("policy", ""), check("draining", "the sidecar stops")]);
    assert_eq!(get(&port, "/readyz", "*/*").await.0, 503);
}

#[tokio::test]
async fn details_are_given_as_json_to_who_asks() {
    let port = port(true, ServerLimits::STATUS).await;
    *port.view.checks.lock().unwrap() = vec![check("policy", "no \"bundle\""), check("identity", "")];
    let expected = serde_json::json!({ "ok": false, "checks": [
        { "name": "policy", "ok": false, "reason": "no \"bundle\"" },
        { "name": "identity", "ok": true, "reason": "" },
    ] });
    for (target, accept) in [
        ("/readyz?verbose", "*/*"),
        ("/readyz?a=b&verbose=1", "*/*"),
        ("/readyz", "text/html, Application/JSON;q=0.5"),
    ] {
        let (status, head, body) = get(&port, target, accept).await;
        assert_eq!(status, 503, "{target}");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), expected, "{target}");
    }
}

#[tokio::test]
async fn each_probe_asks_its_own_question() {
    for (started, status) in [(false, 503), (true, 200)] {
        let port = port(started, ServerLimits::STATUS).await;
        *port.view.checks.lock().unwrap() = vec![check("policy", "none")];
        assert_eq!(get(&port, "/startupz", "*/*").await.0, status);
        assert_eq!(get(&port, "/livez", "*/*").await.0, 200);
        assert_eq!(get(&port, "/readyz", "*/*").await.0, 503);
        let (status, head, body) = get(&port, "/metrics", "*/*").await;
        assert_eq!((status, body.as_str()), (200, "# EOF\n"));
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
        assert_eq!(get(&port, "/", "*/*").await.0, 404);
        assert_eq!(get(&port, "/metrics/", "*/*").await.0, 404);
    }
}

#[tokio::test]
async fn the_port_only_tells() {
    let port = port(true, ServerLimits::STATUS).await;
    let send = async |request: &str| parts(&exchange(port.address, request).await);
    let (status, head, _) = send("POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").await;
    assert_eq!(status, 405);
    assert!(head.contains("allow: get, head"), "{head}");
    let (status, head, body) = send("HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: 3") && head.contains("connection: close"), "{head}");
    assert_eq!(send("GET /livez HTTP/9.9\r\n\r\n").await.0, 400);
}

#[tokio::test]
async fn a_head_beyond_its_bounds_is_refused() {
    let port = port(true, ServerLimits::STATUS).await;
    let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(20_000));
    let many = format!("GET /livez HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(100));
    for request in [long, many] {
        assert!(exchange(port.address, &request).await.starts_with("HTTP/1.1 431"), "{}", request.len());
    }
}

#[tokio::test]
async fn a_caller_that_holds_on_loses_its_connection() {
    let head_timeout = Duration::from_millis(50);
    let port = port(true, ServerLimits { head_timeout, ..ServerLimits::STATUS }).await;
    // Returns only because the port closes the connection: the request is never finished.
    let answer = exchange(port.address, "GET /livez HTTP/1.1\r\n").await;
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test]
async fn one_address_cannot_take_more_than_its_places() {
    let limits = ServerLimits { connections_per_address_max: 1, ..ServerLimits::STATUS };
    let port = port(true, limits).await;
    let mut holder = TcpStream::connect(port.address).await.unwrap();
    holder.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    // Connections are accepted in their order: the second finds the place taken.
    let mut refused = TcpStream::connect(port.address).await.unwrap();
    let mut nothing = Vec::new();
    assert_eq!(refused.read_to_end(&mut nothing).await.unwrap_or_default(), 0);
    holder.write_all(b"Host: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    holder.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(holder);
}
