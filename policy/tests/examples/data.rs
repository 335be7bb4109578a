//! Small changes to a bundle's data: an entry dropped, a number or a name changed.
use super::source::Mutant;
use serde_json::Value;

/// What can be changed in `data.json`.
pub(crate) fn of_data(text: &str) -> Vec<Mutant> {
    let document: Value = serde_json::from_str(text).unwrap();
    let mut changes = Vec::new();
    walk(&document, &mut String::new(), &mut changes);
    told(&document, changes)
}

/// What can be changed in `entities.json`: attributes, tags and what an entity is in. Names of entities, and those that
/// are in nothing, are there for people.
pub(crate) fn of_entities(text: &str) -> Vec<Mutant> {
    let document: Value = serde_json::from_str(text).unwrap();
    let mut changes = Vec::new();
    for (number, entity) in document.as_array().unwrap().iter().enumerate() {
        for part in ["attrs", "tags", "parents"] {
            if let Some(value) = entity.get(part) {
                walk(value, &mut format!("/{number}/{part}"), &mut changes);
            }
        }
    }
    told(&document, changes)
}

enum Change {
    Drop,
    /// A limit shows on one side of it alone: of several it is enough that one is noticed.
    Into(Vec<Value>),
}

fn told(document: &Value, changes: Vec<(String, Change)>) -> Vec<Mutant> {
    let mutant = |(at, change): (String, Change)| {
        let changed = |how: &dyn Fn(&mut Value)| {
            let mut document = document.clone();
            how(&mut document);
            document.to_string()
        };
        match change {
            Change::Drop => {
                let texts = vec![changed(&|document| drop_at(document, &at))];
                Mutant { what: format!("`{at}` is dropped"), texts }
            }
            Change::Into(values) => {
                let shown: Vec<String> = values.iter().map(ToString::to_string).collect();
                let into =
                    |value: &Value| changed(&|document| *document.pointer_mut(&at).unwrap() = value.clone());
                let texts = values.iter().map(into).collect();
                Mutant { what: format!("`{at}` becomes `{}`", shown.join("` or `")), texts }
            }
        }
    };
    changes.into_iter().map(mutant).collect()
}

fn drop_at(document: &mut Value, at: &str) {
    let (parent, last) = at.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    if let Some(members) = parent.as_object_mut() {
        drop(members.remove(&last.replace("~1", "/").replace("~0", "~")));
    } else {
        drop(parent.as_array_mut().unwrap().remove(last.parse().unwrap()));
    }
}

fn walk(value: &Value, at: &mut String, changes: &mut Vec<(String, Change)>) {
    let mut below = |name: &str, value: &Value| {
        let length = at.len();
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        changes.push((at.clone(), Change::Drop));
        walk(value, at, changes);
        at.truncate(length);
    };
    match value {
        // An entity or an extension of Cedar's: the former is a name, of the latter every digit counts.
        Value::Object(members) if members.contains_key("__entity") || members.contains_key("type") => {}
        Value::Object(members) if members.contains_key("__extn") => {
            let text = members["__extn"]["arg"].as_str().unwrap();
            let last = text.rfind(|char: char| char.is_ascii_digit()).unwrap();
            let digit = text[last..=last].parse::<u32>().unwrap();
            let other = format!("{}{}{}", &text[..last], (digit + 1) % 10, &text[last + 1..]);
            changes.push((format!("{at}/__extn/arg"), Change::Into(vec![other.into()])));
        }
        Value::Object(members) => members.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(number, value)| below(&number.to_string(), value));
        }
        Value::String(text) => changes.push((at.clone(), Change::Into(vec![format!("{text}~").into()]))),
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            changes.push((at.clone(), Change::Into(vec![(number + 1).into(), (number - 1).into()])));
        }
        Value::Bool(_) | Value::Null => panic!("{at}: data of another kind has no change yet"),
    }
}

#[test]
fn entries_numbers_and_names_are_changed() {
    let told = |mutants: Vec<Mutant>| -> Vec<String> {
        mutants.into_iter().map(|mutant| format!("{}: {}", mutant.what, mutant.texts.join(" or "))).collect()
    };
    assert_eq!(
        told(of_data(r#"{"a/b": ["c", 1]}"#)),
        [
            r#"`/a~1b` is dropped: {}"#,
            r#"`/a~1b/0` is dropped: {"a/b":[1]}"#,
            r#"`/a~1b/0` becomes `"c~"`: {"a/b":["c~",1]}"#,
            r#"`/a~1b/1` is dropped: {"a/b":["c"]}"#,
            r#"`/a~1b/1` becomes `2` or `0`: {"a/b":["c",2]} or {"a/b":["c",0]}"#,
        ]
    );
    let entities = r#"[{"uid":{"type":"A","id":"b"},"attrs":{"t":{"__extn":{"fn":"datetime","arg":"2026-01-09"}}},"parents":[{"type":"G","id":"g"}]}]"#;
    let told = told(of_entities(entities));
    assert_eq!(told.len(), 3);
    assert!(told[0].starts_with("`/0/attrs/t` is dropped: "), "{}", told[0]);
    assert!(told[1].starts_with(r#"`/0/attrs/t/__extn/arg` becomes `"2026-01-00"`"#), "{}", told[1]);
    assert!(told[2].starts_with("`/0/parents/0` is dropped: "), "{}", told[2]);
}
