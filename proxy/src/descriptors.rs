//! File descriptors: callers may not take the last ones, so that what was let in is served, the status port answers and
//! the audit log can begin another segment when there are no more.
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::{AsFd, AsRawFd};

/// Who wants one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A caller's connection.
    Caller,
    /// A connection to an upstream, for a caller that was let in.
    Upstream,
}

/// What neither callers nor upstreams take: the status port and the admin socket with their connections, the log's segments,
/// files and sources that are read again.
const KEPT: u64 = 32;
/// Of what is left, the share for upstreams.
const UPSTREAM_SHARE: u64 = 4;

/// Whether enough are left behind this new one. The system hands out the lowest that is free: a high one says that all
/// below are taken.
pub(crate) fn are_left(wanted: Use, new: &impl AsFd) -> bool {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return true };
    u64::try_from(new.as_fd().as_raw_fd()).is_ok_and(|new| new < bound(wanted, limit))
}

/// The first descriptor that is out of bounds.
fn bound(wanted: Use, limit: u64) -> u64 {
    let shared = limit.saturating_sub(KEPT);
    match wanted {
        Use::Caller => shared - shared / UPSTREAM_SHARE,
        Use::Upstream => shared,
    }
}

/// Allows this process as many as it may allow itself: the usual soft limit is for programs that wait by `select`. Says so
/// where that is fewer than `connections` of callers need.
pub(crate) fn raise_limit(connections: usize) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let Some(limit) = getrlimit(Resource::Nofile).current else { return };
    let callers = bound(Use::Caller, limit);
    if usize::try_from(callers).is_ok_and(|callers| callers < connections) {
        tracing::warn!(
            limit,
            callers,
            connections,
            "callers are refused before `connections_max`: raise the limit of open files"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With this limit, how many descriptors are taken before callers, and before upstreams, get none.
    fn check(limit: u64, callers: u64, upstreams: u64) {
        let found = (bound(Use::Caller, limit), bound(Use::Upstream, limit));
        assert_eq!(found, (callers, upstreams), "{limit}");
    }

    #[test]
    fn callers_leave_some_to_upstreams_and_both_to_the_rest() {
        check(256, 168, 224);
        check(1024, 744, 992);
        check(1_048_576, 786_408, 1_048_544);
        check(32, 0, 0);
        check(0, 0, 0);
    }

    #[test]
    fn a_low_descriptor_has_all_that_are_above_it_left() {
        let file = tempfile::tempfile().unwrap();
        assert!(are_left(Use::Caller, &file) && are_left(Use::Upstream, &file));
    }
}
