//! What the sidecar tells its operators about itself: traces, metrics and the process log.
//!
//! Nothing here runs per request but atomics and, for a sampled or denied exchange, one push to a bounded
//! queue. Spans are made by the export thread from finished exchanges; no tracing subscriber sees a request.

pub mod log;
pub mod metrics;
pub mod otlp;
pub mod spans;
pub mod trace_context;

pub use metrics::Metrics;
pub use spans::{FinishedExchange, SpanSink};
pub use trace_context::{Sampler, TraceContext};
