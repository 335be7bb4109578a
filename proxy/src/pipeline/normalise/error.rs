//! Why the guard refuses a request head.
use crate::listener::HeadFault;

/// What is wrong with a request head. Each variant has its own reason code; the caller is the guilty party in
/// all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum GuardError {
    /// The bytes on an HTTP/1 connection are outside of the guard's grammar.
    #[error(transparent)]
    Head(#[from] HeadFault),
    /// Not HTTP/1.1 or HTTP/2.
    #[error("the HTTP version is not served")]
    Version,
    /// A method that is not on the list.
    #[error("the method is not served")]
    Method,
    /// CONNECT with anything but an authority with a port (RFC 9110 §9.3.6).
    #[error("CONNECT does not name a host and a port alone")]
    Connect,
    /// A target that is not a path, as `*` or `host:port`.
    #[error("the request target is not a path")]
    TargetForm,
    /// A `#` in the request target.
    #[error("the request target holds a fragment")]
    Fragment,
    /// One header is longer than its limit.
    #[error("a header is longer than its limit")]
    HeaderTooLarge,
    /// The headers together are longer than their limit.
    #[error("the headers together are longer than their limit")]
    HeadTooLarge,
    /// More headers than the limit.
    #[error("the request has more headers than its limit")]
    HeaderCount,
    /// A header name that another parser may take for another header's.
    #[error("a header name is ambiguous")]
    HeaderName,
    /// A header value that is not ASCII (RFC 9110 §5.5): policy and application would read different texts.
    #[error("a header value is not ASCII")]
    HeaderValue,
    /// A second value of a header that has one.
    #[error("a header that may be sent once was sent more than once")]
    HeaderDuplicate,
    /// More than one credential.
    #[error("more than one `authorization` header")]
    AuthorizationMultiple,
    /// `content-length` that is malformed or repeated.
    #[error("the content length is malformed or repeated")]
    ContentLength,
    /// `transfer-encoding` that is not exactly `chunked`, or is repeated.
    #[error("the transfer encoding is not exactly `chunked`")]
    TransferEncoding,
    /// Both lengths.
    #[error("the request has a content length and a transfer encoding")]
    FramingConflict,
    /// `expect` other than `100-continue`.
    #[error("the expectation is not `100-continue`")]
    Expect,
    /// A WebSocket that is not asked for as RFC 6455 §4.1 or RFC 8441 §5 says.
    #[error("the request does not ask for a WebSocket as it has to")]
    Upgrade,
    /// Neither `host` nor `:authority`.
    #[error("the request names no host")]
    HostMissing,
    /// More than one `host`.
    #[error("the request names more than one host")]
    HostDuplicate,
    /// A host that is not `name[:port]` in its plain spelling.
    #[error("the host is malformed")]
    HostInvalid,
    /// `host` and `:authority` (or an absolute target) differ.
    #[error("the host in the target and the `host` header disagree")]
    HostMismatch,
    /// A path without a leading `/`.
    #[error("the path does not start with a slash")]
    PathForm,
    /// A control, space, backslash or raw non-ASCII byte, plain or encoded.
    #[error("the path holds a forbidden byte")]
    PathCharacter,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a stray percent sign")]
    PathPercent,
    /// The decoded path is not UTF-8.
    #[error("the decoded path is not UTF-8")]
    PathEncoding,
    /// `%2f` or `%5c`.
    #[error("the path holds an encoded slash or backslash")]
    PathSeparator,
    /// `%25` followed by two hexadecimal digits.
    #[error("the path is percent-encoded twice")]
    PathDoubleEncoding,
    /// A `.` or `..` segment in any spelling.
    #[error("the path holds a dot segment")]
    PathDotSegment,
    /// `//`, or a segment that is nothing but parameters.
    #[error("the path holds an empty segment")]
    PathEmptySegment,
    /// A control or raw non-ASCII byte in the query.
    #[error("the query holds a forbidden byte")]
    Query,
    /// gRPC with a path that is not `/package.Service/Method`.
    #[error("the path of a gRPC call is not `/service/method`")]
    GrpcPath,
    /// gRPC with a `grpc-timeout` that is not one to eight digits and a unit.
    #[error("the time of a gRPC call is not one to eight digits and a unit")]
    GrpcTimeout,
}

impl GuardError {
    /// The stable reason code.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Head(fault) => head_code(fault),
            Self::Version => "request.version",
            Self::Method => "request.method",
            Self::Connect => "request.connect",
            Self::TargetForm => "request.target_form",
            Self::Fragment => "request.fragment",
            Self::HeaderTooLarge => "request.header_too_large",
            Self::HeadTooLarge => "request.head_too_large",
            Self::HeaderCount => "request.header_count",
            Self::HeaderName => "request.header_name",
            Self::HeaderValue => "request.header_value",
            Self::HeaderDuplicate => "request.header_duplicate",
            Self::AuthorizationMultiple => "token.multiple",
            Self::ContentLength => "request.content_length",
            Self::TransferEncoding => "request.transfer_encoding",
            Self::FramingConflict => "request.framing_conflict",
            Self::Expect => "request.expect",
            Self::Upgrade => "request.upgrade",
            Self::HostMissing => "request.host_missing",
            Self::HostDuplicate => "request.host_duplicate",
            Self::HostInvalid => "request.host_invalid",
            Self::HostMismatch => "request.host_mismatch",
            Self::PathForm => "request.path_form",
            Self::PathCharacter => "request.path_character",
            Self::PathPercent => "request.path_percent",
            Self::PathEncoding => "request.path_encoding",
            Self::PathSeparator => "request.path_separator",
            Self::PathDoubleEncoding => "request.path_double_encoding",
            Self::PathDotSegment => "request.path_dot_segment",
            Self::PathEmptySegment => "request.path_empty_segment",
            Self::Query => "request.query",
            Self::GrpcPath => "request.grpc_path",
            Self::GrpcTimeout => "request.grpc_timeout",
        }
    }
}

fn head_code(fault: HeadFault) -> &'static str {
    match fault {
        HeadFault::RequestLine => "request.line",
        HeadFault::Version => "request.version",
        HeadFault::BareLf => "request.bare_lf",
        HeadFault::ObsFold => "request.obs_fold",
        HeadFault::HeaderName => "request.header_name",
        HeadFault::HeaderValue => "request.header_value",
        HeadFault::HeaderTooLarge => "request.header_too_large",
        HeadFault::TargetTooLong => "request.target_too_long",
        HeadFault::HeadTooLarge => "request.head_too_large",
        HeadFault::HeaderCount => "request.header_count",
        HeadFault::ContentLength => "request.content_length",
        HeadFault::TransferEncoding => "request.transfer_encoding",
        HeadFault::FramingConflict => "request.framing_conflict",
        HeadFault::Chunk => "request.chunk",
        HeadFault::Pipelined => "request.pipelined",
        HeadFault::Untracked => "request.untracked",
    }
}
