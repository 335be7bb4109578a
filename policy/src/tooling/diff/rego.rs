//! What a bundle's Rego says about requests.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of terms and values are of concern; one that is added is not until it is"
)]
use super::hints::{Held, Hints, LIST};
use crate::PolicyBundle;
use crate::bundle::RegoVersion;
use crate::engine::rego::data_of;
use crate::tooling::check::scope::{At, Part, Path, Project, Root, function};
use crate::tooling::check::walk::{self, Visit};
use crate::tooling::value;
use postern_rego::ast::{Call, Expr, ExprKind, Module, Term, TermKind, Version};
use postern_rego::{Object, Source, Value};
use regex_syntax::hir::{Class, Hir, HirKind};
use std::collections::BTreeSet;
use std::rc::Rc;

/// The most keys of an object of the data that a field of the input is looked up in.
const KEYS_MAX: usize = 1000;
/// The most texts of the data that are taken for values of anything.
const TEXTS_MAX: usize = 20_000;
/// The most calls inside each other that a field is looked for behind.
const CALLS_MAX: usize = 8;

/// The data of a bundle.
pub(super) fn data(bundle: &PolicyBundle) -> Value {
    data_of(&[("", bundle)]).unwrap_or(Value::Null)
}

/// What is in the data, and what differs in it from that of the other policy.
pub(super) struct Known<'d> {
    pub(super) data: &'d Value,
    pub(super) changed: &'d BTreeSet<Vec<String>>,
}

pub(super) fn gather(bundle: &PolicyBundle, known: &Known<'_>, hints: &mut Hints) {
    let files: Vec<(&str, &str)> = bundle.policies().filter(|(name, _)| name.ends_with(".rego")).collect();
    let version = |name: &str| match bundle.manifest.version_of(name) {
        RegoVersion::V0 => Version::V0,
        RegoVersion::V1 => Version::V1,
    };
    let sources: Vec<Source<'_>> =
        files.iter().map(|(name, text)| Source { name, text, version: version(name) }).collect();
    let (modules, _) = postern_rego::modules(&sources);
    let modules: Vec<Module> = modules.into_iter().flatten().collect();
    let changed: BTreeSet<&str> = known.changed.iter().flatten().map(String::as_str).collect();
    changed.iter().for_each(|text| hints.text(text));
    let mut left = TEXTS_MAX;
    texts(known.data, &mut left, hints);
    let project = Project::of(&modules);
    walk::project(&project, &mut Gather { hints, data: known.data, changed: Rc::new(changed) });
    for (index, file) in project.files.iter().enumerate() {
        for rule in &file.module.rules {
            let mut saying = Saying::default();
            walk::rule(&At::new(&project, index), rule, &mut saying);
            hints.sayings.insert(saying.0);
        }
    }
}

/// What a rule says, wherever it stands.
#[derive(Default)]
struct Saying(Vec<String>);

impl<'m> Visit<'m> for Saying {
    fn expr(&mut self, _: &At<'_, 'm>, expr: &'m Expr) {
        self.0.push(if expr.negated { "not" } else { ";" }.to_owned());
    }

    fn term(&mut self, _: &At<'_, 'm>, term: &'m Term) {
        match &term.kind {
            TermKind::String(text) | TermKind::Var(text) => self.0.push(text.to_string()),
            TermKind::Ref(parts) => {
                if let Some(TermKind::Var(name)) = parts.first().map(|first| &first.kind) {
                    self.0.push(name.to_string());
                }
            }
            _ => self.0.extend(term.constant().map(|value| value.to_string())),
        }
    }

    fn call(&mut self, _: &At<'_, 'm>, call: &'m Call) {
        self.0.push(function(call));
    }
}

fn texts(value: &Value, left: &mut usize, hints: &mut Hints) {
    if *left == 0 {
        return;
    }
    *left = left.saturating_sub(1);
    match value {
        Value::String(text) => hints.text(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, left, hints)),
        Value::Object(members) => {
            for (key, member) in members.iter() {
                texts(key, left, hints);
                texts(member, left, hints);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Set(_) => {}
    }
}

/// The paths of what is in the data of one policy alone, the values last; of lists, the items that one alone has.
pub(super) fn changes(old: &Value, new: &Value) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    differing((Some(old), Some(new)), &mut Vec::new(), &mut found);
    found
}

fn differing(
    both: (Option<&Value>, Option<&Value>),
    above: &mut Vec<String>,
    found: &mut BTreeSet<Vec<String>>,
) {
    if both.0 == both.1 || found.len() >= TEXTS_MAX {
        return;
    }
    let objects = (both.0.and_then(Value::as_object), both.1.and_then(Value::as_object));
    let arrays = (both.0.and_then(Value::as_array), both.1.and_then(Value::as_array));
    if objects.0.is_some() || objects.1.is_some() {
        let all = [objects.0, objects.1].into_iter().flatten().flat_map(Object::keys);
        let keys: BTreeSet<&Value> = all.collect();
        for key in keys {
            above.push(shown(key));
            let member = (both.0.and_then(|old| old.get(key)), both.1.and_then(|new| new.get(key)));
            differing(member, above, found);
            above.pop();
        }
    } else if arrays.0.is_some() || arrays.1.is_some() {
        let [old, new] =
            [arrays.0, arrays.1].map(|items| -> BTreeSet<&Value> { items.into_iter().flatten().collect() });
        for item in old.symmetric_difference(&new) {
            differing((Some(item), None), above, found);
        }
    } else {
        for value in [both.0, both.1].into_iter().flatten() {
            found.insert(above.iter().cloned().chain([shown(value)]).collect());
        }
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

struct Gather<'h> {
    hints: &'h mut Hints,
    data: &'h Value,
    /// What differs in the data, word by word.
    changed: Rc<BTreeSet<&'h str>>,
}

impl<'m> Visit<'m> for Gather<'_> {
    fn expr(&mut self, at: &At<'_, 'm>, expr: &'m Expr) {
        if let ExprKind::SomeIn { domain, .. } | ExprKind::Every { domain, .. } = &expr.kind {
            self.read(at, domain, true);
        }
    }

    fn term(&mut self, at: &At<'_, 'm>, term: &'m Term) {
        match &term.kind {
            TermKind::String(text) => self.hints.text(text),
            TermKind::Ref(_) => {
                self.read(at, term, false);
                self.looked_up(at, term);
            }
            // `object.get(input.claims, "role", "")` reads `input.claims.role`.
            TermKind::Call(_) => self.read(at, term, false),
            _ => {}
        }
    }

    fn call(&mut self, at: &At<'_, 'm>, call: &'m Call) {
        let name = function(call);
        match (name.as_str(), call.args.as_slice()) {
            ("eq" | "equal" | "neq", [left, right]) => self.compared(at, (left, right), Held::Equal),
            ("lt" | "lte" | "gt" | "gte", [left, right]) => self.compared(at, (left, right), Held::Ordered),
            ("internal.member_2", [left, right]) => self.member(at, left, right),
            ("startswith", [field, value]) => self.fact(at, field, value, Held::Pattern),
            ("endswith", [field, value]) => self.fact(at, field, value, Held::Ending),
            ("contains", [field, value]) => self.fact(at, field, value, Held::Part),
            ("regex.match", [pattern, field]) => self.matched(at, field, pattern),
            ("glob.match", [pattern, _, field]) => self.fact(at, field, pattern, Held::Pattern),
            ("split", [field, _]) => self.with_field(at, field, &mut |hints, field| hints.split(field)),
            _ => {}
        }
    }
}

impl Gather<'_> {
    /// A field that matches an expression: by an example of what does, for each of its alternatives.
    fn matched<'m>(&mut self, at: &At<'_, 'm>, term: &'m Term, pattern: &'m Term) {
        let Some(Value::String(pattern)) = at.constant(pattern) else { return };
        for example in examples(&pattern) {
            self.with_field(at, term, &mut |hints, field| {
                hints.fact(field, &example.as_str().into(), Held::Equal);
            });
        }
    }

    /// Does something with the names of a field of the input.
    fn with_field<'m>(&mut self, at: &At<'_, 'm>, term: &'m Term, with: &mut dyn FnMut(&mut Hints, &[&str])) {
        if let Some((names, _)) = reached(at, term, CALLS_MAX).as_ref().and_then(field) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            with(self.hints, &names);
        }
    }

    fn fact<'m>(&mut self, at: &At<'_, 'm>, term: &'m Term, constant: &'m Term, held: Held) {
        let Some(constant) = at.constant(constant) else { return };
        let constant = value::json(&constant);
        if matches!(&term.kind, TermKind::Call(call) if function(call) == "time.now_ns") {
            return constant.as_u64().into_iter().for_each(|ns| self.hints.moment(ns));
        }
        let listed = reached(at, term, CALLS_MAX).as_ref().and_then(field).is_some_and(|(_, open)| open);
        let held = if listed { Held::Item } else { held };
        self.with_field(at, term, &mut |hints, field| hints.fact(field, &constant, held));
    }

    fn compared<'m>(&mut self, at: &At<'_, 'm>, (left, right): (&'m Term, &'m Term), held: Held) {
        self.fact(at, left, right, held);
        self.fact(at, right, left, held);
        for (call, constant) in [(left, right), (right, left)] {
            let TermKind::Call(call) = &call.kind else { continue };
            let (Some(Value::Number(number)), [counted]) = (at.constant(constant), call.args.as_slice())
            else {
                continue;
            };
            let length = number.as_i64().and_then(|length| usize::try_from(length).ok());
            if let (Some(length), "count") = (length, function(call).as_str()) {
                self.with_field(at, counted, &mut |hints, field| {
                    if field == ["parsed_path"] {
                        hints.length(length);
                    }
                });
            }
        }
    }

    fn member<'m>(&mut self, at: &At<'_, 'm>, item: &'m Term, among: &'m Term) {
        if let Some(among) = at.constant(among).map(|among| value::json(&among)) {
            for one in among.as_array().into_iter().flatten() {
                self.with_field(at, item, &mut |hints, field| hints.fact(field, one, Held::Equal));
            }
        }
        self.read(at, among, true);
        if let Some(item) = at.constant(item).map(|item| value::json(&item)) {
            self.with_field(at, among, &mut |hints, field| hints.fact(field, &item, Held::Item));
        }
    }

    fn read<'m>(&mut self, at: &At<'_, 'm>, term: &'m Term, listed: bool) {
        if let Some((names, open)) = reached(at, term, CALLS_MAX).as_ref().and_then(field) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            self.hints.read(&names, listed || open);
        }
    }

    /// A field of the input by which something is looked up in the data: each key is a value that it may have.
    fn looked_up<'m>(&mut self, at: &At<'_, 'm>, term: &'m Term) {
        let Some(path) = at.path(term).filter(|path| path.root == Root::Data) else { return };
        let mut places = vec![self.data];
        for part in &path.parts {
            places = match part {
                Part::Known(key, _) => places.iter().filter_map(|place| place.get(key)).collect(),
                Part::Open(index) => {
                    let mut keys: Vec<&Value> = places
                        .iter()
                        .filter_map(|place| place.as_object())
                        .flat_map(|object| object.keys())
                        .collect();
                    let changed = self.changed.clone();
                    let likely = |key: &Value| key.as_str().is_some_and(|key| changed.contains(key));
                    keys.sort_by_key(|key| !likely(key));
                    keys.dedup();
                    keys.truncate(KEYS_MAX);
                    let keys: Vec<serde_json::Value> = keys.into_iter().map(value::json).collect();
                    for key in &keys {
                        self.with_field(at, index, &mut |hints, field| hints.fact(field, key, Held::Equal));
                    }
                    let inside = places.iter().filter_map(|place| place.as_object());
                    let (first, others): (Vec<_>, Vec<_>) =
                        inside.flat_map(Object::iter).partition(|(key, _)| likely(key));
                    first.into_iter().chain(others).map(|(_, member)| member).take(KEYS_MAX).collect()
                }
            };
        }
    }
}

/// Where a term leads, also behind a call that changes little in it, or that only looks it up.
fn reached<'m>(at: &At<'_, 'm>, term: &'m Term, left: usize) -> Option<Path<'m>> {
    let left = left.checked_sub(1)?;
    if let Some(renamed) = at.renamed(term) {
        return reached(at, renamed, left);
    }
    let TermKind::Call(call) = &term.kind else { return at.path(term) };
    match (function(call).as_str(), call.args.as_slice()) {
        ("object.get", [object, key, _]) => {
            let mut path = reached(at, object, left)?;
            let keys = match at.constant(key)? {
                Value::Array(keys) => keys.to_vec(),
                other => vec![other],
            };
            path.parts.extend(keys.into_iter().map(|name| Part::Known(name, key.loc)));
            Some(path)
        }
        ("lower" | "upper" | "trim" | "trim_space" | "to_number", [field, ..]) => reached(at, field, left),
        _ => None,
    }
}

/// Texts that an expression matches, one for each alternative at its top.
fn examples(pattern: &str) -> Vec<String> {
    let Ok(parsed) = regex_syntax::Parser::new().parse(pattern) else { return Vec::new() };
    let alternatives = match parsed.kind() {
        HirKind::Alternation(all) => all.as_slice(),
        _ => std::slice::from_ref(&parsed),
    };
    let example = |one: &Hir| {
        let mut text = String::new();
        example_of(one, &mut text).then_some(text)
    };
    alternatives.iter().take(KEYS_MAX).filter_map(example).collect()
}

/// Appends something that it matches, if that is short.
fn example_of(hir: &Hir, text: &mut String) -> bool {
    const BYTES_MAX: usize = 256;
    let whole = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => {
            text.push_str(&String::from_utf8_lossy(&literal.0));
            true
        }
        HirKind::Class(class) => {
            let letters = "xa0X-_".chars().find(|letter| holds(class, *letter)).or_else(|| first_of(class));
            text.extend(letters);
            letters.is_some()
        }
        HirKind::Repetition(repeated) => {
            let times = repeated.min.max(1).min(repeated.max.unwrap_or(u32::MAX));
            (0..times).all(|_| example_of(&repeated.sub, text))
        }
        HirKind::Capture(capture) => example_of(&capture.sub, text),
        HirKind::Concat(all) => all.iter().all(|one| example_of(one, text)),
        HirKind::Alternation(all) => all.first().is_some_and(|one| example_of(one, text)),
    };
    whole && text.len() <= BYTES_MAX
}

fn holds(class: &Class, letter: char) -> bool {
    match class {
        Class::Unicode(class) => class.iter().any(|range| (range.start()..=range.end()).contains(&letter)),
        Class::Bytes(class) => {
            class.iter().any(|range| (char::from(range.start())..=char::from(range.end())).contains(&letter))
        }
    }
}

fn first_of(class: &Class) -> Option<char> {
    match class {
        Class::Unicode(class) => class.iter().next().map(|range| range.start()),
        Class::Bytes(class) => class.iter().next().map(|range| char::from(range.start())),
    }
}

/// The names of a field of the input up to the first part that is not known, and whether there is such a part.
fn field(path: &Path<'_>) -> Option<(Vec<String>, bool)> {
    if path.root != Root::Input {
        return None;
    }
    let known = path.known();
    let name = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
    let mut names: Vec<String> = known.iter().map(name).collect();
    if !names.first().is_some_and(|first| matches!(first.as_str(), "claims" | "transaction" | "parsed_body"))
    {
        return Some((names, known.len() < path.parts.len()));
    }
    // What is made up may have lists in it, and members in those.
    names.clear();
    for part in &path.parts {
        names.push(match part {
            Part::Known(part, _) if part.as_str().is_some() => name(part),
            Part::Known(..) | Part::Open(_) => LIST.to_owned(),
        });
    }
    let open = matches!(path.parts.last(), Some(Part::Open(_)));
    if open {
        names.pop();
    }
    Some((names, open))
}
