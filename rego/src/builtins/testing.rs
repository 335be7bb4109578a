//! The boundary of the builtins' tests: a row is a call and what it leads to, and real OPA must agree with every row.
use super::{BuiltinError, Context, lookup};
use crate::{Number, Value};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    Context { steps_left: 1_000_000, ..Context::new(1_700_000_000_000_000_000, 1) }
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

/// Makes calls that nobody has thought about, and asks real OPA about them all; of what we refuse as a whole it is not
/// asked. Says how many calls had a result.
pub(crate) fn agree(calls: &[(&'static str, String)]) -> usize {
    let mut kept = context();
    let rows: Vec<Row> = calls
        .iter()
        .map(|(name, args)| {
            let Value::Array(arguments) = value(args) else { panic!("{name}: {args} is no array") };
            kept.steps_left = context().steps_left;
            let want = match (lookup(name).unwrap().call)(&mut kept, &arguments) {
                Ok(Some(got)) => Want::Value(tag(&got).to_json().leak()),
                Ok(None) => Want::Undefined,
                Err(BuiltinError::Type(_)) => Want::TypeError,
                Err(BuiltinError::Failed(_)) => Want::Failed,
                Err(BuiltinError::Budget(_)) => Want::Budget,
            };
            (*name, &*args.clone().leak(), want)
        })
        .collect();
    opa_agrees(&rows);
    rows.iter().filter(|(_, _, want)| matches!(want, Want::Value(_))).count()
}

/// The same for the first item of each result alone, where the others come in no order.
pub(crate) fn agree_on_first(calls: &[(&'static str, String)]) {
    let (mut asked, mut firsts) = (Vec::new(), Vec::new());
    for (name, args) in calls {
        let Value::Array(arguments) = value(args) else { panic!("{name}: {args} is no array") };
        let first = match (lookup(name).unwrap().call)(&mut context(), &arguments) {
            Ok(Some(got)) => Some(got.as_array().unwrap()[0].to_string()),
            Err(BuiltinError::Budget(_)) => continue,
            Ok(None) | Err(_) => None,
        };
        firsts.push((args, first));
        asked.push((*name, arguments.to_vec()));
    }
    let Some(answers) = ask_opa(&asked) else { return };
    for ((args, first), answer) in firsts.into_iter().zip(answers) {
        let same = match (&first, &answer) {
            (Some(first), Some(answer)) => answer.starts_with(&format!("[{first}, ")),
            (first, answer) => first.is_none() && answer.is_none(),
        };
        assert!(same, "OPA does not agree on {args}: {first:?}, but {answer:?}");
    }
}

/// A value as [`value`] reads it.
fn tag(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::array(items.iter().map(tag)),
        Value::Set(items) => Value::object([("$set".into(), Value::array(items.iter().map(tag)))]),
        Value::Object(members) => Value::object(members.iter().map(|(k, v)| (k.clone(), tag(v)))),
        other => other.clone(),
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    /// A number below a limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll(u64::try_from(limit).unwrap())).unwrap()
    }

    /// One of these.
    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }
}

fn opa_agrees(rows: &[Row]) {
    let asked = rows.iter().filter(|(_, _, want)| !matches!(want, Want::Budget));
    let calls: Vec<(&str, Vec<Value>)> = asked
        .clone()
        .map(|(name, args, _)| match value(args) {
            Value::Array(arguments) => (*name, arguments.to_vec()),
            _ => panic!("{name}: {args} is no array"),
        })
        .collect();
    let Some(answers) = ask_opa(&calls) else { return };
    for ((name, args, want), answer) in asked.zip(answers) {
        let expected = if let Want::Value(json) = want { Some(as_opa_prints(&value(json))) } else { None };
        assert_eq!(expected, answer, "OPA does not agree on {name}{args}");
    }
}

/// A folder that nobody else has: tests run beside each other, and in several processes.
pub(crate) fn new_folder(name: &str) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("postern-rego-{}-{name}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// What real OPA answers to these calls, as [`as_opa_prints`] has it: `None` is undefined, with or without an error.
/// `None` altogether if there is no OPA to ask.
pub(crate) fn ask_opa(calls: &[(&str, Vec<Value>)]) -> Option<Vec<Option<String>>> {
    let opa = std::env::var_os("POSTERN_OPA")?;
    // In the older version of the language, in which deprecated functions may be called.
    let mut module = "package t\n\nimport future.keywords.if\n\n".to_owned();
    for (index, (name, arguments)) in calls.iter().enumerate() {
        let opaque = |(place, argument): (usize, &Value)| {
            format!("opaque(\"{index}.{place}\", {})", as_rego(argument))
        };
        let calls: Vec<String> = arguments.iter().enumerate().map(opaque).collect();
        module.push_str(&format!("r{index} := {name}({})\n", calls.join(", ")));
    }
    // A function over `input` has a type that OPA's checker cannot know, so that wrong types come to run.
    module.push_str("opaque(_, x) := y if { y := object.get({\"v\": x}, input.key, null) }\n");
    let folder = new_folder("calls");
    std::fs::write(folder.join("t.rego"), &module).unwrap();
    std::fs::write(folder.join("input.json"), r#"{"key": "v"}"#).unwrap();
    let output = Command::new(opa)
        .args(["eval", "--v0-compatible", "--format", "json", "--data"])
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
    let answer = |index: usize| answers.get(format!("r{index}")).map(|json| tagged(json).to_string());
    Some((0..calls.len()).map(answer).collect())
}

/// A value in the form of OPA's answers, in which sets are arrays.
pub(crate) fn as_opa_prints(value: &Value) -> String {
    as_json(value).to_string()
}

/// As OPA reads it in a module: strings are JSON's.
fn as_rego(value: &Value) -> String {
    let all = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    match value {
        // A module may not hold the mark of a byte order, not even in a string.
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

#[test]
fn calls_without_arguments_that_are_made_at_once_have_files_of_their_own() {
    let calls = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..4).map(|_| scope.spawn(|| ask_opa(&[]).is_none_or(|found| found.is_empty()))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(calls, [true; 4]);
}
