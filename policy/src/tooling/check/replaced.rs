//! What `with` puts something else in the place of: rules that are not what they say, and rules that see another input.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of terms are of concern; one that is added is not until it is"
)]
use super::scope::{At, Project, function};
use super::walk::{self, Visit};
use postern_rego::ast::{Call, Expr, Loc, Str, Term, TermKind};
use std::collections::BTreeSet;

/// The paths that stand behind `with`, and where the rules begin that are asked with another input, be it by way of
/// others.
pub(super) fn of(project: &Project<'_>) -> (BTreeSet<Vec<Str>>, BTreeSet<Loc>) {
    let mut names = Names::default();
    walk::project(project, &mut names);
    let (targets, mut open) = (names.targets, names.under_another_input);
    let mut elsewhere = BTreeSet::new();
    while let Some(name) = open.pop_first() {
        for (file, rule) in project.rules_about(&name) {
            if elsewhere.insert(rule.loc) {
                let mut names = Names::default();
                let mut at = At::new(project, file);
                at.input_replaced = true;
                walk::rule(&at, rule, &mut names);
                open.extend(names.under_another_input);
            }
        }
    }
    (targets, elsewhere)
}

/// Names of rules that stand behind `with`, and names in what is asked with another input.
#[derive(Default)]
struct Names {
    targets: BTreeSet<Vec<Str>>,
    under_another_input: BTreeSet<Vec<Str>>,
}

impl<'m> Visit<'m> for Names {
    fn expr(&mut self, at: &At<'_, 'm>, expr: &'m Expr) {
        for with in &expr.with {
            self.targets.extend(whole(at, &with.target).filter(|path| path.first().is_some_and(is_data)));
        }
    }

    fn term(&mut self, at: &At<'_, 'm>, term: &'m Term) {
        if !at.input_replaced {
            return;
        }
        let parts = match &term.kind {
            TermKind::Var(name) => vec![name.clone()],
            TermKind::Ref(parts) => parts
                .iter()
                .enumerate()
                .map_while(|(index, part)| match &part.kind {
                    TermKind::Var(name) if index == 0 => Some(name.clone()),
                    TermKind::String(name) => Some(name.clone()),
                    _ => None,
                })
                .collect(),
            _ => return,
        };
        self.under_another_input.extend(whole(at, &parts).filter(|path| path.first().is_some_and(is_data)));
    }

    fn call(&mut self, at: &At<'_, 'm>, call: &'m Call) {
        if at.input_replaced && postern_rego::builtins::lookup(&function(call)).is_none() {
            let named = whole(at, &call.function);
            self.under_another_input.extend(named.filter(|path| path.first().is_some_and(is_data)));
        }
    }
}

fn is_data(name: &Str) -> bool {
    name.as_ref() == "data"
}

/// A path with what its first name stands for.
fn whole(at: &At<'_, '_>, parts: &[Str]) -> impl Iterator<Item = Vec<Str>> {
    let path = parts.split_first().map(|(first, rest)| match at.global(first) {
        Some(path) => path.iter().chain(rest).cloned().collect(),
        None => parts.to_vec(),
    });
    path.into_iter()
}
