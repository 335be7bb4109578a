//! From the request path to the export thread: what a finished exchange leaves behind, and the queue it
//! goes through.
//!
//! A worker builds a [`FinishedExchange`] only where [`SpanSink::wants`] it, and never waits: a full queue
//! drops it and counts that. Denies may use the whole queue, everything else all but the reserve, so that
//! traffic which is allowed cannot push out the evidence of what is not.

use std::net::SocketAddr;
use std::sync::Arc;

use postern_audit::EndpointAddress;
use tokio::sync::mpsc;

use super::metrics::SpanMetrics;
use super::trace_context::TraceContext;

/// Longest text a span carries, in bytes; longer ones are cut. With [`QUEUE_EXCHANGES_MAX`] it bounds what
/// the queue can hold, whatever callers send.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Most exchanges that may wait for export.
pub const QUEUE_EXCHANGES_MAX: usize = 4096;

/// What the export thread needs of one exchange: facts only, nothing derived.
#[derive(Clone, Debug)]
pub struct FinishedExchange {
    /// Its place in its trace.
    pub trace: TraceContext,
    /// The caller's `tracestate`, where it was forwarded.
    pub tracestate: Option<Text>,
    /// When the exchange began, in nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// When it ended.
    pub ended_unix_ns: u64,
    /// Name of the listener.
    pub listener: Arc<str>,
    /// The caller's end of the connection; `None` for a Unix socket.
    pub client: Option<SocketAddr>,
    /// Our end of the connection; `None` for a Unix socket.
    pub server: Option<SocketAddr>,
    /// The caller's SPIFFE ID.
    pub peer_spiffe_id: Option<Arc<str>>,
    /// What was asked; `None` for a TCP connection.
    pub request: Option<RequestFacts>,
    /// The status the caller was answered with; `None` if it never was.
    pub status: Option<u16>,
    /// The reason code, where this proxy answered by itself or the exchange broke; `None` where an answer
    /// was passed on, whatever its status.
    pub error: Option<&'static str>,
    /// What was decided.
    pub decision: DecisionFacts,
    /// The call to the upstream; `None` where nothing was sent on.
    pub upstream: Option<UpstreamFacts>,
}

/// The request as it was decided on.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    /// The method.
    pub method: http::Method,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The canonical path. The query is left out: it is where secrets are.
    pub path: Text,
    /// `1.1` or `2`, as `network.protocol.version` wants it.
    pub protocol_version: &'static str,
    /// The route, once there is one.
    pub route: Option<RouteFacts>,
}

/// The route a request took.
#[derive(Clone, Debug)]
pub struct RouteFacts {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The path or path prefix it matches: of few values, as `http.route` must be.
    pub path: Arc<str>,
}

/// What was decided, and why.
#[derive(Clone, Debug)]
pub struct DecisionFacts {
    /// The decision id, which is also the key of the audit record.
    pub id: Text,
    /// What was decided.
    pub outcome: Decided,
    /// The reason code of `schema/reasons.json` that the exchange is counted under.
    pub reason: &'static str,
    /// Revision of the policy that decided.
    pub policy_revision: Option<Arc<str>>,
}

/// What became of the question whether the exchange may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Decided {
    /// It may.
    Allow,
    /// It may not.
    Deny,
    /// It may not, but its route only observes, so that it happened all the same.
    DenyObserved,
    /// The exchange ended before anything was decided.
    Undecided,
}

/// The call to the upstream.
#[derive(Clone, Debug)]
pub struct UpstreamFacts {
    /// Name of the upstream.
    pub name: Arc<str>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The endpoint that was tried last; `None` where none could be chosen.
    pub endpoint: Option<EndpointAddress>,
    /// When the first attempt began, in nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// When the last attempt ended.
    pub ended_unix_ns: u64,
    /// How many attempts were made, at least 1.
    pub attempts: u32,
    /// The upstream's status, if it answered.
    pub status: Option<u16>,
    /// `1.1` or `2`.
    pub protocol_version: &'static str,
    /// The reason code where the call failed.
    pub error: Option<&'static str>,
}

/// A text of at most [`TEXT_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Box<str>);

impl Text {
    /// Takes a text over, cut at the limit.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let end = text.floor_char_boundary(TEXT_BYTES_MAX);
        Self(text.get(..end).unwrap_or_default().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Decided {
    /// Every value, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::DenyObserved, Self::Undecided];

    /// The stable name, for labels and attributes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::DenyObserved => "deny_observed",
            Self::Undecided => "none",
        }
    }

    /// Whether policy said no, whatever came of it.
    #[must_use]
    pub const fn denied(self) -> bool {
        match self {
            Self::Deny | Self::DenyObserved => true,
            Self::Allow | Self::Undecided => false,
        }
    }
}

/// Where workers put finished exchanges.
#[derive(Clone, Debug)]
pub struct SpanSink(Option<Queue>);

#[derive(Clone, Debug)]
struct Queue {
    sender: mpsc::Sender<FinishedExchange>,
    /// Places that only denies may take.
    reserved: usize,
    metrics: SpanMetrics,
}

/// The export thread's end of the queue, for [`otlp::run`](super::otlp::run).
#[derive(Debug)]
pub struct SpanSource {
    pub(super) receiver: mpsc::Receiver<FinishedExchange>,
    pub(super) metrics: SpanMetrics,
}

/// A queue of at most `exchanges` (1 to [`QUEUE_EXCHANGES_MAX`], others are brought into range), a quarter
/// of it reserved for denies. Dropping every sink ends the export.
#[must_use]
pub fn queue(exchanges: usize, metrics: SpanMetrics) -> (SpanSink, SpanSource) {
    let places = exchanges.clamp(1, QUEUE_EXCHANGES_MAX);
    let (sender, receiver) = mpsc::channel(places);
    let sink = SpanSink(Some(Queue { sender, reserved: places.div_ceil(4), metrics: metrics.clone() }));
    (sink, SpanSource { receiver, metrics })
}

impl SpanSink {
    /// The sink of a sidecar that exports no spans.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Whether this exchange leaves spans: its trace is sampled, or policy denied it. Ask before building a
    /// [`FinishedExchange`].
    #[must_use]
    pub fn wants(&self, trace: &TraceContext, decided: Decided) -> bool {
        self.0.is_some() && (trace.sampled() || decided.denied())
    }

    /// Hands an exchange over. Never waits; what finds no place is counted and dropped.
    pub fn offer(&self, exchange: FinishedExchange) {
        let Some(queue) = &self.0 else { return };
        let decided = exchange.decision.outcome;
        // Workers that look at the same moment may each take one place of the reserve: it is a quarter of
        // the queue, and there are at most a handful of workers.
        let full = !decided.denied() && queue.sender.capacity() <= queue.reserved;
        if full || queue.sender.try_send(exchange).is_err() {
            queue.metrics.dropped(decided);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::otlp::tests::exchange;

    fn denied() -> FinishedExchange {
        let mut denied = exchange();
        denied.decision.outcome = Decided::Deny;
        denied
    }

    #[test]
    fn a_full_queue_drops_allows_first_and_counts_what_it_drops() {
        let metrics = SpanMetrics::default();
        let (sink, mut source) = queue(8, metrics.clone());
        for _ in 0..7 {
            sink.offer(exchange());
        }
        assert_eq!(source.receiver.len(), 6);
        assert_eq!((metrics.dropped_denies.get(), metrics.dropped_others.get()), (0, 1));
        for _ in 0..3 {
            sink.offer(denied());
        }
        assert_eq!(source.receiver.len(), 8);
        assert_eq!((metrics.dropped_denies.get(), metrics.dropped_others.get()), (1, 1));
        assert!(source.receiver.try_recv().is_ok());
        sink.offer(exchange());
        assert_eq!(source.receiver.len(), 7);
    }

    #[test]
    fn a_deny_is_wanted_whether_or_not_its_trace_is_sampled() {
        let (sink, _source) = queue(8, SpanMetrics::default());
        let mut random = || 1;
        for (ratio, decided, wanted) in [
            (0.0, Decided::Allow, false),
            (0.0, Decided::Undecided, false),
            (0.0, Decided::Deny, true),
            (0.0, Decided::DenyObserved, true),
            (1.0, Decided::Allow, true),
            (1.0, Decided::Undecided, true),
        ] {
            let sampler = crate::telemetry::Sampler::new(ratio).unwrap();
            let trace = TraceContext::begin(&http::HeaderMap::new(), sampler, &mut random);
            assert_eq!(sink.wants(&trace, decided), wanted, "{ratio} {decided:?}");
            assert!(!SpanSink::off().wants(&trace, decided));
        }
    }

    #[test]
    fn a_text_is_cut_at_a_whole_character() {
        let text = Text::new(&"é".repeat(TEXT_BYTES_MAX));
        assert_eq!(text.as_str().len(), TEXT_BYTES_MAX);
        let text = Text::new(&format!("a{}", "é".repeat(TEXT_BYTES_MAX)));
        assert_eq!(text.as_str().len(), TEXT_BYTES_MAX - 1);
    }
}
