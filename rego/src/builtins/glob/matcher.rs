//! The matchers of gobwas. Lengths are counted in characters by some and in bytes by others, and used as the other; texts
//! are bytes, since they may be cut within a character.
use crate::builtins::BuiltinError;
use crate::builtins::meter::Meter;

/// A matcher. Each matches a text as a whole, or is looked for in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Matcher {
    Nothing,
    /// A run without separators.
    Any(Vec<u32>),
    /// Any run.
    Super,
    /// One character that is no separator.
    Single(Vec<u32>),
    List {
        characters: Vec<u32>,
        not: bool,
    },
    Range {
        low: u32,
        high: u32,
        not: bool,
    },
    Text {
        bytes: Vec<u8>,
        runes: usize,
    },
    /// At least so many characters.
    Min(usize),
    /// At most so many characters.
    Max(usize),
    Contains {
        needle: Vec<u8>,
        not: bool,
    },
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    PrefixSuffix {
        prefix: Vec<u8>,
        suffix: Vec<u8>,
    },
    PrefixAny {
        prefix: Vec<u8>,
        separators: Vec<u32>,
    },
    SuffixAny {
        suffix: Vec<u8>,
        separators: Vec<u32>,
    },
    Row {
        matchers: Vec<Matcher>,
        runes: usize,
    },
    AnyOf(Vec<Matcher>),
    EveryOf(Vec<Matcher>),
    Tree(Box<Tree>),
}

/// A matcher with what is left and right of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) value: Matcher,
    pub(super) left: Option<Matcher>,
    pub(super) right: Option<Matcher>,
    /// The lengths as they were when the tree was made, before its sides were optimised.
    pub(super) left_runes: Option<usize>,
    pub(super) right_runes: Option<usize>,
    pub(super) runes: Option<usize>,
}

impl Tree {
    pub(super) fn new(value: Matcher, left: Option<Matcher>, right: Option<Matcher>) -> Self {
        let side = |side: &Option<Matcher>| side.as_ref().map_or(Some(0), Matcher::len);
        let (left_runes, right_runes) = (side(&left), side(&right));
        let sum = |all: usize, length: Option<usize>| length.map(|length| all.saturating_add(length));
        let runes = value.len().and_then(|all| sum(all, left_runes)).and_then(|all| sum(all, right_runes));
        Self { value, left, right, left_runes, right_runes, runes }
    }
}

type Matched = Result<bool, BuiltinError>;
/// Where a matcher fits first, and the lengths that it may have there.
type Found = Result<Option<(usize, Vec<usize>)>, BuiltinError>;

/// Where OPA reads beyond the end of a text and dies.
fn beyond() -> BuiltinError {
    BuiltinError::Budget("a glob reads beyond the end of its subject".to_owned())
}

/// The first character of bytes, and how many it takes: a byte that begins none counts as U+FFFD.
fn decoded(bytes: &[u8]) -> (u32, usize) {
    for width in 1..=4 {
        let Some(first) = bytes.get(..width) else { break };
        if let Some(character) = std::str::from_utf8(first).ok().and_then(|text| text.chars().next()) {
            return (u32::from(character), width);
        }
    }
    (u32::from(char::REPLACEMENT_CHARACTER), usize::from(!bytes.is_empty()))
}

/// How many bytes a character has when it is written.
fn written(rune: u32) -> usize {
    char::from_u32(rune).map_or(3, char::len_utf8)
}

/// The characters of bytes, each with where it begins.
fn runes(bytes: &[u8]) -> impl Iterator<Item = (usize, u32)> {
    let mut at = 0usize;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let (rune, width) = decoded(rest);
        let begin = at;
        at = at.saturating_add(width);
        Some((begin, rune))
    })
}

/// Where each character begins, and where the last one ends, counted from an offset.
fn begins(bytes: &[u8], offset: usize) -> Vec<usize> {
    runes(bytes).map(|(at, _)| at).chain([bytes.len()]).map(|at| at.saturating_add(offset)).collect()
}

/// The offset, and where each character ends if it is written again.
fn ends(bytes: &[u8], offset: usize) -> Vec<usize> {
    let after = runes(bytes).map(|(at, rune)| at.saturating_add(written(rune)).saturating_add(offset));
    [offset].into_iter().chain(after).collect()
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn rfind(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len().max(1)).rposition(|window| window == needle)
}

fn find_rune(bytes: &[u8], rune: u32) -> Option<usize> {
    runes(bytes).find(|(_, have)| *have == rune).map(|(at, _)| at)
}

/// Where a separator is: the first one of the list that is there at all, not the one that comes first.
fn find_any(bytes: &[u8], separators: &[u32]) -> Option<usize> {
    separators.iter().find_map(|separator| find_rune(bytes, *separator))
}

/// Where a separator is last. Of those beyond ASCII it is the first place, and the search itself may die.
fn rfind_any(bytes: &[u8], separators: &[u32]) -> Result<Option<usize>, BuiltinError> {
    for separator in separators {
        let mut found = None;
        if let Ok(byte) =
            u8::try_from(*separator).map_err(drop).and_then(|b| if b < 0x80 { Ok(b) } else { Err(()) })
        {
            found = bytes.iter().rposition(|have| *have == byte);
        } else {
            let mut rest = bytes.len();
            while rest > 0 {
                let Some(at) = find_rune(bytes, *separator) else { break };
                found = Some(at);
                rest = rest.checked_sub(at.saturating_add(1)).ok_or_else(beyond)?;
            }
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The first lengths, in their order, and the others merged into them, as if both were sorted.
fn merged(target: &[usize], other: &[usize]) -> Vec<usize> {
    let (mut target, mut other) = (target.iter().peekable(), other.iter().peekable());
    let mut out = Vec::new();
    loop {
        match (target.peek(), other.peek()) {
            (Some(a), Some(b)) => {
                let (a, b) = (**a, **b);
                if a <= b {
                    target.next();
                }
                if b <= a {
                    other.next();
                }
                out.push(a.min(b));
            }
            _ => {
                out.extend(target.chain(other));
                return out;
            }
        }
    }
}

impl Matcher {
    pub(super) fn text(text: &[u8]) -> Self {
        Self::Text { bytes: text.to_vec(), runes: runes(text).count() }
    }

    /// The number of characters, if it is known. Of alternatives the first is not asked if it does not know.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Nothing => Some(0),
            Self::Single(_) | Self::List { .. } | Self::Range { .. } => Some(1),
            Self::Text { runes, .. } | Self::Row { runes, .. } => Some(*runes),
            Self::AnyOf(matchers) => {
                let mut length = None;
                for matcher in matchers {
                    match (length, matcher.len()) {
                        (None, own) => length = own,
                        (Some(length), Some(own)) if length == own => {}
                        _ => return None,
                    }
                }
                length
            }
            Self::Tree(tree) => tree.runes,
            _ => None,
        }
    }

    /// How deep the tree of matchers is.
    pub(super) fn depth(&self) -> usize {
        let most = |matchers: &[Self]| matchers.iter().map(Self::depth).max().unwrap_or(0);
        let below = match self {
            Self::Row { matchers, .. } | Self::AnyOf(matchers) | Self::EveryOf(matchers) => most(matchers),
            Self::Tree(tree) => {
                let side = |side: &Option<Self>| side.as_ref().map_or(0, Self::depth);
                tree.value.depth().max(side(&tree.left)).max(side(&tree.right))
            }
            _ => 0,
        };
        below.saturating_add(1)
    }

    /// About how much it costs to look at one byte.
    fn cost(&self) -> usize {
        match self {
            Self::Any(separators) | Self::Single(separators) => separators.len().saturating_mul(2),
            Self::List { characters, .. } => characters.len() >> 1,
            Self::PrefixAny { separators, .. } | Self::SuffixAny { separators, .. } => {
                separators.len().saturating_mul(2)
            }
            Self::Contains { needle, .. } => needle.len() >> 4,
            Self::Text { bytes, .. } | Self::Prefix(bytes) | Self::Suffix(bytes) => bytes.len() >> 4,
            Self::PrefixSuffix { prefix, suffix } => prefix.len().saturating_add(suffix.len()) >> 4,
            _ => 0,
        }
        .saturating_add(1)
    }

    /// Whether it matches the whole text.
    pub(super) fn matches(&self, text: &[u8], meter: &mut Meter<'_>) -> Matched {
        let one = || {
            let (rune, width) = decoded(text);
            (text.len() <= width).then_some(rune)
        };
        if !matches!(self, Self::Text { .. } | Self::Super | Self::Nothing) {
            meter.spend(text.len().saturating_add(1).saturating_mul(self.cost()))?;
        } else {
            meter.spend(1)?;
        }
        Ok(match self {
            Self::Nothing => text.is_empty(),
            Self::Super => true,
            Self::Any(separators) => find_any(text, separators).is_none(),
            Self::Single(separators) => one().is_some_and(|rune| !separators.contains(&rune)),
            Self::List { characters, not } => one().is_some_and(|rune| characters.contains(&rune) != *not),
            Self::Range { low, high, not } => {
                one().is_some_and(|rune| (*low..=*high).contains(&rune) != *not)
            }
            Self::Text { bytes, .. } => bytes == text,
            Self::Min(least) => runes(text).take(*least).count() >= *least && !text.is_empty(),
            Self::Max(most) => runes(text).take(most.saturating_add(1)).count() <= *most,
            Self::Contains { needle, not } => find(text, needle).is_some() != *not,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::PrefixSuffix { prefix, suffix } => text.starts_with(prefix) && text.ends_with(suffix),
            Self::PrefixAny { prefix, separators } => {
                text.strip_prefix(prefix.as_slice()).is_some_and(|rest| find_any(rest, separators).is_none())
            }
            Self::SuffixAny { suffix, separators } => {
                text.strip_suffix(suffix.as_slice()).is_some_and(|rest| find_any(rest, separators).is_none())
            }
            Self::Row { matchers, runes: many } => {
                runes(text).take(many.saturating_add(1)).count() == *many
                    && row_matches(matchers, text, meter)?
            }
            Self::AnyOf(matchers) => {
                for matcher in matchers {
                    if matcher.matches(text, meter)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::EveryOf(matchers) => {
                for matcher in matchers {
                    if !matcher.matches(text, meter)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Tree(tree) => return tree.matches(text, meter),
        })
    }

    /// Looks for the first place in a text where it fits, or is said to.
    fn index(&self, text: &[u8], meter: &mut Meter<'_>) -> Found {
        // Lengths are written down for each character.
        meter.spend(text.len().saturating_add(1).saturating_mul(self.cost().saturating_add(2)))?;
        let first = |fits: &dyn Fn(u32) -> bool| {
            runes(text).find(|(_, rune)| fits(*rune)).map(|(at, rune)| (at, vec![written(rune)]))
        };
        Ok(match self {
            Self::Nothing => Some((0, vec![0])),
            Self::Super => Some((0, begins(text, 0))),
            Self::Any(separators) => match find_any(text, separators) {
                Some(0) => Some((0, vec![0])),
                Some(at) => Some((0, begins(text.get(..at).unwrap_or_default(), 0))),
                None => Some((0, begins(text, 0))),
            },
            Self::Single(separators) => first(&|rune| !separators.contains(&rune)),
            Self::List { characters, not } => first(&|rune| characters.contains(&rune) != *not),
            Self::Range { low, high, not } => first(&|rune| (*low..=*high).contains(&rune) != *not),
            Self::Text { bytes, .. } => find(text, bytes).map(|at| (at, vec![bytes.len()])),
            Self::Min(least) => {
                let found: Vec<usize> = ends(text, 0).into_iter().skip((*least).max(1)).collect();
                // A text of fewer bytes than the least is not looked at, and one of fewer characters has no lengths.
                if text.len() < *least || found.is_empty() { None } else { Some((0, found)) }
            }
            Self::Max(most) => Some((0, ends(text, 0).into_iter().take(most.saturating_add(1)).collect())),
            Self::Contains { needle, not: false } => find(text, needle).map(|at| {
                let offset = at.saturating_add(needle.len());
                (0, begins(text.get(offset..).unwrap_or_default(), offset))
            }),
            Self::Contains { needle, not: true } => {
                let end = find(text, needle).unwrap_or(text.len());
                Some((0, begins(text.get(..end).unwrap_or_default(), 0)))
            }
            Self::Prefix(prefix) => find(text, prefix).map(|at| {
                let offset = prefix.len();
                (at, ends(text.get(at.saturating_add(offset)..).unwrap_or_default(), offset))
            }),
            Self::PrefixAny { prefix, separators } => find(text, prefix).map(|at| {
                let rest = text.get(at.saturating_add(prefix.len())..).unwrap_or_default();
                let end = find_any(rest, separators).unwrap_or(rest.len());
                (at, ends(rest.get(..end).unwrap_or_default(), prefix.len()))
            }),
            Self::Suffix(suffix) => find(text, suffix).map(|at| (0, vec![at.saturating_add(suffix.len())])),
            Self::SuffixAny { suffix, separators } => match find(text, suffix) {
                Some(at) => {
                    let before = text.get(..at).unwrap_or_default();
                    let begin = rfind_any(before, separators)?.map_or(0, |at| at.saturating_add(1));
                    Some((begin, vec![at.saturating_add(suffix.len()).saturating_sub(begin)]))
                }
                None => None,
            },
            Self::PrefixSuffix { prefix, suffix } => prefix_suffix_index(prefix, suffix, text),
            Self::Row { matchers, runes: many } => {
                for (at, _) in runes(text) {
                    let rest = text.get(at..).unwrap_or_default();
                    if rest.len() < *many {
                        break;
                    }
                    if row_matches(matchers, rest, meter)? {
                        return Ok(Some((at, vec![*many])));
                    }
                }
                None
            }
            Self::AnyOf(matchers) => any_index(matchers, text, meter)?,
            Self::EveryOf(matchers) => every_index(matchers, text, meter)?,
            // Never looked for: it would always be missed.
            Self::Tree(_) => None,
        })
    }
}

fn prefix_suffix_index(prefix: &[u8], suffix: &[u8], text: &[u8]) -> Option<(usize, Vec<usize>)> {
    let at = find(text, prefix)?;
    let mut rest = text.get(at..)?;
    let mut lengths = Vec::new();
    while let Some(place) = rfind(rest, suffix) {
        lengths.push(place.saturating_add(suffix.len()));
        rest = rest.get(..place)?;
    }
    lengths.reverse();
    if lengths.is_empty() { None } else { Some((at, lengths)) }
}

/// Whether the text begins with matchers of known lengths. Each gets the bytes up to the first one of its last character.
fn row_matches(matchers: &[Matcher], text: &[u8], meter: &mut Meter<'_>) -> Matched {
    let mut at = 0usize;
    for matcher in matchers {
        let length = matcher.len().unwrap_or(0);
        let rest = text.get(at..).unwrap_or_default();
        let (mut last, mut seen) = (0usize, 0usize);
        for (begin, _) in runes(rest) {
            meter.spend(1)?;
            last = begin;
            seen = seen.saturating_add(1);
            if seen == length {
                break;
            }
        }
        if seen < length {
            return Ok(false);
        }
        let end = at.saturating_add(last).saturating_add(1);
        if !matcher.matches(text.get(at..end).ok_or_else(beyond)?, meter)? {
            return Ok(false);
        }
        at = end;
    }
    Ok(true)
}

/// The leftmost of several, with all its lengths.
fn any_index(matchers: &[Matcher], text: &[u8], meter: &mut Meter<'_>) -> Found {
    let mut best: Option<(usize, Vec<usize>)> = None;
    for matcher in matchers {
        let Some((at, lengths)) = matcher.index(text, meter)? else { continue };
        best = match best {
            Some((have, known)) if have == at => {
                meter.spend(known.len().saturating_add(lengths.len()))?;
                Some((have, merged(&known, &lengths)))
            }
            Some(best) if best.0 < at => Some(best),
            _ => Some((at, lengths)),
        };
    }
    Ok(best)
}

/// The place of the last one, with the lengths that all have, moved by how far apart they are.
fn every_index(matchers: &[Matcher], text: &[u8], meter: &mut Meter<'_>) -> Found {
    let (mut index, mut offset) = (0usize, 0usize);
    let mut current: Option<Vec<usize>> = None;
    for matcher in matchers {
        let rest = text.get(index..).unwrap_or_default();
        let Some((at, lengths)) = matcher.index(rest, meter)? else { return Ok(None) };
        let place = at.saturating_add(offset);
        current = Some(match current {
            None => lengths,
            Some(known) => {
                let moved = shared(&known, &lengths, index, place, meter)?;
                if moved.is_empty() {
                    return Ok(None);
                }
                moved
            }
        });
        index = place;
        offset = place;
    }
    Ok(Some((index, current.unwrap_or_default())))
}

/// The lengths that both have, the known ones counted from another place.
fn shared(
    known: &[usize],
    lengths: &[usize],
    from: usize,
    to: usize,
    meter: &mut Meter<'_>,
) -> Result<Vec<usize>, BuiltinError> {
    let sorted = lengths.is_sorted_by(|a, b| a < b);
    let mut out = Vec::new();
    for length in known {
        let Some(moved) = length.saturating_add(from).checked_sub(to) else { continue };
        if sorted {
            meter.spend(4)?;
            out.extend(lengths.binary_search(&moved).is_ok().then_some(moved));
        } else {
            meter.spend(lengths.len())?;
            out.extend(lengths.iter().filter(|have| **have == moved));
        }
    }
    Ok(out)
}

impl Tree {
    /// Looks for the value, and tries the left and right side around each place and length of it.
    fn matches(&self, text: &[u8], meter: &mut Meter<'_>) -> Matched {
        let all = text.len();
        if self.runes.is_some_and(|runes| runes > all) {
            return Ok(false);
        }
        let side = |side: &Option<Matcher>, text: &[u8], meter: &mut Meter<'_>| match side {
            Some(matcher) => matcher.matches(text, meter),
            None => Ok(text.is_empty()),
        };
        // The lengths of the sides are of characters, but bytes are cut by them.
        let mut offset = self.left_runes.unwrap_or(0);
        let limit = all.saturating_sub(self.right_runes.unwrap_or(0));
        while offset < limit {
            let within = text.get(offset..limit).unwrap_or_default();
            let Some((index, lengths)) = self.value.index(within, meter)? else { return Ok(false) };
            let place = offset.saturating_add(index);
            if side(&self.left, text.get(..place).unwrap_or_default(), meter)? {
                for length in lengths.iter().rev() {
                    let rest = text.get(place.saturating_add(*length)..).unwrap_or_default();
                    if side(&self.right, rest, meter)? {
                        return Ok(true);
                    }
                }
            }
            let (_, step) = decoded(text.get(place..).unwrap_or_default());
            offset = place.saturating_add(step);
        }
        Ok(false)
    }
}
