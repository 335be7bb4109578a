//! The boundary of the builtins' tests: a row is a call and what it leads to, and real OPA must agree with every row.
use super::{BuiltinError, Context, Patterns, lookup};
use crate::{Number, Value};
use std::process::Command;

/// What a call leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// This value, in JSON; `{"$set": […]}` is a set.
    Value(&'static str),
    /// Undefined, without an error.
    Undefined,
    /// An operand of a wrong type.
    TypeError,
    /// Another error.
    Failed,
    /// Beyond the budget. OPA is not asked.
    Budget,
}

/// A row: the builtin's name, its arguments as a JSON array, what they lead to.
pub(crate) type Row = (&'static str, &'static str, Want);

pub(crate) fn context() -> Context {
    Context {
        now_ns: 1_700_000_000_000_000_000,
        steps_left: 1_000_000,
        seed: 1,
        runtime: Value::object([]),
        patterns: Patterns::default(),
    }
}

/// Reads a value in JSON, in which `{"$set": […]}` is a set.
pub(crate) fn value(json: &str) -> Value {
    tagged(&serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}")))
}

fn tagged(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Array(items) => Value::array(items.iter().map(tagged)),
        serde_json::Value::Object(members) => match members.get("$set").and_then(|items| items.as_array()) {
            Some(items) => Value::set(items.iter().map(tagged)),
            None => Value::object(members.iter().map(|(k, v)| (Value::from(k.as_str()), tagged(v)))),
        },
        serde_json::Value::Number(number) => Value::Number(Number::parse(&number.to_string()).unwrap()),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Null => Value::Null,
    }
}

/// Checks the rows, then asks real OPA about them all at once.
pub(crate) fn check(rows: &[Row]) {
    for (name, args, want) in rows {
        let builtin = lookup(name).unwrap_or_else(|| panic!("there is no builtin `{name}`"));
        let Value::Array(arguments) = value(args) else { panic!("{name}: {args} is no array") };
        assert_eq!(arguments.len(), builtin.arity, "{name}{args}: the number of arguments");
        let got = (builtin.call)(&mut context(), &arguments);
        match (want, &got) {
            (Want::Value(json), Ok(Some(got))) => assert_eq!(got, &value(json), "{name}{args}"),
            (Want::Undefined, Ok(None))
            | (Want::TypeError, Err(BuiltinError::Type(_)))
            | (Want::Failed, Err(BuiltinError::Failed(_)))
            | (Want::Budget, Err(BuiltinError::Budget(_))) => {}
            _ => panic!("{name}{args}: expected {want:?}, got {got:?}"),
        }
    }
    opa_agrees(rows);
}

/// Checks that real OPA answers these calls as we do, whatever that is: a builtin's name and its arguments as a JSON
/// array. Says how many calls had a result.
pub(crate) fn agrees(calls: &[(&'static str, String)]) -> usize {
    let mut kept = context();
    let rows: Vec<Row> = calls
        .iter()
        .map(|(name, args)| {
            // The rows live as long as the test.
            let args: &'static str = args.clone().leak();
            let Value::Array(arguments) = value(args) else { panic!("{name}: {args} is no array") };
            let builtin = lookup(name).unwrap_or_else(|| panic!("there is no builtin `{name}`"));
            kept.steps_left = context().steps_left;
            let want = match (builtin.call)(&mut kept, &arguments) {
                Ok(Some(got)) => Want::Value(as_rego(&got).leak()),
                Ok(None) => Want::Undefined,
                Err(BuiltinError::Type(_)) => Want::TypeError,
                Err(BuiltinError::Failed(_)) => Want::Failed,
                Err(BuiltinError::Budget(_)) => Want::Budget,
            };
            (*name, args, want)
        })
        .collect();
    opa_agrees(&rows);
    rows.iter().filter(|(_, _, want)| matches!(want, Want::Value(_))).count()
}

/// Numbers that look random, always the same.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below a limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }

    /// One of these.
    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

fn opa_agrees(rows: &[Row]) {
    let Some(opa) = std::env::var_os("POSTERN_OPA") else { return };
    let mut module = "package t\n\n".to_owned();
    for (index, (name, args, want)) in rows.iter().enumerate() {
        if !matches!(want, Want::Budget) {
            let Value::Array(arguments) = value(args) else { continue };
            // The place makes each call another one: OPA would answer `f(1.0)` by what it remembers of `f(1)`.
            let call = |(place, argument)| format!("opaque(\"{index}.{place}\", {})", as_rego(argument));
            let calls: Vec<String> = arguments.iter().enumerate().map(call).collect();
            module.push_str(&format!("r{index} := {name}({})\n", calls.join(", ")));
        }
    }
    // A function over `input` has a type that OPA's checker cannot know, so that wrong types come to run.
    module.push_str("opaque(_, x) := y if { y := object.get({\"v\": x}, input.key, null) }\n");
    let folder =
        std::env::temp_dir().join(format!("postern-rego-{}-{:p}", std::process::id(), rows.as_ptr()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("t.rego"), &module).unwrap();
    std::fs::write(folder.join("input.json"), r#"{"key": "v"}"#).unwrap();
    let output = Command::new(opa)
        .args(["eval", "--format", "json", "--data"])
        .arg(folder.join("t.rego"))
        .arg("--input")
        .arg(folder.join("input.json"))
        .arg("data.t")
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let answers = json
        .pointer("/result/0/expressions/0/value")
        .unwrap_or_else(|| panic!("OPA refuses the rows: {text}\n{module}"));
    for (index, (name, args, want)) in rows.iter().enumerate() {
        let answer = answers.get(format!("r{index}")).map(|json| tagged(json).to_string());
        let expected = match want {
            Want::Value(json) => Some(as_json(&value(json)).to_string()),
            Want::Undefined | Want::TypeError | Want::Failed => None,
            Want::Budget => continue,
        };
        assert_eq!(expected, answer, "OPA does not agree on {name}{args}");
    }
}

/// As OPA reads it in a module: strings are JSON's.
fn as_rego(value: &Value) -> String {
    let all = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    match value {
        // A byte-order mark may not stand in a module.
        Value::String(text) => {
            serde_json::Value::from(text.as_ref()).to_string().replace('\u{feff}', "\\ufeff")
        }
        Value::Array(items) => format!("[{}]", all(&mut items.iter().map(as_rego))),
        Value::Set(items) if !items.is_empty() => format!("{{{}}}", all(&mut items.iter().map(as_rego))),
        Value::Object(members) => {
            let member = |(k, v): &(Value, Value)| format!("{}: {}", as_rego(k), as_rego(v));
            format!("{{{}}}", all(&mut members.iter().map(member)))
        }
        other => other.to_string(),
    }
}

/// As OPA prints it: sets are arrays.
fn as_json(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::array(items.iter().map(as_json)),
        Value::Set(items) => Value::array(items.iter().map(as_json)),
        Value::Object(members) => Value::object(members.iter().map(|(k, v)| (k.clone(), as_json(v)))),
        other => other.clone(),
    }
}
