//! What must hold without OPA: however a policy is evaluated, the answer is the same.
use super::modules::case;
use super::{Answer, Case, ours};
use crate::builtins::Context;
use crate::builtins::testing::Dice;
use crate::{Policy, Reads, Value};

/// As many as a run takes in a few seconds.
const CASES: u64 = 400;

/// What is done for a document and an input.
type Check<'a> = &'a mut dyn FnMut(&Case, &Policy, &[String], Option<&str>);

/// Calls `check` for every document of generated policies with every input.
fn each(check: Check<'_>) {
    let mut loaded = 0;
    for seed in 0..CASES {
        let case = case(seed);
        let Ok(policy) = case.load() else { continue };
        loaded += 1;
        let (packages, rules) = case.documents(&policy);
        for path in packages.iter().chain(&rules) {
            for input in &case.inputs {
                check(&case, &policy, path, input.as_deref());
            }
        }
    }
    assert!(loaded > CASES / 2, "most cases must load, {loaded} do");
}

#[test]
fn the_index_changes_no_answer() {
    each(&mut |case, policy, path, input| {
        let linear = case.load().unwrap().without_index();
        let indexed = ours(policy, case, path, input, &mut Context::default());
        let Some(tried) = ours(&linear, case, path, input, &mut Context::default()) else { return };
        // What the index leaves out may have ended in an error.
        if !matches!(tried, Answer::Error(_)) {
            assert_eq!(indexed, Some(tried), "{path:?} {input:?} {case:?}");
        }
    });
}

#[test]
fn nothing_is_left_of_the_evaluation_before() {
    let mut kept = Context::default();
    each(&mut |case, policy, path, input| {
        let fresh = ours(policy, case, path, input, &mut Context::default());
        assert_eq!(ours(policy, case, path, input, &mut kept), fresh, "{path:?} {input:?} {case:?}");
    });
}

#[test]
fn coverage_changes_no_answer() {
    each(&mut |case, policy, path, input| {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let Some(entry) = policy.entry(&names) else { return };
        let data = Value::from_json(&case.data).unwrap();
        let input = input.map(|input| Value::from_json(input).unwrap());
        let mut context = Context::default();
        let plain = policy.evaluate(&entry, &data, input.clone(), &mut context, case.limits());
        let covered = policy.evaluate_covered(&entry, &data, input, &mut context, case.limits());
        assert_eq!(covered, plain, "{path:?} {case:?}");
    });
}

#[test]
fn what_is_not_read_changes_no_answer() {
    let mut dice = Dice(7);
    let mut changed = 0;
    each(&mut |case, policy, path, input| {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let (Some(entry), Some(input)) = (policy.entry(&names), input) else { return };
        let reads = policy.reads(&entry);
        let value = Value::from_json(input).unwrap();
        let other = scrambled(&value, &mut Vec::new(), &reads, &mut dice);
        if other == value {
            return;
        }
        changed += 1;
        let other = other.to_json();
        let before = ours(policy, case, path, Some(input), &mut Context::default());
        let after = ours(policy, case, path, Some(&other), &mut Context::default());
        if before.is_some() && after.is_some() {
            assert_eq!(before, after, "{path:?} {reads:?}\n{input}\n{other}\n{case:?}");
        }
    });
    assert!(changed > 100, "inputs must be changed, {changed} are");
}

/// The input with other members wherever they are not read.
fn scrambled(value: &Value, path: &mut Vec<String>, reads: &Reads, dice: &mut Dice) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let touched = |path: &[String]| reads.touches(&path.iter().map(String::as_str).collect::<Vec<_>>());
    let mut scrambled = Vec::new();
    let names = members.keys().filter_map(Value::as_str).map(str::to_owned);
    for name in names.chain(["new".to_owned()]) {
        path.push(name.clone());
        let member = members.member(&name);
        let kept = match member {
            Some(member) if touched(path) => Some(scrambled_below(member, path, reads, dice)),
            None if touched(path) => None,
            _ if dice.roll(3) == 0 => None,
            _ => Some(Value::from_json(&super::documents::value(dice, 2)).unwrap()),
        };
        path.pop();
        scrambled.extend(kept.map(|kept| (Value::from(name), kept)));
    }
    Value::object(scrambled)
}

fn scrambled_below(member: &Value, path: &mut Vec<String>, reads: &Reads, dice: &mut Dice) -> Value {
    let whole = |read: &Vec<crate::ast::Str>| {
        read.len() <= path.len() && read.iter().zip(path.iter()).all(|(read, name)| **read == **name)
    };
    if reads.input.iter().any(whole) { member.clone() } else { scrambled(member, path, reads, dice) }
}
