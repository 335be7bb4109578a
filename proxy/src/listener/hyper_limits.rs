//! What of a listener's limits hyper and h2 keep themselves.
use crate::config::ListenerLimits;
use crate::cut::Streams;
use crate::presence::{PING_INTERVAL, PING_TIMEOUT};
use hyper_util::rt::TokioTimer;

/// HTTP/1.1 within a listener's limits.
pub(super) fn http1(limits: &ListenerLimits) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The head's time is measured by `lifetime`, which tells a slow head from an idle connection.
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    builder
        // One more than allowed, so that the guard can refuse and record what hyper would answer by itself.
        .max_headers(limits.header_count_max.saturating_add(1))
        .max_buf_size(HTTP1_BUFFER_BYTES.max(limits.header_bytes_max * 2));
    builder
}

/// HTTP/2 within a listener's limits.
pub(super) fn http2(
    limits: &ListenerLimits,
    streams: Streams,
) -> hyper::server::conn::http2::Builder<Streams> {
    let mut builder = hyper::server::conn::http2::Builder::new(streams);
    builder.timer(TokioTimer::new());
    builder.keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_TIMEOUT);
    builder.max_concurrent_streams(limits.http2_streams_max);
    builder.max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX));
    builder.initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES);
    // Room for what all streams together may send ahead: uploads that nobody takes stall none of the others.
    let connection_window = HTTP2_STREAM_WINDOW_BYTES.saturating_mul(limits.http2_streams_max);
    builder.initial_connection_window_size(connection_window.min(HTTP2_CONNECTION_WINDOW_BYTES_MAX));
    builder.max_send_buf_size(HTTP2_SEND_BUFFER_BYTES);
    // hyper's own limit lets a thousand streams be broken from outside before it ends the connection.
    builder.max_local_error_reset_streams(HTTP2_LOCAL_RESETS_MAX).max_pending_accept_reset_streams(20);
    builder
}

/// hyper wants room for the largest head that it may have to hold.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;
const HTTP2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES_MAX: u32 = 16 * 1024 * 1024;
const HTTP2_SEND_BUFFER_BYTES: usize = 64 * 1024;
const HTTP2_LOCAL_RESETS_MAX: usize = 100;
