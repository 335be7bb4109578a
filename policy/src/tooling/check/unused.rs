//! What is named and not used: imports, arguments, variables.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of terms and values are of concern; one that is added is not until it is"
)]
use super::codes::{UNUSED_ARGUMENT, UNUSED_IMPORT, UNUSED_LOCAL};
use super::scope::{At, Project, function, is_language, variables};
use super::walk::{self, Visit};
use super::{Found, Gather};
use postern_rego::ast::{Expr, ExprKind, Loc, Rule, Str, Term, TermKind};
use std::collections::{BTreeMap, BTreeSet};

/// Imports that no name in their file stands for. Everything must have been gone through before.
pub(super) fn imports(project: &Project<'_>, found: &mut Gather) {
    for file in &project.files {
        let used = file.used.borrow();
        for import in file.module.imports.iter().filter(|import| !is_language(&import.path)) {
            let Some(name) = import.alias.as_ref().or(import.path.last()) else { continue };
            if !used.contains(name) {
                let what = format!("the import `{name}` is not used");
                found.push(&UNUSED_IMPORT, import.loc, Found::plain(what, &UNUSED_IMPORT));
            }
        }
    }
}

/// Arguments and variables of all rules.
pub(super) fn variables_of(project: &Project<'_>, found: &mut Gather) {
    for (index, file) in project.files.iter().enumerate() {
        for rule in file.module.rules.iter().filter(|rule| !rule.default) {
            let mut names = Names::default();
            walk::rule(&At::new(project, index), rule, &mut names);
            arguments(rule, &names, found);
            names.locals(found);
        }
    }
}

fn arguments(rule: &Rule, names: &Names, found: &mut Gather) {
    for arg in rule.head.args.iter().flatten() {
        let mut inside = BTreeSet::new();
        variables(arg, &mut inside);
        for name in inside.iter().filter(|name| !name.starts_with('_')) {
            // The argument itself is one of the times that it stands somewhere.
            if names.count(name) < 2 {
                let what = format!("the argument `{name}` is not used");
                found.push(&UNUSED_ARGUMENT, arg.loc, Found::plain(what, &UNUSED_ARGUMENT));
            }
        }
    }
}

/// How often each name stands anywhere in a rule, and where it is declared.
#[derive(Default)]
struct Names {
    counts: BTreeMap<Str, usize>,
    declared: Vec<(Str, Loc)>,
}

impl Names {
    fn count(&self, name: &Str) -> usize {
        self.counts.get(name).copied().unwrap_or(0)
    }

    fn add(&mut self, name: &Str) {
        let count = self.counts.entry(name.clone()).or_default();
        *count = count.saturating_add(1);
    }

    fn declare(&mut self, term: &Term) {
        let mut names = BTreeSet::new();
        variables(term, &mut names);
        self.declared.extend(names.into_iter().map(|name| (name, term.loc)));
    }

    /// Variables that stand nowhere but where they are declared.
    fn locals(&self, found: &mut Gather) {
        let mut declarations: BTreeMap<&Str, usize> = BTreeMap::new();
        for (name, _) in &self.declared {
            let count = declarations.entry(name).or_default();
            *count = count.saturating_add(1);
        }
        for (name, loc) in self.declared.iter().filter(|(name, _)| !name.starts_with('_')) {
            if self.count(name) <= declarations.get(name).copied().unwrap_or(0) {
                let what = format!("the variable `{name}` is not used");
                found.push(&UNUSED_LOCAL, *loc, Found::plain(what, &UNUSED_LOCAL));
            }
        }
    }
}

impl<'m> Visit<'m> for Names {
    fn term(&mut self, _: &At<'_, 'm>, term: &'m Term) {
        match &term.kind {
            TermKind::Var(name) => self.add(name),
            TermKind::Ref(parts) => {
                if let Some(TermKind::Var(name)) = parts.first().map(|first| &first.kind) {
                    self.add(name);
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, _: &At<'_, 'm>, call: &'m postern_rego::ast::Call) {
        if let Some(name) = call.function.first() {
            self.add(name);
        }
    }

    fn expr(&mut self, _: &At<'_, 'm>, expr: &'m Expr) {
        match &expr.kind {
            ExprKind::Call(call) if function(call) == "assign" => {
                if let Some(left) = call.args.first() {
                    self.declare(left);
                }
            }
            ExprKind::SomeIn { key, value, .. } => {
                key.iter().chain([value]).for_each(|term| self.declare(term));
            }
            // What `every` and `some x` name in vain is refused at load.
            ExprKind::Call(_) | ExprKind::Term(_) | ExprKind::Some(_) | ExprKind::Every { .. } => {}
        }
    }
}
