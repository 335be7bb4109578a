//! What a listener's limit of handshakes can mean.
use super::context::Context;
use crate::config::file::ListenerFile;
use crate::config::settings::ListenerLimits;

/// Tells of a limit that can never be reached.
pub(super) fn check(
    context: &mut Context<'_>,
    limits_key: &str,
    file: &ListenerFile,
    limits: &ListenerLimits,
) {
    let key = format!("{limits_key}.handshakes_per_source_max");
    let Some(written) = file.limits.handshakes_per_source_max else { return };
    if file.outbound.is_some() {
        let what = "the local workload calls an `outbound` listener without TLS, so there are no handshakes";
        context.error(&key, what, "leave it out");
    } else if limits.handshakes_per_source_max > limits.connections_max {
        let what = format!("`{written}` is larger than `connections_max`, which is reached first");
        context.error(&key, what, "lower `handshakes_per_source_max` or raise `connections_max`");
    }
}
