//! What is published about the configuration, made from what is enforced: `schema/config.json` and the
//! tables of `docs/configuration.md`. Run the tests with `BLESS=1` to write both anew.

use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::file::ConfigFile;
use super::rules::{COUNTS, DURATIONS, SIZES};
use super::units::{duration_text, size_text};

const TABLES_BEGIN: &str = "<!-- keys: made by the tests of proxy/src/config, BLESS=1 -->\n";
const TABLES_END: &str = "<!-- keys end -->\n";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Compares a published file with what it should be; writes it where somebody asked for that.
#[track_caller]
fn check_published(path: &str, expected: &str) {
    let file = repository(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, expected).expect("writing");
    }
    let published = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        published == expected,
        "{path} is out of date: run `BLESS=1 cargo test -p postern-proxy config` and look at the difference"
    );
}

/// The published schema. Every type stands where it is used: the tables are made from it by walking.
fn schema() -> Value {
    let settings =
        SchemaSettings::draft07().for_deserialize().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<ConfigFile>().to_value();
    drop_null(&mut schema);
    let mut missing = Vec::new();
    for (key, rule) in rules() {
        match at(&mut schema, &key) {
            Some(member) => member.extend(rule),
            None => missing.push(key),
        }
    }
    assert!(missing.is_empty(), "rules for keys that are not there: {missing:?}");
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), json!("https://postern.dev/schema/config.json"));
    }
    sorted(schema)
}

/// Members by name: whether serde_json keeps their order depends on who else is in the build.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> = members.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            members.into_iter().map(|(name, value)| (name, sorted(value))).collect()
        }
        Value::Array(entries) => entries.into_iter().map(sorted).collect(),
        leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => leaf,
    }
}

fn rules() -> impl Iterator<Item = (String, Map<String, Value>)> {
    let object = |value: Value| value.as_object().cloned().unwrap_or_default();
    let durations = DURATIONS.iter().map(move |rule| {
        let range = format!("{} to {}", duration_text(rule.min), duration_text(rule.max));
        let mut members = object(json!({ "pattern": "^[0-9]+(ms|s|m|h|d)$", "x-range": range }));
        // These do not restrict anything when they are not written.
        let unrestricted = [
            "tokens[].lifetime_max",
            "listeners.<name>.routes[].retry.per_try_timeout",
            // This has to be written.
            "listeners.<name>.routes[].rate_limits[].per",
        ];
        if !unrestricted.contains(&rule.key) {
            members.insert("default".to_owned(), json!(duration_text(rule.default)));
        }
        (rule.key, members)
    });
    let sizes = SIZES.iter().map(move |rule| {
        let range = format!("{} to {}", size_text(rule.min), size_text(rule.max));
        let mut members = object(json!({ "pattern": "^[0-9]+(B|KiB|MiB|GiB)$", "x-range": range }));
        // The machine says it where it is not written.
        if rule.key != "limits.memory_max" {
            members.insert("default".to_owned(), json!(size_text(rule.default)));
        }
        (rule.key, members)
    });
    let counts = COUNTS.iter().map(move |rule| {
        let range = format!("{} to {}", rule.min, rule.max);
        let mut members = object(json!({ "minimum": rule.min, "maximum": rule.max, "x-range": range }));
        // These have to be written, or stand for another number.
        let unwritten = [
            "listeners.<name>.routes[].retry.attempts_max",
            "listeners.<name>.routes[].rate_limits[].requests",
            "listeners.<name>.routes[].rate_limits[].burst",
            "listeners.<name>.routes[].split[].weight",
        ];
        if !unwritten.contains(&rule.key) {
            members.insert("default".to_owned(), json!(rule.default));
        }
        (rule.key, members)
    });
    let all = durations.chain(sizes).chain(counts);
    all.flat_map(|(key, members)| {
        let also =
            key.strip_prefix(RATE_LIMIT).map(|rest| (format!("{LOCAL_RATE_LIMIT}{rest}"), members.clone()));
        also.into_iter().chain([(key.to_owned(), members)])
    })
}

/// A rate limit stands in two places, under the same rules.
const RATE_LIMIT: &str = "listeners.<name>.routes[].rate_limits[].";
const LOCAL_RATE_LIMIT: &str = "listeners.<name>.routes[].global_rate_limit.on_failure.local.";

/// An absent key is left out, never written as null.
fn drop_null(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type") != Some(&json!("null")));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    members.remove("anyOf");
                    for (name, value) in only {
                        members.entry(name).or_insert(value);
                    }
                }
            }
            // serde's defaults are those of the file, not those of what is meant.
            members.remove("default");
            members.remove("format");
            for (name, value) in members {
                match (name.as_str(), value) {
                    // The names below are keys of the configuration, not words of JSON Schema.
                    ("properties", Value::Object(keys)) => keys.values_mut().for_each(drop_null),
                    (_, value) => drop_null(value),
                }
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(drop_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema of a key such as `listeners.<name>.routes[].timeout`.
fn at<'a>(schema: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let mut current = schema;
    for step in key.split('.') {
        let (name, list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        current =
            if name == "<name>" { current.get_mut("additionalProperties")? } else { member(current, name)? };
        if list {
            current = current.get_mut("items")?;
        }
    }
    current.as_object_mut()
}

fn member<'a>(schema: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    if schema.pointer(&format!("/properties/{name}")).is_some() {
        return schema.pointer_mut(&format!("/properties/{name}"));
    }
    let variants = schema.get_mut("oneOf")?.as_array_mut()?;
    variants.iter_mut().find_map(|variant| variant.pointer_mut(&format!("/properties/{name}")))
}

/// One line of a table.
struct Row {
    key: String,
    what: String,
    value: String,
    default: String,
}

/// The keys below `path` that hold a value of their own. What has no description of its own (an
/// alternative, a named member) has that of what is around it.
fn rows(path: &str, schema: &Value, (around, required): (&str, bool), rows_out: &mut Vec<Row>) {
    let own = text(schema, "description");
    let what = if own.is_empty() { around } else { &own };
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut leaf = true;
    let alternatives = schema.get("oneOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for holder in alternatives.iter().chain([schema]) {
        let needed = holder.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (name, member) in holder.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let alternative = !std::ptr::eq(holder, schema);
            let around = if alternative { text(holder, "description") } else { String::new() };
            let required = !alternative && needed.contains(&json!(name));
            rows(&below(name), member, (&around, required), rows_out);
            leaf = false;
        }
    }
    if let Some(named) = schema.get("additionalProperties").filter(|named| named.is_object()) {
        rows(&below("<name>"), named, (what, true), rows_out);
        leaf = false;
    }
    if let Some(items) = schema.get("items").filter(|items| items.get("properties").is_some()) {
        rows(&format!("{path}[]"), items, (what, true), rows_out);
        leaf = false;
    }
    let values = values(schema);
    if leaf || !values.is_empty() && schema.get("additionalProperties").is_none() {
        rows_out.push(Row {
            key: path.to_owned(),
            what: what.replace('\n', " "),
            value: values,
            default: match (schema.get("default"), required) {
                (Some(Value::String(default)), _) => format!("`{default}`"),
                (Some(default), _) => format!("`{default}`"),
                (None, true) => "required".to_owned(),
                (None, false) => String::new(),
            },
        });
    }
}

fn text(schema: &Value, name: &str) -> String {
    schema.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What may be written at a key, for people. Empty when only maps may.
fn values(schema: &Value) -> String {
    let range = text(schema, "x-range");
    if !range.is_empty() {
        return range;
    }
    let choices = ["oneOf", "anyOf"].into_iter().filter_map(|name| schema.get(name)?.as_array()).flatten();
    let mut words: Vec<String> = choices
        .filter_map(|choice| match choice.get("const") {
            Some(Value::String(word)) => Some(format!("`{word}`")),
            Some(_) => None,
            None => choice.get("maximum").map(|maximum| format!("{} to {maximum}", choice["minimum"])),
        })
        .collect();
    words.extend(
        schema
            .get("enum")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|word| format!("`{}`", word.as_str().unwrap_or_default())),
    );
    if !words.is_empty() {
        return words.join(", ");
    }
    match text(schema, "type").as_str() {
        "array" => {
            let entries = schema.get("items").map(values).unwrap_or_default();
            if entries.is_empty() { "list".to_owned() } else { format!("list: {entries}") }
        }
        "object" => String::new(),
        "string" => "text".to_owned(),
        other => other.to_owned(),
    }
}

fn tables() -> String {
    let schema = schema();
    let sections = schema["properties"].as_object().expect("an object");
    let required = schema["required"].as_array().expect("a list");
    let order = [
        "version",
        "identity",
        "tokens",
        "workload_tokens",
        "policy",
        "listeners",
        "upstreams",
        "audit",
        "telemetry",
        "status",
        "admin",
        "capture",
        "workers",
        "limits",
    ];
    assert_eq!(sections.len(), order.len(), "a section is missing from the documentation");
    let mut tables = String::new();
    for name in order {
        let section = &sections[name];
        let mut list = Vec::new();
        rows(name, section, ("", required.contains(&json!(name))), &mut list);
        tables.push_str(&format!("\n### `{name}`\n\n{}\n\n", text(section, "description")));
        tables.push_str("| key | what | value | default |\n|---|---|---|---|\n");
        for row in list {
            let value = row.value.replace('|', "\\|");
            tables.push_str(&format!("| `{}` | {} | {value} | {} |\n", row.key, row.what, row.default));
        }
    }
    tables.push('\n');
    tables
}

#[test]
fn the_published_schema_is_what_is_read() {
    let text = serde_json::to_string_pretty(&schema()).expect("JSON");
    check_published("schema/config.json", &format!("{text}\n"));
}

#[test]
fn the_documented_keys_are_the_keys_that_are_read() {
    let path = "docs/configuration.md";
    let page = std::fs::read_to_string(repository(path)).expect("the page");
    let (before, rest) = page.split_once(TABLES_BEGIN).expect("the mark before the tables");
    let (_, after) = rest.split_once(TABLES_END).expect("the mark behind the tables");
    check_published(path, &[before, TABLES_BEGIN, &tables(), TABLES_END, after].concat());
}

#[test]
fn every_default_lies_in_its_range() {
    for rule in DURATIONS {
        assert!(rule.min <= rule.default && rule.default <= rule.max, "{rule:?}");
    }
    for rule in SIZES.iter().chain(COUNTS) {
        assert!(rule.min <= rule.default && rule.default <= rule.max, "{rule:?}");
    }
}

#[test]
fn every_key_says_what_it_is() {
    let schema = schema();
    let mut list = Vec::new();
    rows("", &schema, ("", true), &mut list);
    assert!(list.len() > 80, "{}", list.len());
    for row in list {
        assert!(row.what.len() > 8 && row.what.ends_with('.'), "{}: {:?}", row.key, row.what);
        // Alternatives that are said by their name alone.
        let empty = ["cedar", "keys.discovery", "keys.workload_api", "keys.federation"];
        assert!(
            !row.value.is_empty() || empty.iter().any(|name| row.key.ends_with(name)),
            "{} has no value",
            row.key
        );
    }
}
