//! Which endpoint an attempt goes to.
//!
//! Left out are those that active checks found ill ([`super::health`]), those that were ejected ([`super::outlier`]), and
//! those that this exchange has tried already; one that comes back gets a growing part of its share, and all of it where
//! nobody else is left. Where nobody at all is left all are asked: an answer that may fail is better than none, and a
//! metric counts it.
use super::endpoint::{Endpoint, Load};
use super::outlier::Place;
use super::ring::{POINTS, Ring};
use super::share::{Share, Shares};
use crate::config::BalanceConfig;
use crate::worker::Random;
use postern_audit::EndpointAddress;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How one upstream's endpoints are chosen: of those that are left, the ones that come first, by their weights.
#[derive(Debug)]
pub struct Balancer {
    rule: Rule,
    endpoints: Vec<Arc<Endpoint>>,
    shares: Shares,
    panics: AtomicU64,
}

#[derive(Debug)]
enum Rule {
    /// Of two drawn by lot, the one that is expected to cost less.
    PeakEwma,
    /// Of two drawn by lot, the one that has less in hand.
    LeastRequest,
    RoundRobin(AtomicUsize),
    Random,
    /// By a key; none has more than a quarter over its share in hand.
    RingHash(Ring),
}

/// Who asks, and when.
#[derive(Debug)]
pub(crate) struct Question<'r> {
    pub(crate) now_ns: u64,
    pub(crate) random: &'r mut Random,
    /// The place of the request's key; `None` where it has none or none is asked for.
    pub(crate) key: Option<u64>,
    /// The endpoints that were tried already, by their numbers.
    pub(crate) tried: &'r [usize],
}

/// An endpoint that was chosen.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Its number.
    pub(crate) index: usize,
    /// What it has in hand with this.
    pub(crate) load: Load,
}

impl Chosen {
    /// The one endpoint that there was to choose, of which nothing is known.
    pub(crate) fn alone(address: EndpointAddress, now_ns: u64) -> Self {
        Self { index: 0, load: Load::on(&Endpoint::new(address), now_ns) }
    }
}

/// In this time an endpoint that comes back has all of its share again.
const RETURN_NS: u64 = 10_000_000_000;
/// It begins with this part of it.
const RETURN_FROM_NS: u64 = RETURN_NS / 10;

impl Balancer {
    /// Chooses among these endpoints, which get as much as their shares say; all alike where there are none.
    pub fn new(config: &BalanceConfig, endpoints: Vec<Arc<Endpoint>>, shares: Vec<Share>) -> Self {
        let shares = Shares::new(shares);
        let rule = match config {
            BalanceConfig::P2cEwma => Rule::PeakEwma,
            BalanceConfig::LeastRequest => Rule::LeastRequest,
            BalanceConfig::RoundRobin => Rule::RoundRobin(AtomicUsize::new(0)),
            BalanceConfig::Random => Rule::Random,
            BalanceConfig::RingHash(_) => {
                let points = |at| shares.part_of(POINTS, at);
                let endpoints = endpoints.iter().enumerate();
                Rule::RingHash(Ring::new(
                    endpoints.map(|(at, of): (_, &Arc<Endpoint>)| (&of.address, points(at))),
                ))
            }
        };
        Self { rule, endpoints, shares, panics: AtomicU64::new(0) }
    }

    /// Goes on where the balancer before this one stood.
    pub fn follow(&mut self, before: &Self) {
        self.panics = AtomicU64::new(before.panics());
        if let (Rule::RoundRobin(next), Rule::RoundRobin(before)) = (&self.rule, &before.rule) {
            next.store(before.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The endpoints.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The endpoint of this address, if it is one of them.
    pub fn endpoint(&self, address: &EndpointAddress) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().find(|endpoint| endpoint.address == *address)
    }

    /// How often nobody was left to choose, so that all were.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// The endpoint of the next attempt.
    pub(crate) fn choose(&self, mut question: Question<'_>) -> Option<Chosen> {
        let index = match self.endpoints.as_slice() {
            // Nothing is left out that could be asked all the same.
            [] => return None,
            [_] => 0,
            _ => {
                let candidates = self.candidates(&mut question);
                self.pick(&candidates, &mut question)?
            }
        };
        Some(Chosen { index, load: Load::on(self.endpoints.get(index)?, question.now_ns) })
    }

    fn candidates(&self, question: &mut Question<'_>) -> Vec<usize> {
        let all = || 0..self.endpoints.len();
        let mut usable: Vec<usize> = all().filter(|at| self.is_usable(*at, question)).collect();
        let untried = |all: &[usize]| -> Vec<usize> {
            all.iter().copied().filter(|at| !question.tried.contains(at)).collect()
        };
        let mut fresh = untried(&usable);
        // Who has just come back is better than nobody, and better than who has failed this exchange already.
        if fresh.is_empty() {
            let well: Vec<usize> = all().filter(|at| self.is_well(*at, question.now_ns)).collect();
            fresh = untried(&well);
            if usable.is_empty() {
                usable = well;
            }
        }
        if !fresh.is_empty() {
            return self.shares.first(fresh);
        }
        if !usable.is_empty() {
            return self.shares.first(usable);
        }
        // Who comes first is no better than anybody else now.
        self.panics.fetch_add(1, Ordering::Relaxed);
        let all: Vec<usize> = all().collect();
        let fresh = untried(&all);
        if fresh.is_empty() { all } else { fresh }
    }

    /// Whether nothing speaks against it, be it that it has just come back.
    fn is_well(&self, at: usize, now_ns: u64) -> bool {
        self.endpoints.get(at).is_some_and(|endpoint| {
            !endpoint.health.is_down() && !matches!(endpoint.standing.place(now_ns), Place::Out)
        })
    }

    fn is_usable(&self, at: usize, question: &mut Question<'_>) -> bool {
        let Some(endpoint) = self.endpoints.get(at).filter(|endpoint| !endpoint.health.is_down()) else {
            return false;
        };
        match endpoint.standing.place(question.now_ns) {
            Place::In | Place::OnTrial => true,
            Place::Out => false,
            Place::Returned { since_ns } if since_ns >= RETURN_NS => true,
            Place::Returned { since_ns } => {
                question.random.next_u64() % RETURN_NS < since_ns.saturating_add(RETURN_FROM_NS)
            }
        }
    }

    fn pick(&self, among: &[usize], question: &mut Question<'_>) -> Option<usize> {
        let now_ns = question.now_ns;
        match &self.rule {
            Rule::PeakEwma => {
                let least_ns = self.quickest_ns(among);
                self.better(among, question.random, |endpoint| endpoint.cost(now_ns, least_ns))
            }
            Rule::LeastRequest => self.better(among, question.random, |endpoint| {
                f64::from(u32::try_from(endpoint.outstanding()).unwrap_or(u32::MAX)) + 1.0
            }),
            Rule::RoundRobin(next) => {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if self.shares.has_weights() {
                    return self.shares.turn(among, turn);
                }
                among.get(turn.checked_rem(among.len())?).copied()
            }
            Rule::Random => self.lot(among, question.random),
            Rule::RingHash(ring) => {
                let key = question.key.unwrap_or_else(|| question.random.next_u64());
                let most = self.most_in_hand(among);
                let is_free =
                    |at: &usize| self.endpoints.get(*at).is_some_and(|e| e.outstanding() < most(*at));
                let home = ring.from(key).find(|at| among.contains(at) && is_free(at));
                home.or_else(|| self.lot(among, question.random))
            }
        }
    }

    /// What the quickest took last, where there are weights: nobody looks quicker than that for not having been asked. A small
    /// weight makes for long pauses, and would be the larger for them. Without weights nothing bounds what fades, so that
    /// whoever was slow is asked again one day.
    fn quickest_ns(&self, among: &[usize]) -> f64 {
        if !self.shares.has_weights() {
            return 0.0;
        }
        let last = among.iter().filter_map(|at| self.endpoints.get(*at)).map(|endpoint| endpoint.last_ns());
        last.fold(f64::MAX, f64::min)
    }

    /// Of two by lot the one that costs less: nearly as good as the best of all, and not everybody's choice at once. Where
    /// there are weights one by lot, since the better of two has more than its weight, or all where there are but two.
    fn better(&self, among: &[usize], random: &mut Random, cost: impl Fn(&Endpoint) -> f64) -> Option<usize> {
        if self.shares.has_weights() {
            return self
                .shares
                .draw(among, random, |at| self.endpoints.get(at).map_or(f64::MAX, |of| cost(of)));
        }
        let first = draw(among, random)?;
        let others: Vec<usize> = among.iter().copied().filter(|at| *at != first).collect();
        let Some(second) = draw(&others, random) else { return Some(first) };
        let (a, b) = (self.endpoints.get(first)?, self.endpoints.get(second)?);
        Some(if cost(b) < cost(a) { second } else { first })
    }

    fn lot(&self, among: &[usize], random: &mut Random) -> Option<usize> {
        if self.shares.has_weights() { self.shares.draw(among, random, |_| 1.0) } else { draw(among, random) }
    }

    /// A quarter more than each would have if all had their shares, the request that comes included.
    fn most_in_hand(&self, among: &[usize]) -> impl Fn(usize) -> usize {
        let in_hand = among.iter().filter_map(|at| self.endpoints.get(*at)).map(|e| e.outstanding());
        let all = in_hand.fold(1_usize, usize::saturating_add);
        let weight = |at: usize| usize::try_from(self.shares.weight(at)).unwrap_or(usize::MAX);
        let weights = among.iter().fold(0_usize, |sum, at| sum.saturating_add(weight(*at)));
        let whole = weights.saturating_mul(4).max(1);
        move |at| all.saturating_mul(5).saturating_mul(weight(at)).div_ceil(whole)
    }
}

fn draw(among: &[usize], random: &mut Random) -> Option<usize> {
    let count = u64::try_from(among.len()).ok()?;
    let at = random.next_u64().checked_rem(count)?;
    among.get(usize::try_from(at).ok()?).copied()
}

#[cfg(test)]
mod tests;
