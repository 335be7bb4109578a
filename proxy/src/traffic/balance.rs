//! Which endpoint: a random one first, its neighbours after it.
use crate::routing::Upstream;
use crate::upstream::Target;
use crate::worker::Random;

/// Where this exchange begins.
pub(crate) fn start(upstream: &Upstream, random: &mut Random) -> usize {
    let count = u64::try_from(upstream.targets.len().max(1)).unwrap_or(1);
    usize::try_from(random.next_u64() % count).unwrap_or_default()
}

/// The endpoint of the given attempt, counted from 0: no endpoint is tried twice before each was tried once.
pub(crate) fn pick(upstream: &Upstream, first: usize, attempt: u32) -> Option<&Target> {
    let offset = usize::try_from(attempt).unwrap_or_default();
    let at = first.wrapping_add(offset).checked_rem(upstream.targets.len())?;
    upstream.targets.get(at)
}
