//! What a bundle's Rego says about requests.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of terms and values are of concern; one that is added is not until it is"
)]
use super::hints::{Held, Hints};
use crate::PolicyBundle;
use crate::bundle::RegoVersion;
use crate::engine::rego::data_of;
use crate::tooling::check::scope::{At, Part, Path, Project, Root, function};
use crate::tooling::check::walk::{self, Visit};
use crate::tooling::value;
use postern_rego::ast::{Call, Expr, ExprKind, Module, Term, TermKind, Version};
use postern_rego::{Source, Value};

/// The most keys of an object of the data that a field of the input is looked up in.
const KEYS_MAX: usize = 24;
/// The most texts of the data that are taken for values of anything.
const TEXTS_MAX: usize = 2000;

pub(super) fn gather(bundle: &PolicyBundle, hints: &mut Hints) {
    let files: Vec<(&str, &str)> = bundle.policies().filter(|(name, _)| name.ends_with(".rego")).collect();
    let version = |name: &str| match bundle.manifest.version_of(name) {
        RegoVersion::V0 => Version::V0,
        RegoVersion::V1 => Version::V1,
    };
    let sources: Vec<Source<'_>> =
        files.iter().map(|(name, text)| Source { name, text, version: version(name) }).collect();
    let (modules, _) = postern_rego::modules(&sources);
    let modules: Vec<Module> = modules.into_iter().flatten().collect();
    let data = data_of(&[("", bundle)]).unwrap_or(Value::Null);
    let mut left = TEXTS_MAX;
    texts(&data, &mut left, hints);
    let project = Project::of(&modules);
    walk::project(&project, &mut Gather { hints, data: &data });
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

struct Gather<'h> {
    hints: &'h mut Hints,
    data: &'h Value,
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
            ("endswith" | "contains", [field, value]) => self.fact(at, field, value, Held::Equal),
            ("glob.match", [pattern, _, field]) => self.fact(at, field, pattern, Held::Pattern),
            ("split", [field, _]) => self.with_field(at, field, &mut |hints, field| hints.split(field)),
            _ => {}
        }
    }
}

impl Gather<'_> {
    /// Does something with the names of a field of the input.
    fn with_field<'m>(&mut self, at: &At<'_, 'm>, term: &'m Term, with: &mut dyn FnMut(&mut Hints, &[&str])) {
        if let Some((names, _)) = at.path(term).as_ref().and_then(field) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            with(self.hints, &names);
        }
    }

    fn fact<'m>(&mut self, at: &At<'_, 'm>, term: &'m Term, constant: &'m Term, held: Held) {
        let Some(constant) = at.constant(constant) else { return };
        let constant = value::json(&constant);
        let listed = at.path(term).as_ref().and_then(field).is_some_and(|(_, open)| open);
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
        if let Some((names, open)) = at.path(term).as_ref().and_then(field) {
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
                    keys.truncate(KEYS_MAX);
                    let keys: Vec<serde_json::Value> = keys.into_iter().map(value::json).collect();
                    for key in &keys {
                        self.with_field(at, index, &mut |hints, field| hints.fact(field, key, Held::Equal));
                    }
                    let inside = places.iter().filter_map(|place| place.as_object());
                    inside.flat_map(|object| object.iter().map(|(_, member)| member)).take(KEYS_MAX).collect()
                }
            };
        }
    }
}

/// The names of a field of the input up to the first part that is not known, and whether there is such a part.
fn field(path: &Path<'_>) -> Option<(Vec<String>, bool)> {
    if path.root != Root::Input {
        return None;
    }
    let known = path.known();
    let names = known.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned));
    Some((names.collect(), known.len() < path.parts.len()))
}
