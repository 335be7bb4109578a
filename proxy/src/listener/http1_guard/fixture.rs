//! For the tests of whoever needs a head.
use super::{HeadTracker, RawHead};
use crate::config::ListenerLimits;
use std::time::Duration;

impl RawHead {
    /// The limits that heads of tests are read with.
    pub(crate) const LIMITS: ListenerLimits = ListenerLimits {
        connections_max: 1,
        handshake_timeout: Duration::from_secs(5),
        handshakes_per_source_max: 1,
        header_timeout: Duration::from_secs(10),
        header_bytes_max: 32 * 1024,
        header_line_bytes_max: 8 * 1024,
        header_count_max: 100,
        body_bytes_max: 1024,
        policy_body_bytes_max: 1024,
        policy_bodies_bytes_max: 1024,
        policy_body_timeout: Duration::from_secs(5),
        detect_timeout: Duration::from_millis(100),
        token_bytes_max: 1024,
        idle_timeout: Duration::from_secs(5),
        connection_age_max: Duration::from_secs(5),
        http2_streams_max: 1,
        http2_control_frames_per_second_max: 1000,
        refusals_per_second_max: 100,
        drain_grace: Duration::from_secs(5),
    };

    /// What the guard says of the first request in `bytes`.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut tracker = HeadTracker::new((&Self::LIMITS).into());
        tracker.feed(bytes);
        tracker.take()
    }
}
