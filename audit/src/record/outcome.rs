//! How an exchange ended.
use super::{EndpointAddress, Stamp};
use crate::json::Object;
use std::sync::Arc;

/// How an exchange ended. Tied to its decision by the id they share.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The status the caller got; 0 when it got none.
    pub status: u16,
    /// Body bytes from the caller.
    pub request_bytes: u64,
    /// Body bytes to the caller.
    pub response_bytes: u64,
    /// Attempts made upstream.
    pub attempts: u32,
    /// The attempts after which another one was made, in that order. Each needs a place of
    /// [`super::TRIED_BYTES_MAX`] bytes besides that of the outcome.
    pub tried: Vec<Tried>,
    /// The endpoint that answered, or the last one tried.
    pub endpoint: Option<EndpointAddress>,
    /// The SPIFFE ID that the endpoint proved in its TLS handshake. It needs a place of [`server_bytes`] besides that of the
    /// outcome.
    pub server: Option<Arc<str>>,
    /// From the opening of the exchange to its end.
    pub duration_ns: u64,
    /// Why it ended.
    pub end: Option<End>,
    /// The reason code, when it was refused after the decision or cut short.
    pub reason: Option<&'static str>,
}

/// The longest SPIFFE ID (SPIFFE-ID §2.3).
const SPIFFE_ID_BYTES_MAX: usize = 2048;

/// What the SPIFFE ID of a server adds to an outcome, at most. It is of characters that stand for themselves.
pub const fn server_bytes(spiffe_id: &str) -> usize {
    const AROUND: usize = r#""server":"","#.len();
    // What is longer than any is replaced by something shorter.
    AROUND + if spiffe_id.len() < SPIFFE_ID_BYTES_MAX { spiffe_id.len() } else { SPIFFE_ID_BYTES_MAX }
}

/// An attempt after which another one was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Where it went.
    pub endpoint: EndpointAddress,
    /// What came of it.
    pub result: TriedResult,
    /// From the choice of the endpoint to the head of its answer, or to what went wrong.
    pub duration_ns: u64,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriedResult {
    /// An answer with this status.
    Status(u16),
    /// No answer; the reason code. One of more than 64 bytes is left out.
    Reason(&'static str),
}

impl Tried {
    fn encode(&self, mut object: Object<'_>) {
        object.display("endpoint", &self.endpoint);
        match self.result {
            TriedResult::Status(status) => object.number("status", status.into()),
            TriedResult::Reason(reason) if reason.len() <= 64 => object.word("reason", reason),
            TriedResult::Reason(_) => {}
        }
        object.number("duration_ns", self.duration_ns);
        object.close();
    }
}

/// Why an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The whole answer was sent.
    Done,
    /// Refused by Postern.
    Refused,
    /// The caller went away.
    ClientGone,
    /// The upstream failed.
    UpstreamError,
    /// A time limit.
    Timeout,
    /// Its permit was taken back: policy, trust or identity changed or expired.
    Revoked,
    /// Ended by the sidecar's own shutdown.
    Drained,
    /// A fault in Postern.
    Panic,
}

impl End {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::ClientGone => "client_gone",
            Self::UpstreamError => "upstream_error",
            Self::Timeout => "timeout",
            Self::Revoked => "revoked",
            Self::Drained => "drained",
            Self::Panic => "panic",
        }
    }
}

impl Outcome {
    /// Appends the record, without a line feed. At most [`super::OUTCOME_BYTES_MAX`] bytes, and
    /// [`super::TRIED_BYTES_MAX`] for each attempt in `tried` and [`server_bytes`] for `server`.
    pub fn encode(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        let mut object = stamp.open("outcome", out);
        if self.status != 0 {
            object.number("status", self.status.into());
        }
        object.number("request_bytes", self.request_bytes);
        object.number("response_bytes", self.response_bytes);
        object.number("attempts", self.attempts.into());
        if !self.tried.is_empty() {
            object.objects("tried", &self.tried, |tried, object| tried.encode(object));
        }
        if let Some(endpoint) = &self.endpoint {
            object.display("endpoint", endpoint);
        }
        object.text("server", self.server.as_deref().unwrap_or_default(), SPIFFE_ID_BYTES_MAX);
        object.number("duration_ns", self.duration_ns);
        object.word("end", self.end.map_or("client_gone", End::as_str));
        if let Some(reason) = self.reason.filter(|reason| reason.len() <= 64) {
            object.word("reason", reason);
        }
        object.close();
    }
}
