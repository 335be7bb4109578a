use super::*;
use crate::telemetry::metrics::SpanMetrics;
use crate::telemetry::spans::{self, Decided, DecisionFacts, RequestFacts, RouteFacts, Text, UpstreamFacts};
use crate::telemetry::{Sampler, TraceContext};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue as ProtoKeyValue, any_value::Value as ProtoValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

/// An allowed exchange that called its upstream twice.
pub(in crate::telemetry) fn exchange() -> FinishedExchange {
    let headers = http::HeaderMap::from_iter([
        (
            http::HeaderName::from_static("traceparent"),
            http::HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ),
        (http::HeaderName::from_static("tracestate"), http::HeaderValue::from_static("rojo=1")),
    ]);
    let mut last = 0;
    let mut random = || {
        last += 1;
        last
    };
    FinishedExchange {
        trace: TraceContext::begin(&headers, Sampler::new(0.0).unwrap(), &mut random),
        tracestate: Some(Text::new("rojo=1")),
        started_unix_ns: 1_000_000_000,
        ended_unix_ns: 1_000_004_000,
        listener: "app".into(),
        client: "10.0.0.7:40000".parse().ok(),
        server: "10.0.0.8:8443".parse().ok(),
        peer_spiffe_id: Some("spiffe://example.org/web".into()),
        request: Some(RequestFacts {
            method: http::Method::GET,
            scheme: "https",
            path: Text::new("/accounts/42"),
            protocol_version: "2",
            route: Some(RouteFacts { name: "accounts".into(), path: "/accounts/".into() }),
        }),
        status: Some(200),
        error: None,
        decision: DecisionFacts {
            id: Text::new("01J00000000000000000000000"),
            outcome: Decided::Allow,
            reason: "policy.allowed",
            policy_revision: Some("r1".into()),
        },
        upstream: Some(UpstreamFacts {
            name: "bank".into(),
            scheme: "http",
            endpoint: Some(([127, 0, 0, 1], 8080).into()),
            started_unix_ns: 1_000_001_000,
            ended_unix_ns: 1_000_003_000,
            attempts: 2,
            status: Some(200),
            protocol_version: "1.1",
            error: None,
        }),
    }
}

/// Refused by policy: no upstream was called.
fn denied() -> FinishedExchange {
    let mut denied = exchange();
    denied.status = Some(403);
    denied.error = Some("policy.denied");
    denied.decision.outcome = Decided::Deny;
    denied.decision.reason = "policy.denied";
    denied.upstream = None;
    denied
}

/// A receiver that hands on what it gets, and fails the first `failures` calls.
struct Receiver {
    taken: mpsc::Sender<ExportTraceServiceRequest>,
    failures: AtomicU32,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            return Err(Status::unavailable("not now"));
        }
        self.taken.send(request.into_inner()).await.unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn receiver(failures: u32) -> (String, mpsc::Receiver<ExportTraceServiceRequest>) {
    let (taken, requests) = mpsc::channel(16);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = TraceServiceServer::new(Receiver { taken, failures: AtomicU32::new(failures) });
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (url, requests)
}

fn config(url: &str) -> OtlpConfig {
    OtlpConfig::new(url, Transport::Plaintext, "orders", "1.2.3").unwrap()
}

fn attributes(of: &[ProtoKeyValue]) -> BTreeMap<String, String> {
    of.iter()
        .map(|attribute| {
            let value = match attribute.value.clone().and_then(|value| value.value) {
                Some(ProtoValue::StringValue(text)) => text,
                Some(ProtoValue::IntValue(number)) => number.to_string(),
                other => panic!("unexpected value {other:?}"),
            };
            (attribute.key.clone(), value)
        })
        .collect()
}

fn check_span(span: &Span, head: (&str, i32, i32), expected: &[(&str, &str)]) {
    let status = span.status.as_ref().map_or(0, |status| status.code);
    assert_eq!((span.name.as_str(), span.kind, status), head);
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(attributes(&span.attributes), expected);
}

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const ERROR: i32 = 2;

/// Exports the exchanges to a receiver that fails at first, and gives what it took.
async fn export(exchanges: Vec<FinishedExchange>, failures: u32) -> (ExportTraceServiceRequest, SpanMetrics) {
    let (url, mut requests) = receiver(failures).await;
    let metrics = SpanMetrics::default();
    let (sink, source) = spans::queue(64, metrics.clone());
    exchanges.into_iter().for_each(|exchange| sink.offer(exchange));
    drop(sink);
    run(source, config(&url), std::future::pending()).await.unwrap();
    (requests.recv().await.unwrap(), metrics)
}

fn spans_of(request: &ExportTraceServiceRequest) -> Vec<Span> {
    request.resource_spans[0].scope_spans.iter().flat_map(|scope| scope.spans.clone()).collect()
}

#[tokio::test]
async fn every_attribute_stands_in_the_guide() {
    let guide = include_str!("../../../../docs/telemetry.md");
    let mut unusual = exchange();
    unusual.request.as_mut().unwrap().method = "BREW".parse().unwrap();
    let mut tcp = exchange();
    (tcp.request, tcp.status, tcp.error) = (None, None, Some("upstream.connect_failed"));
    let (request, _) = export(vec![exchange(), unusual, tcp], 0).await;
    for key in spans_of(&request).iter().flat_map(|span| attributes(&span.attributes).into_keys()) {
        assert!(guide.contains(&format!("`{key}`")), "{key}");
    }
}

#[tokio::test]
async fn an_exchange_arrives_as_a_server_and_a_client_span() {
    let (request, metrics) = export(vec![exchange()], 0).await;
    let resource = attributes(&request.resource_spans[0].resource.clone().unwrap().attributes);
    assert_eq!(resource["service.name"], "orders");
    assert_eq!(resource["service.version"], "1.2.3");
    let [server, client] = &spans_of(&request)[..] else { panic!("two spans expected") };
    check_span(
        server,
        ("GET /accounts/", SERVER, 0),
        &[
            ("client.address", "10.0.0.7"),
            ("network.peer.address", "10.0.0.7"),
            ("network.peer.port", "40000"),
            ("server.address", "10.0.0.8"),
            ("server.port", "8443"),
            ("http.request.method", "GET"),
            ("url.scheme", "https"),
            ("url.path", "/accounts/42"),
            ("network.protocol.version", "2"),
            ("http.route", "/accounts/"),
            ("http.response.status_code", "200"),
            ("postern.route", "accounts"),
            ("postern.listener", "app"),
            ("postern.decision", "allow"),
            ("postern.decision_id", "01J00000000000000000000000"),
            ("postern.reason", "policy.allowed"),
            ("postern.policy.revision", "r1"),
            ("postern.peer.spiffe_id", "spiffe://example.org/web"),
        ],
    );
    check_span(
        client,
        ("GET", CLIENT, 0),
        &[
            ("postern.upstream", "bank"),
            ("postern.decision_id", "01J00000000000000000000000"),
            ("server.address", "127.0.0.1"),
            ("server.port", "8080"),
            ("network.peer.address", "127.0.0.1"),
            ("network.peer.port", "8080"),
            ("http.request.method", "GET"),
            ("network.protocol.version", "1.1"),
            ("url.full", "http://127.0.0.1:8080/accounts/42"),
            ("http.request.resend_count", "1"),
            ("http.response.status_code", "200"),
        ],
    );
    assert_eq!(server.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(client.parent_span_id, server.span_id);
    assert_eq!((&server.trace_id, server.trace_state.as_str()), (&client.trace_id, "rojo=1"));
    assert_eq!((server.start_time_unix_nano, server.end_time_unix_nano), (1_000_000_000, 1_000_004_000));
    assert_eq!(metrics.exported.get(), 1);
}

/// A receiver behind TLS that speaks `h2` and nothing else.
struct TlsReceiver {
    url: String,
    /// What a client has to trust.
    roots: rustls::RootCertStore,
    requests: mpsc::Receiver<ExportTraceServiceRequest>,
    /// Hears of every handshake that the client ended.
    refused: mpsc::Receiver<()>,
}

async fn tls_receiver() -> TlsReceiver {
    let (plain, requests) = receiver(0).await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (refusals, refused) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut inside) = acceptor.accept(stream).await else {
                refusals.send(()).await.unwrap();
                continue;
            };
            let mut outside =
                tokio::net::TcpStream::connect(plain.trim_start_matches("http://")).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut inside, &mut outside).await);
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    TlsReceiver { url, roots, requests, refused }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn tls(url: &str, roots: rustls::RootCertStore) -> OtlpConfig {
    let client = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    OtlpConfig::new(url, Transport::Tls(Arc::new(client)), "orders", "1.2.3").unwrap()
}

#[tokio::test]
async fn spans_go_through_tls_to_a_receiver_that_is_trusted() {
    let TlsReceiver { url, roots, mut requests, .. } = tls_receiver().await;
    let (sink, source) = spans::queue(64, SpanMetrics::default());
    sink.offer(exchange());
    drop(sink);
    run(source, tls(&url, roots), std::future::pending()).await.unwrap();
    assert_eq!(spans_of(&requests.recv().await.unwrap()).len(), 2);
}

#[tokio::test]
async fn a_receiver_that_is_not_trusted_gets_nothing() {
    let TlsReceiver { url, mut requests, mut refused, .. } = tls_receiver().await;
    let metrics = SpanMetrics::default();
    let (sink, source) = spans::queue(64, metrics.clone());
    sink.offer(exchange());
    let stop = async move {
        refused.recv().await.unwrap();
        // From here on only timers are left, and nobody has to wait for them.
        tokio::time::pause();
    };
    run(source, tls(&url, tls_receiver().await.roots), stop).await.unwrap();
    assert_eq!((metrics.exported.get(), metrics.undelivered.get()), (0, 1));
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_receiver_that_fails_at_first_gets_the_spans_all_the_same() {
    let (request, metrics) = export(vec![exchange(), denied()], 2).await;
    assert_eq!(spans_of(&request).len(), 3);
    assert_eq!((metrics.exported.get(), metrics.undelivered.get()), (2, 0));
}

/// The server span's status code and error type, as `outcome` makes them.
async fn check_outcome(status: Option<u16>, error: Option<&'static str>, expected: (i32, Option<&str>)) {
    let mut exchange = denied();
    (exchange.status, exchange.error) = (status, error);
    let (request, _) = export(vec![exchange], 0).await;
    let span = spans_of(&request).remove(0);
    let found = attributes(&span.attributes).remove("error.type");
    let code = span.status.map_or(0, |status| status.code);
    assert_eq!((code, found.as_deref()), expected, "{status:?} {error:?}");
}

#[tokio::test]
async fn a_server_span_fails_by_its_own_faults_alone() {
    check_outcome(Some(403), Some("policy.denied"), (0, None)).await;
    check_outcome(Some(404), None, (0, None)).await;
    check_outcome(Some(503), Some("audit.unavailable"), (ERROR, Some("audit.unavailable"))).await;
    check_outcome(Some(502), None, (ERROR, Some("502"))).await;
    check_outcome(Some(200), Some("upstream.protocol"), (ERROR, Some("upstream.protocol"))).await;
    check_outcome(None, None, (0, None)).await;
}

#[tokio::test]
async fn a_stop_sends_what_waits_and_an_absent_receiver_is_not_waited_for() {
    let (url, mut requests) = receiver(0).await;
    let (sink, source) = spans::queue(64, SpanMetrics::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let export = tokio::spawn(run(source, config(&url), async move { drop(stopped.await) }));
    sink.offer(denied());
    stop.send(()).unwrap();
    export.await.unwrap().unwrap();
    assert_eq!(spans_of(&requests.recv().await.unwrap()).len(), 1);
    drop(sink);
}

#[tokio::test(start_paused = true)]
async fn what_no_receiver_takes_is_counted_when_the_sidecar_stops() {
    let metrics = SpanMetrics::default();
    let (sink, source) = spans::queue(64, metrics.clone());
    sink.offer(denied());
    sink.offer(exchange());
    let started = Instant::now();
    // Port 1 of the loopback refuses at once, so that the retries are what takes the time.
    run(source, config("http://127.0.0.1:1"), std::future::ready(())).await.unwrap();
    assert!(started.elapsed() <= FLUSH_TIMEOUT + Duration::from_secs(1));
    assert_eq!((metrics.exported.get(), metrics.undelivered.get()), (0, 2));
}

#[test]
fn a_url_that_cannot_be_used_is_refused_at_start() {
    for (url, expected) in [
        ("", "is not the URL of an OTLP receiver"),
        ("otel:4317", "is not the URL of an OTLP receiver"),
        ("ftp://otel:4317", "is not the URL of an OTLP receiver"),
        ("https://otel:4317", "contradict one another"),
    ] {
        let error = OtlpConfig::new(url, Transport::Plaintext, "orders", "1").unwrap_err();
        assert!(error.to_string().contains(expected), "`{url}`: {error}");
    }
}
