//! Combining values of several dimensions: all of them where that is few enough, else so that every two values of two
//! dimensions meet, and the first dimensions as fully as there is room for. The same sizes give the same rows.
use std::collections::BTreeSet;

/// The rows: for each dimension the number of a value.
pub(super) struct Combined {
    pub(super) rows: Vec<Vec<usize>>,
    /// Whether every combination is there.
    pub(super) complete: bool,
    /// Pairs of values that meet in no row, for want of room.
    pub(super) pairs_missing: usize,
}

/// Combines dimensions of these sizes into at most so many rows. The first few values of each dimension, as many as
/// `likely` says, are chosen as often as all others together where there is room for neither all.
pub(super) fn combine(sizes: &[usize], likely: &[usize], rows_max: usize) -> Combined {
    let product = |sizes: &[usize]| sizes.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
    let fits = |count: usize, room: usize| {
        product(sizes.get(..count).unwrap_or_default()).is_some_and(|all| all <= room)
    };
    if fits(sizes.len(), rows_max) {
        let rows = (0..product(sizes).unwrap_or(0)).map(|number| digits(number, sizes)).collect();
        return Combined { rows, complete: true, pairs_missing: 0 };
    }
    // Half of the room is for the first dimensions, the other for pairs that did not meet by then.
    let full = (0..=sizes.len()).rev().find(|count| fits(*count, rows_max / 2)).unwrap_or(0);
    let (prefix, others) = sizes.split_at(full.min(sizes.len()));
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for number in 0..product(prefix).unwrap_or(0) {
        let mut row = digits(number, prefix);
        let mut turn = number;
        for size in others {
            row.push(turn % (*size).max(1));
            // Another step for each, so that they do not go together.
            turn = turn / (*size).max(1) + number.wrapping_mul(7);
        }
        rows.push(row);
    }
    let mut missing = pairs(sizes);
    rows.iter().for_each(|row| meet(row, &mut missing));
    while rows.len() < rows_max
        && let Some((a, b)) = missing.first().copied()
    {
        let row = filled(a, b, sizes, &missing);
        meet(&row, &mut missing);
        rows.push(row);
    }
    // What room is left is for combinations of more than two: chosen by chance, and always the same.
    let mut chance: u64 = 0x5EED;
    while rows.len() < rows_max {
        let likely = likely.iter().copied().chain(std::iter::repeat(0));
        let row = sizes.iter().zip(likely).map(|(size, likely)| {
            let among = if likely > 0 && by_chance(&mut chance, 2) == 0 { likely } else { *size };
            by_chance(&mut chance, among)
        });
        let row = row.collect();
        rows.push(row);
    }
    Combined { rows, complete: false, pairs_missing: missing.len() }
}

/// A number below a size, by the generator of Knuth's MMIX.
fn by_chance(state: &mut u64, size: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).unwrap_or(0) % size.max(1)
}

/// A value of a dimension.
type Place = (usize, usize);

fn digits(number: usize, sizes: &[usize]) -> Vec<usize> {
    let mut left = number;
    let mut row: Vec<usize> = sizes
        .iter()
        .rev()
        .map(|size| {
            let digit = left % (*size).max(1);
            left /= (*size).max(1);
            digit
        })
        .collect();
    row.reverse();
    row
}

fn pairs(sizes: &[usize]) -> BTreeSet<(Place, Place)> {
    let mut all = BTreeSet::new();
    for (first, first_size) in sizes.iter().enumerate() {
        for (second, second_size) in sizes.iter().enumerate().skip(first.saturating_add(1)) {
            for a in 0..*first_size {
                all.extend((0..*second_size).map(|b| ((first, a), (second, b))));
            }
        }
    }
    all
}

fn meet(row: &[usize], missing: &mut BTreeSet<(Place, Place)>) {
    for (first, a) in row.iter().enumerate() {
        for (second, b) in row.iter().enumerate().skip(first.saturating_add(1)) {
            missing.remove(&((first, *a), (second, *b)));
        }
    }
}

/// A row with this pair; of each other dimension the value that meets the most of those chosen before for the first
/// time.
fn filled(a: Place, b: Place, sizes: &[usize], missing: &BTreeSet<(Place, Place)>) -> Vec<usize> {
    let mut chosen = vec![a, b];
    for (dimension, size) in
        sizes.iter().enumerate().filter(|(dimension, _)| *dimension != a.0 && *dimension != b.0)
    {
        let met = |value: usize| {
            let one = (dimension, value);
            chosen
                .iter()
                .filter(|other| {
                    missing.contains(&((*other).min(&one).to_owned(), (*other).max(&one).to_owned()))
                })
                .count()
        };
        // The last of several is as good as the first, so that not all rows begin alike.
        let best = (0..*size).max_by_key(|value| met(*value)).unwrap_or(0);
        chosen.push((dimension, best));
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|(_, value)| value).collect()
}
