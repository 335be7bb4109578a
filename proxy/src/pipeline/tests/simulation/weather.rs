//! Endpoints fail, fall silent, break off, crash and are cut off for a while, and then no more.
use super::endpoints::Mood;
use super::history::{Check, History, Turn, none};
use super::{ROUTE_TIMEOUT, Stage, Story, broken, check, many_seeds, name, play, seeds};
use std::time::Duration;

/// Until when something goes wrong now and then.
const FAULTS_END: Duration = Duration::from_secs(8);
/// Retries that the budget allows; no share besides, which would bound how many there are at one time and not how many.
const PER_SECOND: u64 = 2;
const BUDGET: &str = "percent: 0, per_second: 2";

const CHECKS: [Check; 3] = [
    ("retries stay within their budget", within_budget),
    ("all is well again after the faults have ended", recovered),
    ("there were faults", had_faults),
];

fn within(seed: u64, budget: &str, methods: &str) -> History {
    let mut story = Story::new(seed, 16);
    story.upstream = format!(", retry_budget: {{ {budget} }}");
    story.route = format!(
        ", retry: {{ attempts_max: 3, on: [connect_failure, reset, gateway_error, timeout], per_try_timeout: 500ms, methods: [{methods}] }}"
    );
    let mut next_fault = Duration::from_millis(500);
    play(&story, |stage| {
        if next_fault >= FAULTS_END || stage.at() < next_fault.min(FAULTS_END) {
            return;
        }
        next_fault += Duration::from_millis(100 + stage.draw(600));
        if next_fault < FAULTS_END { fault(stage, &MOODS) } else { stage.heal() }
    })
}

/// What an endpoint that speaks HTTP/1.1 may do.
const MOODS: [Mood; 4] = [Mood::Well, Mood::Busy, Mood::BreaksOff, Mood::Silent];

/// Something goes wrong at an endpoint, or right again.
pub(super) fn fault(stage: &mut Stage<'_, '_>, moods: &[Mood]) {
    let endpoint = 1 + stage.draw(stage.story.endpoints);
    let host = name(endpoint);
    let drawn = stage.draw(8);
    if drawn < 3 {
        stage.note(Turn::Unheard(endpoint));
    }
    match drawn {
        0 if stage.sim.is_host_running(host.as_str()) => stage.sim.crash(host),
        0 | 1 => stage.sim.bounce(host),
        2 => stage.sim.partition("sidecar", host),
        3 => stage.sim.repair("sidecar", host),
        _ => {
            let drawn = stage.draw(moods.len().try_into().unwrap());
            stage.set_mood(endpoint, moods[usize::try_from(drawn).unwrap()]);
        }
    }
}

/// A second's worth may be spent at once, and a request that is begun last ends later.
fn within_budget(history: &History) -> Result<(), String> {
    let retries = history.retries();
    let budget = PER_SECOND * (1 + history.calls_end.as_secs() + ROUTE_TIMEOUT.as_secs());
    if retries <= budget { Ok(()) } else { Err(format!("{retries} retries, {budget} allowed")) }
}

/// Of what may be sent again; a connection of before the end of the faults may still cost a request that may not.
pub(super) fn recovered(history: &History) -> Result<(), String> {
    let is_late = |at: Duration| at + Duration::from_secs(3) > history.calls_end;
    let late = history.answers.iter().filter(|answered| answered.is_get && is_late(answered.at));
    none(late.filter(|answered| answered.status != Some(200)))
}

/// A story in which nothing happens shows nothing.
pub(super) fn had_faults(history: &History) -> Result<(), String> {
    let is_calm = history.statuses(200) == history.answers.len() || history.retries() == 0;
    if is_calm { Err("every request was answered, or none was tried again".to_owned()) } else { Ok(()) }
}

#[test]
fn the_traffic_rules_hold_whatever_the_network_does() {
    check(seeds(0..1), |seed| within(seed, BUDGET, "GET"), &CHECKS);
}

#[test]
fn retries_without_a_budget_or_of_every_method_are_seen() {
    let many = within(0, "percent: 100, per_second: 1000", "GET");
    assert_eq!(broken(&many, &CHECKS), ["retries stay within their budget"]);
    assert_eq!(broken(&within(1, BUDGET, "GET, POST"), &CHECKS), ["what must not be sent twice is not"]);
}

#[test]
#[ignore = "hundreds of stories; tier 2"]
fn the_traffic_rules_hold_in_stories_by_the_hundred() {
    check(many_seeds(), |seed| within(seed, BUDGET, "GET"), &CHECKS);
}
