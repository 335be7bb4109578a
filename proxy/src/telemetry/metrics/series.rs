//! Counters by reason code, and how a family of series is written.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// What a code that the set does not know is counted under.
pub(super) const OTHER: &str = "other";

/// The reason codes that can be counted, sorted. A code is found by binary search: no hashing, no lock.
#[derive(Debug)]
pub struct ReasonSet(Box<[&'static str]>);

/// One counter a reason code, and one for codes that are not in the set.
#[derive(Debug)]
pub struct ReasonCounters {
    known: Box<[AtomicU64]>,
    other: AtomicU64,
}

impl ReasonSet {
    /// The set of these codes; repetitions count once.
    #[must_use]
    pub fn new(codes: &[&'static str]) -> Self {
        let mut codes = codes.to_vec();
        codes.sort_unstable();
        codes.dedup();
        Self(codes.into())
    }

    fn iter(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().copied()
    }
}

impl ReasonCounters {
    /// All counters at zero.
    #[must_use]
    pub fn new(reasons: &ReasonSet) -> Self {
        let known = reasons.iter().map(|_| AtomicU64::new(0)).collect();
        Self { known, other: AtomicU64::new(0) }
    }

    /// Counts `code`; `reasons` is the set the counters were made for.
    pub fn count(&self, reasons: &ReasonSet, code: &str) {
        let found = reasons.0.binary_search(&code).ok().and_then(|at| self.known.get(at));
        found.unwrap_or(&self.other).fetch_add(1, Ordering::Relaxed);
    }

    /// The codes that were counted at least once, with their counts. Most codes never are, and a series for
    /// each of them in every listener would be noise.
    pub(super) fn counted<'a>(
        &'a self,
        reasons: &'a ReasonSet,
    ) -> impl Iterator<Item = (&'static str, u64)> + 'a {
        self.expected_or_counted(reasons, |_| false)
    }

    /// The codes for which `expected` holds, at whatever count, and all others that were counted. A series
    /// that appears with its first count hides that count from `rate()`.
    pub(super) fn expected_or_counted<'a>(
        &'a self,
        reasons: &'a ReasonSet,
        expected: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = (&'static str, u64)> + 'a {
        let known = reasons.iter().zip(&self.known);
        let all = known.chain([(OTHER, &self.other)]);
        let all = all.map(|(code, count)| (code, count.load(Ordering::Relaxed)));
        all.filter(move |(code, count)| *count > 0 || expected(code))
    }
}

/// The head of a family: its name without unit and suffix, and what it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
}

impl Family {
    /// With the full stop that the library gives to the families it registers itself.
    fn sentence(self) -> String {
        format!("{}.", self.help)
    }

    /// Writes a family of counters.
    pub(super) fn counters<L: EncodeLabelSet>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        rows: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, &self.sentence(), None, MetricType::Counter)?;
        for (labels, count) in rows {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        Ok(())
    }

    /// Writes a family of gauges.
    pub(super) fn gauges<L: EncodeLabelSet>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        rows: impl Iterator<Item = (L, i64)>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, &self.sentence(), None, MetricType::Gauge)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Writes a family of histograms in seconds.
    pub(super) fn seconds<'a, L: EncodeLabelSet>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        rows: impl Iterator<Item = (L, &'a super::DurationHistogram)>,
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut family: MetricEncoder<'_> =
            encoder.encode_descriptor(self.name, &self.sentence(), unit, MetricType::Histogram)?;
        for (labels, histogram) in rows {
            histogram.encode(&mut family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
