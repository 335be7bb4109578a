//! What the guard says of one request head.
use http::Uri;

/// The guard's view of the head of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawHead {
    /// The head is inside the guard's grammar.
    Seen(Head),
    /// The head, or something before it on the connection, is not. No later head of the connection is trusted.
    Refused(HeadFault),
}

/// A head inside the guard's grammar, and what of it hyper does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(super) target: Box<[u8]>,
    pub(super) form: TargetForm,
    pub(super) hosts: u32,
}

/// The four forms of a request target (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `*`
    Asterisk,
    /// `host:port`, and whatever else is none of the others.
    Authority,
}

impl TargetForm {
    pub(super) fn of(target: &[u8]) -> Self {
        match target {
            [b'/', ..] => Self::Origin,
            b"*" => Self::Asterisk,
            _ if scheme_end(target).is_some() => Self::Absolute,
            _ => Self::Authority,
        }
    }
}

impl Head {
    /// The form of the target.
    pub(crate) fn form(&self) -> TargetForm {
        self.form
    }

    /// How many `Host` lines the head has.
    pub(crate) fn hosts(&self) -> u32 {
        self.hosts
    }

    /// Whether the target holds a `#`, which [`Uri`] cuts off with all that follows.
    pub(crate) fn has_fragment(&self) -> bool {
        self.target.contains(&b'#')
    }

    /// Whether `uri` is this target, byte by byte: that the request at hand is the one that this head began.
    pub(crate) fn is_of(&self, uri: &Uri) -> bool {
        let path_and_query = uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str).as_bytes();
        match self.form {
            TargetForm::Origin => *self.target == *path_and_query,
            TargetForm::Asterisk => path_and_query == b"*",
            TargetForm::Authority => {
                uri.authority().is_some_and(|authority| authority.as_str().as_bytes() == &*self.target)
            }
            TargetForm::Absolute => {
                let rest = scheme_end(&self.target).and_then(|end| self.target.get(end..));
                let authority = uri.authority().map_or("", http::uri::Authority::as_str).as_bytes();
                match rest.and_then(|rest| rest.strip_prefix(authority)) {
                    // `http://host` means its root.
                    Some([]) => path_and_query == b"/",
                    Some(rest) => rest == path_and_query,
                    None => false,
                }
            }
        }
    }
}

/// Where the authority of an absolute-form target starts.
fn scheme_end(target: &[u8]) -> Option<usize> {
    let colon = target.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte))?;
    let (scheme, rest) = target.split_at_checked(colon)?;
    (scheme.first().is_some_and(u8::is_ascii_alphabetic) && rest.starts_with(b"://")).then_some(colon + 3)
}

/// What is wrong with a request head, or with the framing before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum HeadFault {
    /// Not `METHOD SP target SP HTTP-version`.
    #[error("the request line is malformed")]
    RequestLine,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    #[error("the HTTP version is not served")]
    Version,
    /// A line ends in LF without CR.
    #[error("a line ends in a bare line feed")]
    BareLf,
    /// A line starts with white space: a folded header, or a header before the first (RFC 9112 §5.2, §2.2).
    #[error("a header is folded over several lines")]
    ObsFold,
    /// No colon, an empty name, or a byte that no name has, as the blank before a colon.
    #[error("a header name is malformed")]
    HeaderName,
    /// A control byte in a value.
    #[error("a header value holds a control byte")]
    HeaderValue,
    /// One header is longer than its limit.
    #[error("a header is longer than its limit")]
    HeaderTooLarge,
    /// The request line is longer than the limit of the target.
    #[error("the request target is longer than its limit")]
    TargetTooLong,
    /// The head is longer than its limit.
    #[error("the request head is longer than its limit")]
    HeadTooLarge,
    /// More headers than the limit.
    #[error("the request has more headers than its limit")]
    HeaderCount,
    /// `Content-Length` that is not one decimal number, or is there twice.
    #[error("the content length is malformed or repeated")]
    ContentLength,
    /// `Transfer-Encoding` that is not exactly `chunked`, is there twice, or on HTTP/1.0.
    #[error("the transfer encoding is not exactly `chunked`")]
    TransferEncoding,
    /// Both lengths.
    #[error("the request has a content length and a transfer encoding")]
    FramingConflict,
    /// A chunk or a trailer of the body before is malformed, so that the next head has no certain start.
    #[error("a chunk before the request is malformed")]
    Chunk,
    /// More requests sent ahead than are kept track of.
    #[error("too many requests are pipelined")]
    Pipelined,
    /// A request that no head was seen for.
    #[error("the request was not seen on the wire")]
    Untracked,
}
