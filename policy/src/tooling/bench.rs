//! Figures of a measurement.

/// What decisions took, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// How many were measured.
    pub samples: usize,
    /// Half took no longer.
    pub median_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// The fastest.
    pub min_ns: u64,
    /// The slowest.
    pub max_ns: u64,
}

/// The figures of some samples; `None` of none.
pub fn figures(mut samples: Vec<u64>) -> Option<Figures> {
    samples.sort_unstable();
    let last = samples.len().checked_sub(1)?;
    // The nearest rank: the smallest sample that is not exceeded by the given share.
    let at = |percent: usize| {
        let rank = samples.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
        samples.get(rank.min(last)).copied()
    };
    Some(Figures {
        samples: samples.len(),
        median_ns: at(50)?,
        p99_ns: at(99)?,
        min_ns: *samples.first()?,
        max_ns: *samples.last()?,
    })
}
