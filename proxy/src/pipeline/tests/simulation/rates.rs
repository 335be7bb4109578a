//! Some ask as fast as they can, others seldom, and all within their own limits.
use super::history::{Check, History, none, requested, text};
use super::{Habit, Story, broken, check, many_seeds, play, seeds};
use std::collections::BTreeMap;
use std::time::Duration;

const PER_SECOND: u64 = 10;
const BURST: usize = 5;
const LIMIT: &str = "requests: 10, per: 1s, burst: 5, keys: [{ header: x-tenant }]";
/// Who asks faster than it may.
const GREEDY: &str = "greedy";

const CHECKS: [Check; 3] = [
    ("no more are let through in any time than the limit allows", limited),
    ("who asks seldom enough is never refused", apart),
    ("what the limit allows can be had", allowed),
];

fn under(seed: u64, limit: &str) -> History {
    let mut story = Story::new(seed, 6);
    let greedy = Habit { pause_ms: (5, 40), one_post_of: 0, tenant: GREEDY };
    let modest = Habit { pause_ms: (150, 200), one_post_of: 4, ..greedy };
    story.callers = vec![greedy; 5];
    story.callers.extend(["a", "b", "c"].map(|tenant| Habit { tenant, ..modest }));
    story.route = format!(", rate_limits: [{{ name: tenants, {limit} }}]");
    let mut next = Duration::from_secs(1);
    play(&story, |stage| {
        // What was spent stays spent through a reload.
        if stage.at() >= next {
            next = stage.at() + Duration::from_millis(200 + stage.draw(1_500));
            stage.reload(&stage.story.all_endpoints());
        }
    })
}

/// When each tenant was let through, in microseconds.
fn let_through(history: &History) -> BTreeMap<&str, Vec<u64>> {
    let outcomes = history.outcomes();
    let tenants: BTreeMap<_, _> = history.answers.iter().map(|it| (it.id.as_str(), it.by.tenant)).collect();
    let mut all: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for decision in history.of_kind("decision") {
        let id = requested(decision);
        if text(outcomes[id], "reason") != "limit.rate" {
            all.entry(tenants[id]).or_default().push(decision["mono_us"].as_u64().unwrap());
        }
    }
    all.values_mut().for_each(|times| times.sort_unstable());
    all
}

fn limited(history: &History) -> Result<(), String> {
    let is_above = |times: &[u64]| {
        let pairs = (0..times.len()).flat_map(|from| (from..times.len()).map(move |to| (from, to)));
        let fit = |time_us: u64| BURST + usize::try_from(time_us * PER_SECOND / 1_000_000).unwrap();
        pairs.into_iter().any(|(from, to)| to - from + 1 > fit(times[to] - times[from]))
    };
    none(let_through(history).into_iter().filter(|(_, times)| is_above(times)))
}

fn apart(history: &History) -> Result<(), String> {
    let seldom = history.answers.iter().filter(|answered| answered.by.tenant != GREEDY);
    none(seldom.filter(|answered| answered.status != Some(200)))
}

/// Nine tenths of it, by who takes all that there is.
fn allowed(history: &History) -> Result<(), String> {
    let had = let_through(history)[GREEDY].len();
    let least = usize::try_from(PER_SECOND * history.calls_end.as_secs() * 9 / 10).unwrap();
    if had >= least && history.statuses(429) > 0 { Ok(()) } else { Err(format!("{had} of {least}")) }
}

#[test]
fn every_tenant_has_its_own_limit_under_load() {
    check(seeds(0..1), |seed| under(seed, LIMIT), &CHECKS);
}

#[test]
fn limits_that_are_too_wide_too_narrow_or_shared_are_seen() {
    let [limited, apart, allowed] = CHECKS.map(|(named, _)| named);
    let check = |from: &str, to: &str, seen: &[&str]| {
        assert!(LIMIT.contains(from));
        assert_eq!(broken(&under(0, &LIMIT.replace(from, to)), &CHECKS), seen, "{to}");
    };
    check("burst: 5", "burst: 20", &[limited]);
    check("requests: 10", "requests: 8", &[allowed]);
    check("keys: [{ header: x-tenant }]", "keys: []", &[apart]);
}

#[test]
#[ignore = "hundreds of stories; tier 2"]
fn every_tenant_has_its_own_limit_in_stories_by_the_hundred() {
    check(many_seeds(), |seed| under(seed, LIMIT), &CHECKS);
}
