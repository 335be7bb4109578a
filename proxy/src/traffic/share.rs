//! How much of the attempts each endpoint gets where that is not the same for all: what the DNS says of a service
//! (RFC 2782).
use crate::worker::Random;

/// What one endpoint is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// As long as any of a lower one is left, it gets nothing.
    pub priority: u16,
    /// Its part among those of the same priority. Never 0.
    pub weight: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self { priority: 0, weight: 1 }
    }
}

/// Those of all endpoints of an upstream, by their numbers.
#[derive(Debug)]
pub(super) struct Shares {
    /// Empty where all have the same, so that most upstreams pay nothing for it.
    all: Vec<Share>,
    heaviest: u32,
    has_weights: bool,
}

impl Shares {
    pub(super) fn new(all: Vec<Share>) -> Self {
        let differ = |part: fn(&Share) -> u32| {
            let mut parts = all.iter().map(part);
            parts.next().is_some_and(|first| parts.any(|other| other != first))
        };
        let has_weights = differ(|share| share.weight);
        let heaviest = all.iter().map(|share| share.weight).max().unwrap_or(1).max(1);
        let are_same = !has_weights && !differ(|share| share.priority.into());
        Self { all: if are_same { Vec::new() } else { all }, heaviest, has_weights }
    }

    /// Whether some are to get more than others of the same priority.
    pub(super) fn has_weights(&self) -> bool {
        self.has_weights
    }

    /// The weight of an endpoint.
    pub(super) fn weight(&self, at: usize) -> u32 {
        self.all.get(at).map_or(1, |share| share.weight)
    }

    /// This part of a number, rounded down: all of it for the heaviest, and never nothing.
    pub(super) fn part_of(&self, number: u32, at: usize) -> u32 {
        if !self.has_weights {
            return number;
        }
        let part = u64::from(number).saturating_mul(self.weight(at).into()) / u64::from(self.heaviest);
        u32::try_from(part).unwrap_or(number).max(1)
    }

    /// Those that come first.
    pub(super) fn first(&self, mut among: Vec<usize>) -> Vec<usize> {
        let priority = |at: &usize| self.all.get(*at).map_or(0, |share| share.priority);
        if !self.all.is_empty()
            && let Some(lowest) = among.iter().map(priority).min()
        {
            among.retain(|at| priority(at) == lowest);
        }
        among
    }

    /// One by lot: each has a chance of its weight over what it costs.
    pub(super) fn draw(
        &self,
        among: &[usize],
        random: &mut Random,
        cost: impl Fn(usize) -> f64,
    ) -> Option<usize> {
        let chance = |at: usize| f64::from(self.weight(at)) / cost(at).max(1.0);
        at(among, random.next_u64(), chance)
    }

    /// One by turn: in any number of turns on end each has nearly its part of them, and none has all of it on end. The
    /// multiples of the golden ratio spread more evenly than any others.
    pub(super) fn turn(&self, among: &[usize], turn: usize) -> Option<usize> {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let place = u64::try_from(turn).ok()?.wrapping_mul(GOLDEN);
        at(among, place, |at| f64::from(self.weight(at)))
    }
}

/// Where a place between 0 and 2^64 leads if each has as much of the way as its part is.
fn at(among: &[usize], place: u64, part: impl Fn(usize) -> f64) -> Option<usize> {
    let whole: f64 = among.iter().map(|at| part(*at)).sum();
    let fraction = f64::from(u32::try_from(place >> 32).ok()?) / (f64::from(u32::MAX) + 1.0);
    let mut left = fraction * whole;
    let found = among.iter().copied().find(|at| {
        left -= part(*at);
        left < 0.0
    });
    // What was lost in the sum is the last one's.
    found.or_else(|| among.last().copied())
}
