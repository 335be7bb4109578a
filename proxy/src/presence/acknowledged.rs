//! What the kernel knows of a peer's acknowledgements.
#![expect(
    unsafe_code,
    reason = "the kernel's own account of a connection (`TCP_INFO`) is in no library that we have"
)]

use std::time::Duration;
use tokio::net::TcpStream;

/// How long a peer has acknowledged nothing, where something is under way to it that it has to.
#[cfg(target_os = "linux")]
pub(super) fn overdue(stream: &TcpStream) -> Option<Duration> {
    let info = info(stream)?;
    let (under_way, silence_ms) = (info.get(UNACKNOWLEDGED)?, info.get(LAST_ACKNOWLEDGEMENT_MS)?);
    (*under_way > 0).then(|| Duration::from_millis(u64::from(*silence_ms)))
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn overdue(_: &TcpStream) -> Option<Duration> {
    None
}

/// Where they are in `struct tcp_info` (linux/tcp.h), in numbers of 32 bits: eight bytes come first, then `tcpi_rto`,
/// `tcpi_ato`, `tcpi_snd_mss`, `tcpi_rcv_mss`, `tcpi_unacked`, `tcpi_sacked`, `tcpi_lost`, `tcpi_retrans`, `tcpi_fackets`,
/// `tcpi_last_data_sent`, `tcpi_last_ack_sent`, `tcpi_last_data_recv`, `tcpi_last_ack_recv`. The layout only ever grows at
/// its end.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: usize = 6;
#[cfg(target_os = "linux")]
const LAST_ACKNOWLEDGEMENT_MS: usize = 14;

#[cfg(target_os = "linux")]
fn info(stream: &TcpStream) -> Option<[u32; LAST_ACKNOWLEDGEMENT_MS + 1]> {
    use std::ffi::{c_int, c_void};
    use std::os::fd::AsRawFd;

    unsafe extern "C" {
        fn getsockopt(
            socket: c_int,
            level: c_int,
            name: c_int,
            value: *mut c_void,
            length: *mut u32,
        ) -> c_int;
    }
    const IPPROTO_TCP: c_int = 6;
    const TCP_INFO: c_int = 11;

    let mut info = [0_u32; LAST_ACKNOWLEDGEMENT_MS + 1];
    let room = u32::try_from(size_of_val(&info)).ok()?;
    let mut length = room;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed; the kernel writes no more than `length` bytes to
    // `info`, which has as many, and any bits are a number.
    let failed = unsafe {
        getsockopt(stream.as_raw_fd(), IPPROTO_TCP, TCP_INFO, info.as_mut_ptr().cast(), &raw mut length)
    };
    (failed == 0 && length == room).then_some(info)
}
