//! A sidecar whose upstream is beyond a router, and callers beside it.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use postern_tests::caller::{Answer, Connection};
use postern_tests::netns::Routed;
use postern_tests::upstream::Speaks;
use postern_tests::{Caller, Scene, Sidecar};
use serde_json::{Value, json};

const POLICY: &str = r#"package postern.authz

default decision := false

decision := true if input.attributes.source.principal == "spiffe://example.org/client"
"#;

const PORT: u16 = 9000;

/// All of it, running; the upstream is the test's.
pub struct Far {
    pub net: Routed,
    pub scene: Scene,
    pub sidecar: Sidecar,
    pub caller: Caller,
}

/// Where the upstream's endpoints are.
pub fn endpoints() -> [SocketAddr; 2] {
    [Routed::SERVER[0], Routed::SERVER_TOO[0]].map(|ip| SocketAddr::new(ip, PORT))
}

impl Far {
    /// With so many endpoints; `change` is made of the upstream and of the listener.
    pub fn start(speaks: Speaks, count: usize, change: impl FnOnce(&mut Value, &mut Value)) -> Option<Self> {
        let net = Routed::new()?;
        Some(Self::start_in(net, speaks, count, |scene, upstream| {
            change(upstream, &mut scene.config["listeners"]["app"]);
        }))
    }

    /// The same where something is there already; `change` is made of the scene and of the upstream.
    pub fn start_in(
        net: Routed,
        speaks: Speaks,
        count: usize,
        change: impl FnOnce(&mut Scene, &mut Value),
    ) -> Self {
        let mut scene = Scene::new();
        let protocol = match speaks {
            Speaks::Http1 => "http1",
            Speaks::H2c => "h2c",
        };
        let mut upstream = json!({
            "endpoints": endpoints()[..count],
            "protocol": protocol,
            "plaintext": "any_address",
        });
        change(&mut scene, &mut upstream);
        scene.config["upstreams"]["app"] = upstream;
        scene.write_policy(POLICY);
        let sidecar = net.start(&net.client, &scene);
        let caller = scene.caller("/client");
        Self { net, scene, sidecar, caller }
    }

    /// Does something beside the sidecar.
    pub fn beside<T, F>(&self, work: impl FnOnce() -> F + Send) -> T
    where
        T: Send,
        F: Future<Output = T>,
    {
        self.net.client.within(0, || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, work())
        })
    }

    /// One request on a connection of its own, and how long its answer took.
    pub fn ask(&self, method: Method, path: &str) -> (Result<Answer, String>, Duration) {
        self.beside(|| async {
            let mut connection = self.connect().await;
            timed(&mut connection, request(method, path, 0)).await
        })
    }

    /// A connection to the sidecar, over HTTP/2.
    pub async fn connect(&self) -> Connection {
        let connected = self.caller.connect(self.scene.listener, postern_tests::Version::Http2).await;
        connected.expect("the sidecar is there")
    }

    /// Ends the sidecar, and gives what its log is in.
    pub fn stop(self) -> Scene {
        self.sidecar.stop();
        postern_tests::sidecar::assert_log_is_whole(&self.scene.audit());
        self.scene
    }
}

/// A request with a body of so many bytes.
pub fn request(method: Method, path: &str, length: usize) -> Request<Bytes> {
    let body = Bytes::from("x".repeat(length));
    Request::builder().method(method).uri(path).body(body).expect("a request")
}

/// What came back, and how long it took.
pub async fn timed(
    connection: &mut Connection,
    request: Request<Bytes>,
) -> (Result<Answer, String>, Duration) {
    let began = Instant::now();
    (connection.send(request).await, began.elapsed())
}
