//! The export of spans by OTLP/gRPC, on a thread of its own.
//!
//! `opentelemetry-otlp` speaks the protocol and retries; spans are handed to it as `SpanData`, without a
//! tracer, a global or a subscriber. The connection is our own, so that there is one TLS stack and one
//! crypto provider in the process.

mod connector;
mod span_data;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tonic::transport::Endpoint;
use tracing::warn;

use super::spans::{FinishedExchange, SpanSource};
use connector::Connector;
pub use connector::Transport;

/// Most exchanges in one request to the receiver; each makes at most two spans.
const BATCH_EXCHANGES_MAX: usize = 256;
/// Longest that a finished exchange waits for others to share a request with.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// What is not delivered by then, retries included, is given up.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that a stopping sidecar waits for the receiver.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// The semantic conventions our attributes follow.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Where spans go.
#[derive(Clone, Debug)]
pub struct OtlpConfig {
    endpoint: Endpoint,
    transport: Transport,
    service_name: String,
    service_version: &'static str,
}

/// Why spans cannot be exported. All of it is known at start.
#[derive(Debug, Error)]
pub enum OtlpError {
    /// The URL is none.
    #[error("`{url}` is not the URL of an OTLP receiver: write `https://host:4317`")]
    Url {
        /// As given.
        url: String,
    },
    /// `https` without TLS, or `http` with it.
    #[error("`{url}` and its TLS settings contradict one another")]
    Scheme {
        /// As given.
        url: String,
    },
    /// The environment contradicts itself: `OTEL_EXPORTER_OTLP_HEADERS` or `…_COMPRESSION`.
    #[error("the OTLP exporter cannot be built: {0}")]
    Exporter(#[from] ExporterBuildError),
}

impl OtlpConfig {
    /// Spans go to `url` (`http://host:port` or `https://host:port`) in the name of `service_name`.
    ///
    /// # Errors
    /// [`OtlpError`] when the URL cannot be used, or does not fit the transport.
    pub fn new(
        url: &str,
        transport: Transport,
        service_name: &str,
        service_version: &'static str,
    ) -> Result<Self, OtlpError> {
        let refused = || OtlpError::Url { url: url.to_owned() };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| refused())?;
        let fits = match (endpoint.uri().scheme_str(), &transport) {
            (Some("http"), Transport::Plaintext) | (Some("https"), Transport::Tls(_)) => true,
            (Some("http" | "https"), Transport::Plaintext | Transport::Tls(_)) => false,
            (_, _) => return Err(refused()),
        };
        if endpoint.uri().host().is_none_or(str::is_empty) {
            return Err(refused());
        }
        if !fits {
            return Err(OtlpError::Scheme { url: url.to_owned() });
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(EXPORT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .buffer_size(16)
            .concurrency_limit(1);
        Ok(Self { endpoint, transport, service_name: service_name.to_owned(), service_version })
    }

    /// Must be called within a runtime: the channel spawns its connection.
    fn exporter(&self) -> Result<SpanExporter, OtlpError> {
        let channel = self.endpoint.connect_with_connector_lazy(Connector::new(self.transport.clone()));
        let patience = RetryPolicy::recommended()
            .with_max_retries(8)
            .with_initial_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(4))
            .with_max_jitter(Duration::from_millis(200));
        let mut exporter = SpanExporter::builder()
            .with_tonic()
            .with_channel(channel)
            .with_timeout(EXPORT_TIMEOUT)
            .with_retry_policy(patience)
            .build()?;
        let resource = Resource::builder()
            .with_service_name(self.service_name.clone())
            .with_attribute(KeyValue::new("service.version", self.service_version))
            .build();
        exporter.set_resource(&resource);
        Ok(exporter)
    }
}

/// Exports until every sink is gone or `stop` ends, then sends what is left for at most [`FLUSH_TIMEOUT`].
/// A receiver that fails costs spans, which are counted, and nothing else.
///
/// # Errors
/// [`OtlpError`] when the exporter cannot be built; nothing is exported then.
pub async fn run(
    source: SpanSource,
    config: OtlpConfig,
    stop: impl Future<Output = ()>,
) -> Result<(), OtlpError> {
    let pump = Pump { source, exporter: config.exporter()?, scope: scope(&config), in_flight: 0 };
    let (stopping, stopped) = watch::channel(false);
    let watchdog = async {
        stop.await;
        stopping.send_replace(true);
        sleep(FLUSH_TIMEOUT).await;
    };
    tokio::select! {
        () = pump.run(stopped) => {}
        () = watchdog => warn!("spans were left behind: the OTLP receiver did not take them in time"),
    }
    Ok(())
}

fn scope(config: &OtlpConfig) -> Arc<InstrumentationScope> {
    let scope = InstrumentationScope::builder("postern").with_version(config.service_version);
    Arc::new(scope.with_schema_url(SCHEMA_URL).build())
}

struct Pump {
    source: SpanSource,
    exporter: SpanExporter,
    scope: Arc<InstrumentationScope>,
    /// Exchanges that left the queue and are not acknowledged.
    in_flight: usize,
}

impl Pump {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH_EXCHANGES_MAX);
        loop {
            self.collect(&mut batch, &mut stopped).await;
            if batch.is_empty() {
                return;
            }
            self.in_flight = batch.len();
            let spans =
                batch.drain(..).flat_map(|exchange| span_data::spans(&exchange, &self.scope)).collect();
            let result = self.exporter.export(spans).await;
            let metrics = &self.source.metrics;
            let counted = count(std::mem::take(&mut self.in_flight));
            match result {
                Ok(()) => metrics.exported.inc_by(counted),
                Err(error) => {
                    warn!(error = %error, exchanges = counted, "spans were given up: the OTLP receiver did not take them");
                    metrics.undelivered.inc_by(counted)
                }
            };
        }
    }

    /// Waits for a first exchange, then a moment for others. Leaves the batch empty at the end of all.
    async fn collect(&mut self, batch: &mut Vec<FinishedExchange>, stopped: &mut watch::Receiver<bool>) {
        let receiver = &mut self.source.receiver;
        let mut enough = None;
        while batch.len() < BATCH_EXCHANGES_MAX {
            let room = BATCH_EXCHANGES_MAX - batch.len();
            tokio::select! {
                biased;
                // A closed queue still gives what it holds, and then nothing, without waiting.
                () = stop(stopped), if !receiver.is_closed() => receiver.close(),
                () = sleep_until(enough) => return,
                taken = receiver.recv_many(batch, room) => match (taken, enough) {
                    (0, _) => return,
                    (_, None) => enough = Some(Instant::now() + BATCH_WAIT),
                    (_, Some(_)) => {}
                },
            }
        }
    }
}

async fn stop(stopped: &mut watch::Receiver<bool>) {
    // The sender outlives the pump: `run` holds both.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Drop for Pump {
    /// What was taken over and never delivered is counted, however the export ends.
    fn drop(&mut self) {
        let left = self.in_flight.saturating_add(self.source.receiver.len());
        self.source.metrics.undelivered.inc_by(count(left));
    }
}

fn count(exchanges: usize) -> u64 {
    u64::try_from(exchanges).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests;
