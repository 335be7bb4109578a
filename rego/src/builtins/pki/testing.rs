//! Cases in files: what they are about is too long for a row in the source. Real OPA must agree with each.
use super::json;
use crate::Value;
use crate::builtins::testing::{Row, Want, check, context, value};
use crate::builtins::{BuiltinError, lookup};
use serde_json::json;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Certificates, keys and tokens by name. Made for these cases alone; their private keys open nothing.
static TEXTS: LazyLock<HashMap<String, String>> =
    LazyLock::new(|| serde_json::from_str(include_str!("cases/texts.json")).unwrap());

/// Checks the cases of a file. Each is a sentence, the name of a builtin, its arguments, and what they lead to: `{"value":
/// …}`, `{"chain": […]}` (the names of the certificates of a verified chain, or null), `"failed"`, `"type error"` or
/// `"budget"`. In an argument `@a@b` stands for two of the texts, one after the other.
pub(crate) fn check_cases(file: &str) {
    let cases: Vec<(String, String, serde_json::Value, serde_json::Value)> =
        serde_json::from_str(file).unwrap();
    let rows: Vec<Row> =
        cases.into_iter().map(|(sentence, name, args, want)| row(&sentence, name, args, &want)).collect();
    assert!(rows.len() > 100, "the file holds no cases");
    check(&rows);
}

fn row(sentence: &str, name: String, args: serde_json::Value, want: &serde_json::Value) -> Row {
    let (name, args): (&'static str, &'static str) = (name.leak(), with_texts(args).to_string().leak());
    let result = call(name, args);
    match (want.as_str(), &result) {
        (None, Ok(_)) if want.get("chain").is_some() => {
            let Ok(Some(result)) = result else { panic!("{sentence}: expected {want}, got {result:?}") };
            assert_eq!(chain(&result), want["chain"], "{sentence}");
            (name, args, Want::Value(written(&result).leak()))
        }
        (None, _) => (name, args, Want::Value(want["value"].to_string().leak())),
        (Some("failed"), _) => (name, args, Want::Failed),
        (Some("type error"), _) => (name, args, Want::TypeError),
        (Some("budget"), _) => (name, args, Want::Budget),
        (Some(want), _) => panic!("{sentence}: nothing is called `{want}`"),
    }
}

fn call(name: &str, args: &str) -> Result<Option<Value>, BuiltinError> {
    let Value::Array(arguments) = value(args) else { panic!("{name}: {args} is no array") };
    let builtin = lookup(name).unwrap_or_else(|| panic!("there is no builtin `{name}`"));
    (builtin.call)(&mut context(), &arguments)
}

fn with_texts(args: serde_json::Value) -> serde_json::Value {
    match args {
        serde_json::Value::String(own) => match own.strip_prefix('@') {
            Some(names) => names.split('@').map(text).collect::<String>().into(),
            None => own.into(),
        },
        serde_json::Value::Array(items) => items.into_iter().map(with_texts).collect(),
        serde_json::Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, with_texts(value))).collect()
        }
        other => other,
    }
}

/// The names of the certificates of a verified chain.
fn chain(result: &Value) -> serde_json::Value {
    let [valid, certificates] = result.as_array().unwrap() else { panic!("{result} is no pair") };
    let name = |one: &Value| {
        one.member("Subject").unwrap().member("CommonName").unwrap().as_str().unwrap().to_owned()
    };
    let names: Vec<String> = certificates.as_array().unwrap().iter().map(name).collect();
    if *valid == Value::Bool(true) { json!(names) } else { json!(null) }
}

fn written(value: &Value) -> String {
    let mut text = String::new();
    json::write(&mut context(), value, &mut text).unwrap();
    text
}

/// The text of this name.
pub(crate) fn text(name: &str) -> &'static str {
    &TEXTS[name]
}
