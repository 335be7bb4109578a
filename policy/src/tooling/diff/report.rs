//! Differences, for people and for machines.
use super::{Change, Difference, Kind};
use crate::Verdict;
use crate::tooling::ask::word;
use crate::tooling::shown::{shown, shown_json};
use serde_json::{Value, json};

const CAVEAT: &str = "tested, not proved: what no request shows here may differ all the same";

impl Difference {
    /// How many requests changed in one way.
    pub fn count(&self, kind: Kind) -> usize {
        let told = self.changes.iter().filter(|change| change.kind == kind).map(|change| change.count);
        told.chain(self.untold.get(&kind).copied()).sum()
    }

    /// How many requests both policies decided.
    pub fn compared(&self) -> usize {
        self.asked.saturating_sub(self.timers)
    }

    /// For people.
    pub fn plain(&self) -> String {
        let mut out = String::new();
        for (kind, title) in [
            (Kind::Allowed, "newly allowed"),
            (Kind::Denied, "newly denied"),
            (Kind::Obligations, "other demands or grounds"),
        ] {
            let count = self.count(kind);
            if count == 0 {
                continue;
            }
            out.push_str(&format!("{title}: {count}\n"));
            self.changes
                .iter()
                .filter(|change| change.kind == kind)
                .for_each(|change| told(change, &mut out));
            if let Some(untold) = self.untold.get(&kind) {
                out.push_str(&format!("  … and {untold} in other ways\n"));
            }
            out.push('\n');
        }
        out.push_str(&format!(
            "{} newly allowed, {} newly denied, {} with other demands or grounds, of {} requests\n",
            self.count(Kind::Allowed),
            self.count(Kind::Denied),
            self.count(Kind::Obligations),
            self.asked
        ));
        out.push_str(&format!("requests: {}\n", shown(&self.requests)));
        if self.timers > 0 {
            out.push_str(&format!("{} ended by a timer (policy.timeout): not compared\n", self.timers));
        }
        if self.not_replayable > 0 {
            let count = self.not_replayable;
            out.push_str(&format!("{count} records lack what one of the policies reads: not compared\n"));
        }
        out.push_str(&format!("{CAVEAT}\n"));
        out
    }

    /// One JSON document.
    pub fn json(&self) -> Value {
        let of = |kind: Kind| -> Vec<Value> {
            self.changes.iter().filter(|change| change.kind == kind).map(change_json).collect()
        };
        json!({
            "asked": self.asked,
            "newly_allowed": {"count": self.count(Kind::Allowed), "changes": of(Kind::Allowed)},
            "newly_denied": {"count": self.count(Kind::Denied), "changes": of(Kind::Denied)},
            "changed_obligations": {"count": self.count(Kind::Obligations), "changes": of(Kind::Obligations)},
            "timers": self.timers,
            "not_replayable": self.not_replayable,
            "requests": self.requests,
            "proved": false,
        })
    }
}

fn told(change: &Change, out: &mut String) {
    let more = if change.count > 1 {
        format!("   (and {} like it)", change.count.saturating_sub(1))
    } else {
        String::new()
    };
    out.push_str(&format!("  {}{more}\n", shown(&change.shown.line())));
    for (name, verdict) in [("old", &change.old), ("new", &change.new)] {
        out.push_str(&format!(
            "    {name}: {} {} [{}]",
            word(verdict.decision),
            verdict.code,
            shown(&policies(verdict).join(", "))
        ));
        for more in verdict.message.iter().chain(&verdict.errors) {
            out.push_str(&format!(": {}", shown(more)));
        }
        out.push('\n');
        if change.kind == Kind::Obligations {
            demands(verdict).iter().for_each(|demand| out.push_str(&format!("         {}\n", shown(demand))));
        }
    }
    out.push_str(&format!("    request: {}\n", shown_json(&change.shown.words().to_string())));
}

fn policies(verdict: &Verdict) -> Vec<&str> {
    verdict.reasons.iter().map(|id| id.as_str()).collect()
}

fn demands(verdict: &Verdict) -> Vec<String> {
    let duties = &verdict.obligations;
    let named = |what: &str, fields: &[(String, String)]| -> Vec<String> {
        fields.iter().map(|(name, value)| format!("{what} `{name}: {value}`")).collect()
    };
    let mut all = named("set request header", &duties.request_headers_set);
    all.extend(duties.request_headers_remove.iter().map(|name| format!("remove request header `{name}`")));
    all.extend(named("set parameter", &duties.query_set));
    all.extend(duties.query_remove.iter().map(|name| format!("remove parameter `{name}`")));
    all.extend(named("add response header", &duties.response_headers_add));
    all.extend(duties.deny_status.map(|status| format!("answer with status {status}")));
    all.extend(duties.deny_body.iter().map(|body| format!("answer with `{body}`")));
    all.extend(named("answer with header", &duties.deny_headers));
    all.extend(verdict.metadata.iter().map(|metadata| format!("record {metadata}")));
    all
}

fn change_json(change: &Change) -> Value {
    let of = |verdict: &Verdict| {
        json!({
            "decision": word(verdict.decision),
            "reason": verdict.code,
            "policies": policies(verdict),
            "message": verdict.message,
            "errors": verdict.errors,
            "demands": demands(verdict),
        })
    };
    json!({
        "count": change.count,
        "request": change.shown.words(),
        "old": of(&change.old),
        "new": of(&change.new),
    })
}
