//! W3C Trace Context, level 2: which trace an exchange belongs to, and whether its spans are kept.
//!
//! A caller's context is taken over only if it is well formed; anything else starts a new trace, as §4.2.2
//! asks. Nothing here allocates or fails: a bad header costs the caller its trace, never its request.

mod tracestate;

use std::fmt;

use http::{HeaderMap, HeaderName};
use thiserror::Error;

/// The header that names trace, parent span and flags.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header in which vendors carry their own position in the trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a version 00 `traceparent`, in bytes.
pub const TRACEPARENT_BYTES: usize = 55;

const FLAG_SAMPLED: u8 = 0x01;
/// Level 2: the seven lowest bytes of the trace id are random.
const FLAG_RANDOM: u8 = 0x02;
/// The bits of a trace id that level 2 promises to be random, and that sampling may therefore use.
const RANDOM_BITS_MASK: u64 = (1 << 56) - 1;

/// Sixteen bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Eight bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// Why a `traceparent` is not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TraceparentError {
    /// Two or more `traceparent` headers: nobody can say which one holds.
    #[error("traceparent is repeated")]
    Repeated,
    /// Fields missing, too short or too long, or not divided by `-`.
    #[error("traceparent has not the form version-traceid-parentid-flags")]
    Form,
    /// Anything but lower-case hexadecimal digits.
    #[error("traceparent has a field that is not lower-case hexadecimal")]
    NotHexadecimal,
    /// Version `ff` is forbidden.
    #[error("traceparent has the forbidden version `ff`")]
    Version,
    /// A trace id or parent id of zeros means "none".
    #[error("traceparent has an id of zeros")]
    Zero,
}

/// What a caller's `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteParent {
    /// The trace the caller is in.
    pub trace_id: TraceId,
    /// The caller's span.
    pub span_id: SpanId,
    flags: u8,
}

/// What becomes of the caller's `tracestate` headers on the way to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceState {
    /// They are well formed and go on as they came.
    Forward,
    /// There are none, or they belong to a trace that was not taken over: none goes on.
    Remove,
}

/// The place of one exchange in its trace: made once when the exchange begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The caller's span; `None` where the trace begins here.
    pub parent: Option<SpanId>,
    /// The span for the exchange as its caller sees it.
    pub server_span: SpanId,
    /// The span for the exchange with the upstream; the parent that the upstream is told.
    pub client_span: SpanId,
    /// What to do with the caller's `tracestate`.
    pub tracestate: TraceState,
    flags: u8,
}

/// Decides for new traces whether their spans are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// A trace whose random bits are below this is not kept.
    threshold: u64,
}

/// The share of traces to keep is not a share.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("`{ratio}` is not a share of traces: write a number from 0 to 1")]
pub struct RatioError {
    /// As given.
    pub ratio: f64,
}

impl Sampler {
    /// Keeps `ratio` (0 to 1) of the traces that begin here. All sidecars with one ratio keep the same
    /// traces, because the trace id decides.
    ///
    /// # Errors
    /// [`RatioError`] for anything outside 0 to 1, NaN included.
    pub fn new(ratio: f64) -> Result<Self, RatioError> {
        if !(0.0..=1.0).contains(&ratio) {
            return Err(RatioError { ratio });
        }
        let span = RANDOM_BITS_MASK + 1;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the product lies between 0 and 2^56, and both ends are exact"
        )]
        let threshold = ((1.0 - ratio) * span as f64) as u64;
        Ok(Self { threshold })
    }

    fn keeps(self, trace_id: TraceId) -> bool {
        trace_id.random_bits() >= self.threshold
    }
}

impl TraceContext {
    /// Takes the caller's place in a trace over, or begins a new trace. The caller's choice about sampling
    /// holds; `sampler` decides where there is none.
    ///
    /// `random` gives 64 random bits a call and is asked at most four times.
    pub fn begin(headers: &HeaderMap, sampler: Sampler, random: &mut dyn FnMut() -> u64) -> Self {
        let server_span = SpanId::random(random);
        let client_span = SpanId::random(random);
        if let Some(Ok(parent)) = remote_parent(headers) {
            let values = headers.get_all(TRACESTATE);
            return Self {
                trace_id: parent.trace_id,
                parent: Some(parent.span_id),
                server_span,
                client_span,
                tracestate: tracestate::judge(values.iter().map(http::HeaderValue::as_bytes)),
                flags: parent.flags,
            };
        }
        let trace_id = TraceId::random(random);
        let flags = if sampler.keeps(trace_id) { FLAG_RANDOM | FLAG_SAMPLED } else { FLAG_RANDOM };
        Self { trace_id, parent: None, server_span, client_span, tracestate: TraceState::Remove, flags }
    }

    /// Whether the spans of this trace are kept.
    #[must_use]
    pub const fn sampled(&self) -> bool {
        self.flags & FLAG_SAMPLED != 0
    }

    /// The trace flags as they are sent on.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// The `traceparent` for the upstream: ASCII, of version 00, with [`Self::client_span`] as the parent.
    #[must_use]
    pub fn traceparent(&self) -> [u8; TRACEPARENT_BYTES] {
        let mut text = [b'-'; TRACEPARENT_BYTES];
        let digits = [0]
            .into_iter()
            .chain(self.trace_id.0)
            .chain(self.client_span.0)
            .chain([self.flags])
            .flat_map(hex_digits);
        // The three dashes are already there: fill around them.
        let places = text.iter_mut().enumerate().filter(|(at, _)| !matches!(at, 2 | 35 | 52));
        for ((_, place), digit) in places.zip(digits) {
            *place = digit;
        }
        text
    }
}

/// The parent that the headers name: `None` without a `traceparent`.
pub fn remote_parent(headers: &HeaderMap) -> Option<Result<RemoteParent, TraceparentError>> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let first = values.next()?;
    Some(if values.next().is_some() {
        Err(TraceparentError::Repeated)
    } else {
        parse_traceparent(first.as_bytes())
    })
}

/// Reads one `traceparent` (Trace Context §3.2).
///
/// A version above 00 may carry more behind the flags; only what version 00 defines is read, as §3.2.4 asks.
///
/// # Errors
/// [`TraceparentError`] for whatever the specification calls invalid.
pub fn parse_traceparent(value: &[u8]) -> Result<RemoteParent, TraceparentError> {
    let (known, more) = value.split_at_checked(TRACEPARENT_BYTES).ok_or(TraceparentError::Form)?;
    let mut fields = known.split(|&byte| byte == b'-');
    let [version] = hex_field(fields.next())?;
    let trace_id = TraceId(hex_field(fields.next())?);
    let span_id = SpanId(hex_field(fields.next())?);
    let [flags] = hex_field(fields.next())?;
    if fields.next().is_some() {
        return Err(TraceparentError::Form);
    }
    match (version, more.first()) {
        (0xff, _) => return Err(TraceparentError::Version),
        (_, None) | (1.., Some(b'-')) => {}
        (_, Some(_)) => return Err(TraceparentError::Form),
    }
    if trace_id.0 == [0; 16] || span_id.0 == [0; 8] {
        return Err(TraceparentError::Zero);
    }
    Ok(RemoteParent { trace_id, span_id, flags: flags & (FLAG_SAMPLED | FLAG_RANDOM) })
}

fn hex_field<const N: usize>(field: Option<&[u8]>) -> Result<[u8; N], TraceparentError> {
    let field = field.ok_or(TraceparentError::Form)?;
    if field.len() != N * 2 {
        return Err(TraceparentError::Form);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(field.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |value, &digit| Some(value << 4 | hex_value(digit)?)).ok_or(
            // Upper-case digits are not accepted: §3.2.3 wants such a header dropped, not mended.
            TraceparentError::NotHexadecimal,
        )?;
    }
    Ok(bytes)
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn hex_digits(byte: u8) -> [u8; 2] {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    [digit(byte >> 4), digit(byte & 0x0f)]
}

impl TraceId {
    /// The sixteen bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    fn random(random: &mut dyn FnMut() -> u64) -> Self {
        let value = u128::from(random()) << 64 | u128::from(random());
        // Zero means "none"; no loop, because a broken source must not hang a request.
        Self(value.max(1).to_be_bytes())
    }

    fn random_bits(self) -> u64 {
        let low = u128::from_be_bytes(self.0) & u128::from(RANDOM_BITS_MASK);
        u64::try_from(low).unwrap_or(RANDOM_BITS_MASK)
    }
}

impl SpanId {
    /// The eight bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    fn random(random: &mut dyn FnMut() -> u64) -> Self {
        Self(random().max(1).to_be_bytes())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

#[cfg(test)]
mod tests;
