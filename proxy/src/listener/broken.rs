//! What a caller broke beneath the requests.
use super::lifetime::End;
use crate::http2_guard::Floods;
use crate::pipeline::Refusal;

/// What the caller broke beneath the requests.
#[derive(Clone, Copy)]
pub(super) struct Broken {
    pub(super) reason: Refusal,
    /// And how often.
    pub(super) what: (&'static str, u32),
}

/// What it broke, if anything.
pub(super) fn broken(end: &End, floods: Option<&Floods>) -> Option<Broken> {
    let flood = |what| Some(Broken { reason: Refusal::ConnHttp2Flood, what });
    if let Some(found) = floods.and_then(Floods::found) {
        return flood(found);
    }
    let kind = match end {
        End::Closed | End::Cut | End::Revoked => return None,
        End::SlowHead => "slow_head",
        End::Overstayed => "overstayed",
        End::Broken(error) if error.is_parse() || error.is_parse_too_large() => "parse",
        End::Broken(error) if error.is_timeout() => "keep_alive",
        End::Broken(error) if error.is_incomplete_message() => "incomplete",
        End::Broken(error) if is_tls_fault(error) => "tls",
        End::Broken(error) => match http2_fault(error)? {
            // What h2 counts by itself: resets, streams that it broke, continuations, empty DATA.
            Some(h2::Reason::ENHANCE_YOUR_CALM) => return flood(("http2", 1)),
            _ => "http2",
        },
    };
    Some(Broken { reason: Refusal::ConnProtocol, what: (kind, 1) })
}

/// Whether it was TLS that was broken. h2 keeps of an I/O error the kind alone, which none but TLS gives it; hyper gives the
/// same kind to malformed chunks, and keeps the error whole.
fn is_tls_fault(error: &hyper::Error) -> bool {
    let Some(source) = std::error::Error::source(error) else { return false };
    if let Some(beneath) = source.downcast_ref::<h2::Error>().and_then(h2::Error::get_io) {
        return beneath.kind() == std::io::ErrorKind::InvalidData;
    }
    let beneath = source.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    beneath.is_some_and(|beneath| beneath.is::<rustls::Error>())
}

/// What HTTP/2 calls it. That the caller reset the connection or vanished breaks no protocol.
fn http2_fault(error: &hyper::Error) -> Option<Option<h2::Reason>> {
    let error = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>())?;
    (error.is_go_away() || error.is_reset() || error.is_library()).then(|| error.reason())
}
