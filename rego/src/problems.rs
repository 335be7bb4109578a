//! All that is wrong with a set of files, where [`Policy::load`](crate::Policy::load) tells the first thing only: for
//! people who write policies.
use crate::ast::{Body, Expr, ExprKind, Loc, Module, Rule, Str, Term, TermKind};
use crate::compile::{self, Purpose};
use crate::parse;
use crate::policy::{LoadError, Source, located, parse_error};
use std::collections::BTreeSet;

/// The most problems that are told of one set.
pub const PROBLEMS_MAX: usize = 50;

/// Reads every file; what cannot be read is told in place of its module.
pub fn modules(sources: &[Source<'_>]) -> (Vec<Option<Module>>, Vec<LoadError>) {
    let mut problems = Vec::new();
    let mut modules = Vec::with_capacity(sources.len());
    for (index, source) in sources.iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        match parse::module(source.text, index, source.version) {
            Ok(module) => modules.push(Some(module)),
            Err(error) => {
                problems.push(parse_error(source.name, &error));
                modules.push(None);
            }
        }
    }
    (modules, problems)
}

/// What is wrong with a set of files, at most [`PROBLEMS_MAX`] things. Where files cannot be read, that alone is told:
/// what the others lack may stand in these.
pub fn problems(sources: &[Source<'_>]) -> Vec<LoadError> {
    let (modules, mut problems) = modules(sources);
    if !problems.is_empty() {
        problems.truncate(PROBLEMS_MAX);
        return problems;
    }
    let mut modules: Vec<Module> = modules.into_iter().flatten().collect();
    let files: Vec<Str> = sources.iter().map(|source| Str::from(source.name)).collect();
    let mut emptied = BTreeSet::new();
    while problems.len() < PROBLEMS_MAX {
        let error = match compile::compile_and_check(modules.clone(), files.clone(), Purpose::Decide) {
            Ok((_, of_types)) => {
                // They are all that there are: nothing is set aside for them.
                problems.extend(of_types.iter().map(|error| located(&files, error)));
                break;
            }
            Err(error) => error,
        };
        let problem = located(&files, &error);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
        if !set_aside(&mut modules, error.loc, &mut emptied) {
            break;
        }
    }
    problems.truncate(PROBLEMS_MAX);
    problems
}

/// Takes what is wrong out of the set, so that what comes after it can be found; `false` if nothing stands there. A rule
/// keeps its name at first, because others may ask for it.
fn set_aside(modules: &mut [Module], at: Loc, emptied: &mut BTreeSet<Loc>) -> bool {
    let Some(module) = modules.get_mut(usize::from(at.module)) else { return false };
    let Some(rule) = module.rules.iter().rposition(|rule| rule.loc <= at) else { return false };
    let Some(found) = module.rules.get_mut(rule) else { return false };
    if emptied.insert(found.loc) {
        empty(found);
    } else {
        module.rules.remove(rule);
    }
    true
}

fn empty(rule: &mut Rule) {
    let loc = rule.loc;
    let constant = |kind: TermKind| Term { kind, loc };
    let body: Body = vec![Expr {
        kind: ExprKind::Term(constant(TermKind::Bool(true))),
        negated: false,
        with: Vec::new(),
        loc,
    }];
    if !rule.default {
        rule.body = body;
    }
    rule.otherwise = None;
    for part in rule.head.reference.iter_mut().skip(1) {
        if compile::constant(part).is_none() {
            // A member of an object still, whichever.
            *part = constant(TermKind::Var(Str::from("input")));
        }
    }
    for (index, argument) in rule.head.args.iter_mut().flatten().enumerate() {
        *argument = constant(TermKind::Var(Str::from(format!("argument{index}"))));
    }
    if !rule.default {
        // Whatever it may be: nobody who asks for it is told that it is something else.
        for term in rule.head.key.iter_mut().chain(&mut rule.head.value) {
            *term = constant(TermKind::Var(Str::from("input")));
        }
    }
}
