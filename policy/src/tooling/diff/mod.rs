//! `postern policy diff`: what two policies decide differently, over recorded requests or over ones that are made of
//! what both say. Tested, not proved.
mod cedar;
mod combine;
mod hints;
mod rego;
mod report;
mod requests;
#[cfg(test)]
mod tests;

use super::asked::Asked;
use super::files::without_tests;
use super::recorded::{Line, Part};
use super::replay::question;
use super::suite::{SuiteError, bundle_of, limits};
use crate::{Decision, Entry, Pdp, PolicyBundle, Scratch, Verdict};
use hints::Hints;
use std::collections::{BTreeMap, BTreeSet};

/// One of two policies.
#[derive(Debug)]
pub struct Side {
    pdp: Pdp,
    bundle: PolicyBundle,
}

impl Side {
    /// Loads a policy: its files by their names, what decides, and what its folder is called.
    ///
    /// # Errors
    /// [`SuiteError`]: it is no bundle, or does not load.
    pub fn load(root: &str, files: &BTreeMap<String, Vec<u8>>, entry: &Entry) -> Result<Self, SuiteError> {
        let bundle = bundle_of(&without_tests(files))?;
        let pdp = Pdp::load(&[(root, bundle.clone())], entry, &limits())?;
        Ok(Self { pdp, bundle })
    }

    /// What decides.
    pub fn pdp(&self) -> &Pdp {
        &self.pdp
    }
}

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It was denied, and is allowed.
    Allowed,
    /// It was allowed, and is denied.
    Denied,
    /// It is allowed, or denied, as before, with other demands.
    Obligations,
}

/// Requests that are decided differently in the same way.
#[derive(Clone, Debug)]
pub struct Change {
    /// What kind.
    pub kind: Kind,
    /// One of the requests.
    pub shown: Asked,
    /// What the old policy says to it.
    pub old: Verdict,
    /// What the new policy says to it.
    pub new: Verdict,
    /// How many there are.
    pub count: usize,
}

/// What differs.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// The changes, at most so many of each kind: newly allowed first.
    pub changes: Vec<Change>,
    /// Requests that changed in ways that are not among these.
    pub untold: BTreeMap<Kind, usize>,
    /// How many requests were asked about.
    pub asked: usize,
    /// Those that a timer ended.
    pub timers: usize,
    /// Records of the log that lack what one of the policies reads.
    pub not_replayable: usize,
    /// Where the requests come from, in words.
    pub requests: String,
}

/// The most ways to change that are told of each kind.
const CHANGES_MAX: usize = 1000;

/// Compares two policies over requests that are made of what both say, and over these besides.
pub fn compared(old: &Side, new: &Side, besides: &[Asked]) -> Difference {
    let (of_old, of_new) = (rego::data(&old.bundle), rego::data(&new.bundle));
    let changed = rego::changes(&of_old, &of_new);
    let [of_old, of_new] = [(old, &of_old), (new, &of_new)].map(|(side, data)| {
        let mut hints = Hints::default();
        rego::gather(&side.bundle, &rego::Known { data, changed: &changed }, &mut hints);
        cedar::gather(&side.bundle, &mut hints);
        hints
    });
    let made = requests::made(&Hints::both(of_old, of_new, changed));
    let mut seen = BTreeSet::new();
    let mut all: Vec<Asked> =
        besides.iter().filter(|asked| seen.insert(asked.words().to_string())).cloned().collect();
    let cases =
        if all.is_empty() { String::new() } else { format!(", and {} cases of their tables", all.len()) };
    all.extend(made.asked.into_iter().filter(|asked| !seen.contains(&asked.words().to_string())));
    let unvaried: Vec<&str> = [Part::Tls, Part::Protocol, Part::WorkloadClaims]
        .into_iter()
        .filter(|part| part.is_read(&old.pdp) || part.is_read(&new.pdp))
        .map(Part::name)
        .collect();
    let unvaried = if unvaried.is_empty() {
        String::new()
    } else {
        format!("; the policies read {}, and no request differs in it", unvaried.join(", "))
    };
    over(old, new, &all, format!("made of what both policies say: {}{cases}{unvaried}", made.of))
}

/// Compares two policies over these requests.
pub fn over(old: &Side, new: &Side, all: &[Asked], requests: String) -> Difference {
    let mut difference = Difference { requests, ..Difference::default() };
    let (mut old_scratch, mut new_scratch) = (Scratch::default(), Scratch::default());
    let mut groups: BTreeMap<(Kind, String), usize> = BTreeMap::new();
    for asked in all {
        let before = asked.verdict(&old.pdp, &mut old_scratch);
        let after = asked.verdict(&new.pdp, &mut new_scratch);
        difference.asked = difference.asked.saturating_add(1);
        if [&before, &after].iter().any(|verdict| verdict.code == "policy.timeout") {
            difference.timers = difference.timers.saturating_add(1);
            continue;
        }
        let Some(kind) = kind(&before, &after) else { continue };
        let key = (kind, format!("{} {}", grounds(&before, kind), grounds(&after, kind)));
        if let Some(change) = groups.get(&key).and_then(|at| difference.changes.get_mut(*at)) {
            change.count = change.count.saturating_add(1);
        } else if difference.changes.iter().filter(|change| change.kind == kind).count() >= CHANGES_MAX {
            let untold = difference.untold.entry(kind).or_default();
            *untold = untold.saturating_add(1);
        } else {
            groups.insert(key, difference.changes.len());
            difference.changes.push(Change { kind, shown: asked.clone(), old: before, new: after, count: 1 });
        }
    }
    difference.changes.sort_by_key(|change| (change.kind, std::cmp::Reverse(change.count)));
    difference
}

fn kind(old: &Verdict, new: &Verdict) -> Option<Kind> {
    match (old.decision, new.decision) {
        (Decision::Deny, Decision::Allow) => Some(Kind::Allowed),
        (Decision::Allow, Decision::Deny) => Some(Kind::Denied),
        (Decision::Allow, Decision::Allow) | (Decision::Deny, Decision::Deny) => {
            let same =
                old.obligations == new.obligations && old.metadata == new.metadata && old.code == new.code;
            (!same).then_some(Kind::Obligations)
        }
    }
}

/// What requests of one group have in common.
fn grounds(verdict: &Verdict, kind: Kind) -> String {
    let demands =
        if kind == Kind::Obligations { format!("{:?}", verdict.obligations) } else { String::new() };
    format!("{} {:?} {demands}", verdict.code, verdict.reasons)
}

/// The requests of a file: a line each, in the words of a case, in the shape of `schema/query.json`, or as decision
/// records. Records that lack what one of the policies reads are counted.
///
/// # Errors
/// The first line that is none of these, and why.
pub fn requests_of(content: &[u8], old: &Side, new: &Side) -> Result<(Vec<Asked>, usize), String> {
    let mut all = Vec::new();
    let mut not_replayable: usize = 0;
    // Some editors begin a file with a mark of its encoding.
    let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
    let lines = content.split(|byte| *byte == b'\n').enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace)) {
        let failed = |what: String| format!("line {}: {what}", number.saturating_add(1));
        let is_record = serde_json::from_slice::<serde_json::Value>(line)
            .is_ok_and(|document| document.get("kind").is_some());
        if !is_record {
            all.push(Asked::read(line).map_err(failed)?);
            continue;
        }
        if let Line::Decision(record) = Line::read(line).map_err(failed)? {
            match question(&record, &[&old.pdp, &new.pdp]) {
                Ok(asked) => all.push(asked),
                Err(_) => not_replayable = not_replayable.saturating_add(1),
            }
        }
    }
    Ok((all, not_replayable))
}
