//! `postern policy replay`: decides recorded decisions again.
use super::ask::word;
use super::asked::Asked;
use super::recorded::{Line, Part, Recorded};
use super::shown::shown;
use crate::{Pdp, Scratch, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most records whose difference is told one by one.
const TOLD_MAX: usize = 1000;

/// A record that is decided differently.
#[derive(Clone, Debug)]
pub struct Differs {
    record: Box<Recorded>,
    verdict: Verdict,
}

/// Decides records again, one after the other.
#[derive(Debug)]
pub struct Replay<'p> {
    pdp: &'p Pdp,
    scratch: Scratch,
    report: ReplayReport,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct ReplayReport {
    /// Decisions that came out as recorded.
    pub same: u64,
    /// Decisions that did not.
    pub differing: u64,
    /// The first of those.
    pub told: Vec<Differs>,
    /// Decisions that cannot be asked again, because the policy reads what no record holds.
    pub not_replayable: u64,
    /// How many lacked what.
    pub lacking: BTreeMap<&'static str, u64>,
    /// Decisions that a timer ended, then or now: they are not compared.
    pub timers: u64,
    /// Demands that the sidecar, not the policy, could not meet.
    pub sidecars: u64,
    /// Exchanges that ended before policy was asked.
    pub not_asked: u64,
    /// Lines that are no records, with the first of them and what is wrong.
    pub unreadable: u64,
    first_unreadable: Option<(u64, String)>,
    lines: u64,
}

impl<'p> Replay<'p> {
    /// Begins.
    pub fn new(pdp: &'p Pdp) -> Self {
        Self { pdp, scratch: Scratch::default(), report: ReplayReport::default() }
    }

    /// Takes a line of a log.
    pub fn take(&mut self, line: &[u8]) {
        let report = &mut self.report;
        report.lines = report.lines.saturating_add(1);
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match Line::read(line) {
            Ok(Line::Decision(record)) => self.decision(record),
            Ok(Line::NotAsked) => add(&mut report.not_asked),
            Ok(Line::Other) => {}
            Err(what) => {
                add(&mut report.unreadable);
                let number = report.lines;
                report.first_unreadable.get_or_insert((number, what));
            }
        }
    }

    /// Ends.
    pub fn report(self) -> ReplayReport {
        self.report
    }

    fn decision(&mut self, record: Box<Recorded>) {
        let report = &mut self.report;
        if record.reason == "policy.timeout" {
            return add(&mut report.timers);
        }
        let unheld = record.unheld(self.pdp);
        if !unheld.is_empty() {
            unheld.iter().for_each(|part| add(report.lacking.entry(part.name()).or_default()));
            return add(&mut report.not_replayable);
        }
        let verdict = record.asked.verdict(self.pdp, &mut self.scratch);
        if verdict.code == "policy.timeout" {
            return add(&mut report.timers);
        }
        if record.reason == "policy.obligation" && verdict.code != "policy.obligation" {
            return add(&mut report.sidecars);
        }
        if differences(&record, &verdict).is_empty() {
            return add(&mut report.same);
        }
        add(&mut report.differing);
        if report.told.len() < TOLD_MAX {
            report.told.push(Differs { record, verdict });
        }
    }
}

fn add(count: &mut u64) {
    *count = count.saturating_add(1);
}

/// What differs: `decision`, `reason`, `rules`.
fn differences(record: &Recorded, verdict: &Verdict) -> Vec<&'static str> {
    let rules: Vec<&str> = verdict.reasons.iter().map(|id| id.as_str()).collect();
    let same_rules = record.rules.as_ref().is_none_or(|recorded| *recorded == rules);
    let found = [
        ("decision", record.decision != word(verdict.decision)),
        ("reason", record.reason != verdict.code),
        ("rules", !same_rules),
    ];
    found.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

impl ReplayReport {
    /// Why this says nothing about the policy, where no decision was compared.
    pub fn says_nothing(&self) -> Option<&'static str> {
        match (self.same, self.differing) {
            (0, 0) if self.not_replayable > 0 => Some(
                "no decision was compared: the policy reads what no record holds; compare policies by `policy diff`",
            ),
            (0, 0) if self.unreadable > 0 => Some(
                "no decision was compared: take the lines that `postern audit inspect --json` prints, or `--log`",
            ),
            (0, 0) => Some("no decision was compared: there is none of a policy among the records"),
            _ => None,
        }
    }

    /// For people.
    pub fn plain(&self) -> String {
        let mut out = String::new();
        for Differs { record, verdict } in &self.told {
            let rules = record.rules.as_ref().map_or("…".to_owned(), |rules| rules.join(", "));
            let now: Vec<&str> = verdict.reasons.iter().map(|id| id.as_str()).collect();
            // A line of a file is whoever's who wrote the file, in every member.
            let mut line = |text: String| out.extend([shown(&text), "\n".to_owned()]);
            line(format!("{}  {}  {}", record.ts, record.id, record.asked.line()));
            line(format!("  then: {} {} [{rules}]", record.decision, record.reason));
            line(format!("  now:  {} {} [{}]", word(verdict.decision), verdict.code, now.join(", ")));
            verdict.message.iter().chain(&verdict.errors).for_each(|more| line(format!("        {more}")));
        }
        let told = u64::try_from(self.told.len()).unwrap_or(u64::MAX);
        if self.differing > told {
            out.push_str(&format!("… and {} more\n", self.differing.saturating_sub(told)));
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{} differ, {} as recorded\n", self.differing, self.same));
        if self.not_replayable > 0 {
            let lacking: Vec<String> =
                self.lacking.iter().map(|(name, count)| format!("{name}: {count}")).collect();
            out.push_str(&format!(
                "{} cannot be asked again: the policy reads what their records do not hold ({})\n",
                self.not_replayable,
                lacking.join(", ")
            ));
        }
        let others = [
            (self.timers, "ended by a timer (policy.timeout): not compared"),
            (
                self.sidecars,
                "refused by the sidecar for a demand that it could not meet (policy.obligation): not compared",
            ),
            (self.not_asked, "ended before policy was asked"),
        ];
        for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
            out.push_str(&format!("{count} {what}\n"));
        }
        if let Some((line, what)) = &self.first_unreadable {
            out.push_str(&format!(
                "{} lines are no records; the first is line {line}: {}\n",
                self.unreadable,
                shown(what)
            ));
        }
        out
    }

    /// One JSON document.
    pub fn json(&self) -> Value {
        let told: Vec<Value> = self.told.iter().map(differs_json).collect();
        json!({
            "same": self.same,
            "differing": self.differing,
            "not_replayable": self.not_replayable,
            "lacking": self.lacking,
            "timers": self.timers,
            "obligations_of_the_sidecar": self.sidecars,
            "not_asked": self.not_asked,
            "unreadable": self.unreadable,
            "differences": told,
        })
    }
}

fn differs_json(Differs { record, verdict }: &Differs) -> Value {
    let now: Vec<&str> = verdict.reasons.iter().map(|id| id.as_str()).collect();
    json!({
        "id": record.id,
        "ts": record.ts,
        "request": record.asked.line(),
        "bundle_rev": record.revision,
        "differs": differences(record, verdict),
        "then": {"decision": record.decision, "reason": record.reason, "rules": record.rules},
        "now": {
            "decision": word(verdict.decision),
            "reason": verdict.code,
            "rules": now,
            "message": verdict.message,
            "errors": verdict.errors,
        },
    })
}

/// A decision record as a question for a policy, or what the record lacks for it.
pub(super) fn question(record: &Recorded, pdps: &[&Pdp]) -> Result<Asked, Vec<Part>> {
    let mut lacking: Vec<Part> = pdps.iter().flat_map(|pdp| record.unheld(pdp)).collect();
    lacking.sort_unstable();
    lacking.dedup();
    if lacking.is_empty() { Ok(record.asked.clone()) } else { Err(lacking) }
}
