//! Calls with random arguments of every type, beside real OPA.
use super::testing::{as_opa_prints, ask_opa, context};
use super::{BuiltinError, aggregates, arithmetic, arrays, bits, casts, objects, sets, types};
use crate::{Number, Value};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Few different scalars, so that what is drawn is often equal. None that OPA only takes for equal: it sorts by that.
fn scalars() -> impl Strategy<Value = Value> {
    let numbers = ["0", "1", "1.0", "2", "-1", "0.5", "-0.50", "3", "18446744073709551617"];
    let texts = ["", "a", "b", "1", "2.5"];
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        4 => (0..numbers.len()).prop_map(move |at| Value::from(Number::parse(numbers[at]).unwrap())),
        3 => (0..texts.len()).prop_map(move |at| Value::from(texts[at])),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    scalars().prop_recursive(3, 12, 4, |inner| {
        let items = || proptest::collection::vec(inner.clone(), 0..4);
        let members =
            (0_usize..3, inner.clone()).prop_map(|(at, value)| (Value::from(["a", "b", "c"][at]), value));
        prop_oneof![
            items().prop_map(Value::array),
            items().prop_map(Value::set),
            proptest::collection::vec(members, 0..4).prop_map(Value::object),
        ]
    })
}

#[test]
fn random_calls_lead_to_what_they_lead_to_in_opa() {
    let groups = [
        aggregates::TABLE,
        arithmetic::TABLE,
        arrays::TABLE,
        bits::TABLE,
        casts::TABLE,
        objects::TABLE,
        sets::TABLE,
        types::TABLE,
    ];
    let builtins: Vec<_> = groups.into_iter().flatten().filter(|builtin| !builtin.nondeterministic).collect();
    let mut runner = TestRunner::deterministic();
    let mut sample = || values().new_tree(&mut runner).unwrap().current();
    // Arguments that no drawn value fits would be refused nearly always, so that some are wrapped.
    let mut calls: Vec<(&str, Vec<Value>)> = Vec::new();
    for round in 0..2000 {
        let builtin = builtins[round % builtins.len()];
        let wrapped = |value: Value| match round / builtins.len() % 4 {
            0 => Value::array([value.clone(), Value::array([value])]),
            1 => Value::set([value]),
            2 => Value::object([("a".into(), value)]),
            _ => value,
        };
        calls.push((builtin.name, (0..builtin.arity).map(|_| wrapped(sample())).collect()));
    }
    let Some(answers) = ask_opa(&calls) else { return };
    for ((name, arguments), answer) in calls.iter().zip(answers) {
        let outcome = (super::lookup(name).unwrap().call)(&mut context(), arguments);
        let ours = match outcome {
            Ok(value) => value.map(|value| as_opa_prints(&value)),
            Err(BuiltinError::Budget(error)) => panic!("{name}{arguments:?}: {error}"),
            Err(_) => None,
        };
        assert_eq!(ours, answer, "{name}{arguments:?}");
    }
}
