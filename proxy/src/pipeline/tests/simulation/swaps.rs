//! The endpoints of an upstream change while requests are under way.
use super::endpoints::{Mood, Seen};
use super::history::{Check, History, Turn, none, text};
use super::{Habit, Story, broken, check, many_seeds, play, seeds};
use std::time::Duration;

const REQUESTS_MAX: usize = 4;
/// What a request that was sent to an endpoint needs to get there.
const ON_ITS_WAY: Duration = Duration::from_millis(150);
const BALANCES: [&str; 4] = ["p2c_ewma", "least_request", "round_robin", "random"];

const CHECKS: [Check; 4] = [
    ("no request is lost", none_lost),
    ("none goes where none should any more", none_astray),
    ("those that came have their share", shared),
    ("what is in hand stays bounded", bounded),
];

/// What can be otherwise than in a story that passes.
#[derive(Clone, Copy, Debug)]
struct Rules {
    requests_max: usize,
    route: &'static str,
    /// What a reload brings of the endpoints that there should be.
    brings: fn([u64; 2]) -> Vec<u64>,
}

const RULES: Rules = Rules { requests_max: REQUESTS_MAX, route: "", brings: |pair| pair.to_vec() };

fn with(seed: u64, rules: Rules) -> History {
    let mut story = Story::new(seed, 9);
    story.endpoints = 4;
    story.callers = vec![Habit { pause_ms: (10, 60), one_post_of: 3, tenant: "a" }; 6];
    let balance = BALANCES[usize::try_from(seed % 4).unwrap()];
    story.upstream = format!(", balance: {balance}, requests_max: {}", rules.requests_max);
    story.route = rules.route.to_owned();
    let (mut next, mut before) = (Duration::ZERO, 0);
    play(&story, |stage| {
        if stage.at() < next || stage.at() > stage.story.calls_end {
            return;
        }
        if next.is_zero() {
            (1..=4).for_each(|endpoint| stage.set_mood(endpoint, Mood::Slow));
        }
        next = stage.at() + Duration::from_millis(1_500 + stage.draw(1_000));
        const PAIRS: [[u64; 2]; 6] = [[1, 2], [3, 4], [1, 3], [2, 4], [1, 4], [2, 3]];
        before = (before + 1 + stage.draw(5)) % 6;
        let pair = PAIRS[usize::try_from(before).unwrap()];
        stage.reload(&(rules.brings)(pair));
        stage.note(Turn::Endpoints(pair.to_vec()));
    })
}

/// Each time with its endpoints.
fn times(history: &History) -> impl Iterator<Item = (Duration, Duration, &[u64])> {
    let ends = history.turns.iter().skip(1).map(|(at, _)| *at).chain([history.calls_end]);
    history.turns.iter().zip(ends).map(|((from, turn), until)| match turn {
        Turn::Endpoints(endpoints) => (*from, until, endpoints.as_slice()),
        other @ (Turn::Policy(_) | Turn::Failing(_) | Turn::Unheard(_)) => panic!("{other:?}"),
    })
}

/// What is above the bounds is refused, and says so.
fn none_lost(history: &History) -> Result<(), String> {
    let outcomes = history.outcomes();
    let reason = |id: &str| text(outcomes[id], "reason");
    let is_lost = |status: Option<u16>, id: &str| status != Some(200) && reason(id) != "upstream.overflow";
    none(history.answers.iter().filter(|answered| is_lost(answered.status, &answered.id)))
}

fn none_astray(history: &History) -> Result<(), String> {
    none(times(history).flat_map(|(from, until, endpoints)| {
        let then = move |seen: &&Seen| seen.at > from + ON_ITS_WAY && seen.at < until;
        history.seen.iter().filter(then).filter(|seen| !endpoints.contains(&seen.endpoint))
    }))
}

/// A tenth at least.
fn shared(history: &History) -> Result<(), String> {
    none(times(history).filter(|(from, until, _)| *until - *from > Duration::from_secs(1)).flat_map(
        |(from, until, endpoints)| {
            let then: Vec<_> =
                history.seen.iter().filter(|seen| seen.at > from + ON_ITS_WAY && seen.at < until).collect();
            let asked = move |endpoint: &u64| {
                then.iter().filter(|seen| seen.endpoint == *endpoint).count() * 10 < then.len()
            };
            endpoints.iter().filter(move |endpoint| asked(endpoint)).map(move |endpoint| (from, *endpoint))
        },
    ))
}

/// Over all endpoints, those that were taken away included.
fn bounded(history: &History) -> Result<(), String> {
    let in_hand_at = |at: Duration| history.seen.iter().filter(|it| it.at <= at && it.until > at).count();
    none(history.seen.iter().filter(|seen| in_hand_at(seen.at) > REQUESTS_MAX))
}

#[test]
fn requests_follow_the_endpoints_and_none_is_lost() {
    check(seeds(0..1), |seed| with(seed, RULES), &CHECKS);
}

#[test]
fn a_swap_that_goes_wrong_is_seen() {
    let check = |rules: Rules, seen: &str| assert_eq!(broken(&with(0, rules), &CHECKS), [seen], "{rules:?}");
    check(Rules { brings: |_| vec![1, 2, 3, 4], ..RULES }, "none goes where none should any more");
    check(Rules { brings: |pair| vec![pair[0]], ..RULES }, "those that came have their share");
    check(Rules { requests_max: 100, ..RULES }, "what is in hand stays bounded");
    let failing = ", faults: { abort: { percent: 5 } }";
    check(Rules { route: failing, ..RULES }, "no request is lost");
}

#[test]
#[ignore = "hundreds of stories; tier 2"]
fn requests_follow_the_endpoints_in_stories_by_the_hundred() {
    check(many_seeds(), |seed| with(seed, RULES), &CHECKS);
}
