//! Policy changes while requests are under way.
use super::endpoints::Mood;
use super::history::{Check, History, Turn, none, text};
use super::{Habit, Stage, Story, broken, check, many_seeds, play, seeds};
use crate::pipeline::tests::world::{self, BEGINNING_S};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const ALL: &str = "package authz\nimport rego.v1\ndecision := true";
const GETS: &str = "package authz\nimport rego.v1\ndefault decision := false\ndecision := true if input.attributes.request.http.method == \"GET\"";
const POSTS: &str = "package authz\nimport rego.v1\ndefault decision := false\ndecision := true if input.attributes.request.http.method == \"POST\"";

const CHECKS: [Check; 3] = [
    ("every decision is by the policy in force", by_policy_in_force),
    ("no request is lost", none_lost),
    ("some are denied, and some are not", both),
];

/// The policies of odd numbers permit everything, these the others; what was told is published so much later.
fn under(seed: u64, evens: &'static str, late: Duration) -> History {
    let mut story = Story::new(seed, 8);
    story.callers = vec![Habit { pause_ms: (10, 60), one_post_of: 2, tenant: "a" }; 6];
    let (mut next, mut number, mut due) = (Duration::from_millis(500), 1_u8, None);
    play(&story, |stage| {
        if number == 1 && due.is_none() {
            let moods = [Mood::Well, Mood::Slow, Mood::Slow];
            (1..).zip(moods).for_each(|(endpoint, mood)| stage.set_mood(endpoint, mood));
        }
        if stage.at() >= next {
            next = stage.at() + Duration::from_millis(400 + stage.draw(800));
            number += 1;
            stage.note(Turn::Policy(number));
            due = Some(stage.at() + late);
        }
        if due.is_some_and(|due| stage.at() >= due) {
            due = None;
            publish(stage, if number % 2 == 0 { evens } else { ALL }, number);
        }
    })
}

fn publish(stage: &Stage<'_, '_>, rego: &str, number: u8) {
    let policy = Arc::new(world::numbered_policy(rego, number));
    stage.shared.publish(|next| next.policy = Some(policy));
}

/// The record names it by the digest of its bundles.
fn by_policy_in_force(history: &History) -> Result<(), String> {
    let is_by = |decision: &&Value| {
        let at =
            Duration::from_micros(decision["mono_us"].as_u64().unwrap()) - Duration::from_secs(BEGINNING_S);
        let number = history.turns.iter().rev().find_map(|(from, turn)| match turn {
            Turn::Policy(number) if *from <= at => Some(*number),
            Turn::Policy(_) | Turn::Endpoints(_) | Turn::Failing(_) | Turn::Unheard(_) => None,
        });
        let digest = number.map(|number| format!("sha256:{}", format!("{number:02x}").repeat(32)));
        digest.is_none_or(|digest| text(decision, "bundle") == digest)
    };
    none(history.of_kind("decision").filter(|decision| !is_by(decision)))
}

/// A POST that was under way while a policy came that denies it may have ended otherwise.
fn none_lost(history: &History) -> Result<(), String> {
    let is_lost = |at: Duration, took: Duration, is_get: bool, status: Option<u16>| {
        let is_denying = |turn: &Turn| matches!(turn, Turn::Policy(number) if number % 2 == 0);
        let mut denying = history.turns.iter().filter(|(_, turn)| is_denying(turn));
        let is_revoked = denying.any(|(from, _)| *from >= at && *from <= at + took);
        status != Some(200) && (is_get || status != Some(403) && !is_revoked)
    };
    none(history.answers.iter().filter(|it| is_lost(it.at, it.took, it.is_get, it.status)))
}

fn both(history: &History) -> Result<(), String> {
    let (permitted, denied) = (history.statuses(200), history.statuses(403));
    if permitted > 20 && denied > 20 { Ok(()) } else { Err(format!("{permitted} and {denied}")) }
}

#[test]
fn after_a_change_of_policy_nothing_is_decided_by_the_one_before() {
    check(seeds(0..1), |seed| under(seed, GETS, Duration::ZERO), &CHECKS);
}

#[test]
fn a_change_of_policy_that_goes_wrong_is_seen() {
    let [in_force, none_lost, both] = CHECKS.map(|(named, _)| named);
    // What begins in between is cut off when the policy comes at last.
    assert_eq!(broken(&under(0, GETS, Duration::from_millis(100)), &CHECKS), [in_force, none_lost]);
    assert_eq!(broken(&under(0, POSTS, Duration::ZERO), &CHECKS), [none_lost]);
    assert_eq!(broken(&under(0, ALL, Duration::ZERO), &CHECKS), [both]);
}

#[test]
#[ignore = "hundreds of stories; tier 2"]
fn nothing_is_decided_by_a_policy_of_before_in_stories_by_the_hundred() {
    check(many_seeds(), |seed| under(seed, GETS, Duration::ZERO), &CHECKS);
}
