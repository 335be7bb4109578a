//! From modules to a [`Program`], by the passes of OPA's compiler in their order: names, local variables, nested calls,
//! safety, hoisting, then the compiled form.
mod attempts;
mod build;
mod dynamics;
mod error;
mod expand;
mod functions;
mod locals;
mod lower;
mod print;
mod recursion;
mod resolve;
mod safety;
#[cfg(test)]
mod size_tests;
mod templates;
mod test_rules;
mod tree;
mod types;
mod vars;
mod written;

use crate::Value;
use crate::ast::{Body, Call, Loc, Module, Rule, Str, Term, TermKind, Version};
use crate::builtins;
use crate::ir::{Definition, Group, GroupKind, Node, Operand, Program, Stmt};
use build::Names;
use lower::{Known, Lowerer};
use resolve::{Globals, Resolver};
use std::collections::{BTreeMap, BTreeSet};
use tree::{Place, RuleAt};

pub(crate) use attempts::Admission;
pub(crate) use build::name_in_source;
pub use error::CompileError;
pub(crate) use test_rules::TODO_PREFIX;
pub(crate) use tree::constant;

/// A compiled query: a body and the variables whose values it answers with.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) body: Box<[Stmt]>,
    pub(crate) slots: usize,
    pub(crate) outputs: Vec<(Str, u32)>,
}

/// What a set is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To decide: `print` is left out.
    Decide,
    /// To be looked at while it is evaluated: `print` is heard, and rules that are tests are tests.
    Examine,
}

/// Compiles a set of modules; `files` are their names in the order of [`Loc::module`].
///
/// # Errors
/// The first [`CompileError`]: where, what, and where it is known how to mend it.
pub(crate) fn compile(
    modules: Vec<Module>,
    files: Vec<Str>,
    purpose: Purpose,
) -> Result<Program, CompileError> {
    let (program, wrong) = compile_and_check(modules, files, purpose)?;
    wrong.into_iter().next().map_or(Ok(program), Err)
}

/// Compiles a set of modules, and tells all that is wrong with its types, which compiled or not means something.
///
/// # Errors
/// The first [`CompileError`] of another class.
pub(crate) fn compile_and_check(
    mut modules: Vec<Module>,
    files: Vec<Str>,
    purpose: Purpose,
) -> Result<(Program, Vec<CompileError>), CompileError> {
    let mut names = Names::default();
    let mut program = Program { files, ..Program::default() };
    if purpose == Purpose::Examine {
        program.written = written::expressions(&modules);
    }
    let functions = rule_names(&modules, true);
    let rules = rule_names(&modules, false);
    let is_function = |name: &[Str]| functions.contains(name) || is_builtin(name);
    let is_rule = |name: &[Str]| rules.contains(name);
    let exports = exported(&modules);
    for module in &mut modules {
        let globals = globals(module, &exports)?;
        for rule in &mut module.rules {
            Resolver::new(&globals, &mut names, &is_function, &is_rule).rule(rule)?;
        }
    }
    if purpose == Purpose::Examine {
        program.tests = test_rules::find(&mut modules);
    }
    let (root, groups) = groups(&modules)?;
    let kinds: Vec<GroupKind> = groups.iter().map(|group| group.kind).collect();
    let known = Known { root: &root, kinds: &kinds };
    let arity = |call: &Call| known.arity(call);
    for module in &mut modules {
        for rule in &mut module.rules {
            refuse_shadowing_rule(module.version, rule)?;
            locals::Locals::new(&mut names, module.version).rule(rule)?;
            templates::Judge::new(&arity).rule(rule)?;
            print::settle(rule, &mut names, purpose);
            expand::Expander::new(&mut names).rule(rule);
        }
    }
    for module in &mut modules {
        for rule in &mut module.rules {
            settle_rule(rule, &known, &mut names, purpose)?;
        }
    }
    for gathered in &groups {
        program.groups.push(lower_group(gathered, &modules, &known, &mut program.places)?);
    }
    program.root = root;
    recursion::refuse(&program)?;
    let wrong = types::check(&modules, &program.files);
    Ok((program, wrong))
}

/// Compiles a query over a program. `imports` are resolved as in a module of this package.
pub(crate) fn compile_query(mut body: Body, program: &mut Program) -> Result<Query, CompileError> {
    let mut names = Names::default();
    let globals = Globals::default();
    let kinds: Vec<GroupKind> = program.groups.iter().map(|group| group.kind).collect();
    let known = Known { root: &program.root, kinds: &kinds };
    let is_function = |name: &[Str]| known.function(name).is_some() || is_builtin(name);
    let is_rule = |name: &[Str]| known.rule(name).is_some();
    Resolver::new(&globals, &mut names, &is_function, &is_rule).query(&mut body);
    let shown = locals::Locals::new(&mut names, Version::V1).query(&mut body)?;
    let arity = |call: &Call| known.arity(call);
    templates::Judge::new(&arity).query(&body)?;
    print::settle_body(&mut body, &mut names, Purpose::Decide);
    expand::Expander::new(&mut names).body(&mut body);
    functions::refuse_unknown(&body, &arity)?;
    let mut orderer = safety::Orderer::new(&arity);
    orderer.order(&mut body, &lower::roots());
    orderer.finish()?;
    let mut visible = vars::of_body(&body, vars::Skip { closures: true, ..vars::ALL });
    visible.retain(|name| !matches!(name.as_ref(), "input" | "data"));
    dynamics::Hoister::new(&mut names).body(&mut body);
    let mut lowerer = Lowerer::new(&known, &mut program.places);
    let body = lowerer.body(&body)?;
    let mut outputs = Vec::new();
    for name in visible {
        let name_shown = shown.get(&name).unwrap_or(&name).clone();
        if !build::is_fresh(&name_shown) {
            let slot = lowerer.slot(&name);
            outputs.push((name_shown, slot));
        }
    }
    Ok(Query { body, slots: lowerer.slots(), outputs })
}

fn refuse_shadowing_rule(version: Version, rule: &Rule) -> Result<(), CompileError> {
    match build::head_var(&rule.head.reference) {
        Some(name) if version == Version::V1 && matches!(name.as_ref(), "input" | "data") => {
            let what = format!("rules must not shadow {name} (use a different rule name)");
            Err(CompileError::new(rule.loc, what))
        }
        _ => Ok(()),
    }
}

fn is_builtin(name: &[Str]) -> bool {
    builtins::lookup(&name.join(".")).is_some()
}

/// The full names of all functions, or of all other rules.
fn rule_names(modules: &[Module], functions: bool) -> BTreeSet<Vec<Str>> {
    let mut names = BTreeSet::new();
    for module in modules {
        for rule in module.rules.iter().filter(|rule| rule.head.args.is_some() == functions) {
            names.insert(full_name(&module.package, rule));
        }
    }
    names
}

fn full_name(package: &[Str], rule: &Rule) -> Vec<Str> {
    let parts = tree::ground_prefix(rule);
    let parts = parts
        .iter()
        .filter_map(|part| if let Value::String(text) = part { Some(text.clone()) } else { None });
    std::iter::once(Str::from("data")).chain(package.iter().cloned()).chain(parts).collect()
}

/// By package: the names that its rules begin with.
fn exported(modules: &[Module]) -> BTreeMap<Vec<Str>, BTreeSet<Str>> {
    let mut exports: BTreeMap<Vec<Str>, BTreeSet<Str>> = BTreeMap::new();
    for module in modules {
        let names = exports.entry(module.package.clone()).or_default();
        names.extend(module.rules.iter().filter_map(|rule| build::head_var(&rule.head.reference).cloned()));
    }
    exports
}

fn globals(module: &Module, exports: &BTreeMap<Vec<Str>, BTreeSet<Str>>) -> Result<Globals, CompileError> {
    let mut globals = Globals::default();
    let below_data = |rest: &[Str]| -> Vec<Str> {
        std::iter::once(Str::from("data")).chain(rest.iter().cloned()).collect()
    };
    for name in exports.get(&module.package).into_iter().flatten() {
        let path: Vec<Str> = module.package.iter().chain([name]).cloned().collect();
        globals.names.insert(name.clone(), below_data(&path));
    }
    for import in &module.imports {
        if import.path.first().is_some_and(|first| matches!(first.as_ref(), "future" | "rego")) {
            continue;
        }
        if let Some(name) = import.alias.as_ref().or(import.path.last()) {
            if name.as_ref() == "_" {
                continue;
            }
            if matches!(name.as_ref(), "input" | "data") && import.path != [name.clone()] {
                let what = format!("the import shadows {name}; import it under another name");
                return Err(CompileError::new(import.loc, what));
            }
            globals.names.insert(name.clone(), import.path.clone());
        }
    }
    Ok(globals)
}

/// A group before it is lowered.
struct Gathered {
    path: Vec<Value>,
    kind: GroupKind,
    rules: Vec<RuleAt>,
}

fn groups(modules: &[Module]) -> Result<(Node, Vec<Gathered>), CompileError> {
    let mut place = Place::default();
    for (module, source) in modules.iter().enumerate() {
        place.package(&source.package);
        for (rule, definition) in source.rules.iter().enumerate() {
            place.add(&source.package, definition, RuleAt { module, rule })?;
        }
    }
    place.settle()?;
    let mut groups = Vec::new();
    let root = node_of(place, &mut Vec::new(), &mut groups);
    Ok((root, groups))
}

fn node_of(place: Place, path: &mut Vec<Value>, groups: &mut Vec<Gathered>) -> Node {
    let mut node = Node::default();
    if let Some(kind) = place.kind {
        node.group = Some(groups.len());
        node.hidden = matches!(kind, GroupKind::Function(_));
        let mut rules = place.rules;
        rules.sort_by_key(|at| (at.module, at.rule));
        groups.push(Gathered { path: path.clone(), kind, rules });
    }
    for (key, child) in place.children {
        path.push(key.clone());
        let child = node_of(child, path, groups);
        path.pop();
        node.children.insert(key, child);
    }
    node
}

/// Notes the variables of a head that nothing in the body gives a value, each where it stands.
fn note_open(term: &Term, bound: &vars::Vars, orderer: &mut safety::Orderer<'_>) {
    match &term.kind {
        TermKind::Var(name) if bound.contains(name) => {}
        TermKind::Var(name) => orderer.note([name.clone()], term.loc),
        _ => vars::each_child(term, &mut |child| note_open(child, bound, orderer)),
    }
}

/// Orders and hoists one rule and its `else` branches.
fn settle_rule(
    rule: &mut Rule,
    known: &Known<'_>,
    names: &mut Names,
    purpose: Purpose,
) -> Result<(), CompileError> {
    let arity = |call: &Call| known.arity(call);
    functions::refuse_unknown(&rule.body, &arity)?;
    let mut orderer = safety::Orderer::new(&arity);
    let mut globals = lower::roots();
    for parameter in rule.head.args.iter().flatten() {
        vars::in_term(parameter, vars::ALL, &mut globals);
    }
    orderer.order(&mut rule.body, &globals);
    let mut bound = vars::of_body(&rule.body, vars::SAFETY);
    bound.extend(globals);
    for term in rule.head.reference.iter().skip(1).chain(&rule.head.key).chain(&rule.head.value) {
        note_open(term, &bound, &mut orderer);
    }
    orderer.finish()?;
    if purpose == Purpose::Examine {
        test_rules::tell_case(rule);
    }
    dynamics::Hoister::new(names).body(&mut rule.body);
    match &mut rule.otherwise {
        Some(rule) => settle_rule(rule, known, names, purpose),
        None => Ok(()),
    }
}

fn lower_group(
    gathered: &Gathered,
    modules: &[Module],
    known: &Known<'_>,
    places: &mut Vec<Loc>,
) -> Result<Group, CompileError> {
    let mut definitions = Vec::new();
    let mut default = None;
    for at in &gathered.rules {
        let Some(module) = modules.get(at.module) else { continue };
        let Some(rule) = module.rules.get(at.rule) else { continue };
        let depth = gathered.path.len().saturating_sub(module.package.len());
        let definition = Lowerer::new(known, places).definition(rule, depth)?;
        if rule.default {
            if default.replace(definition).is_some() {
                let name = tree::path_text(&module.package, rule);
                return Err(CompileError::of_type(
                    rule.loc,
                    format!("multiple default rules data.{name} found"),
                ));
            }
        } else {
            definitions.push(definition);
        }
    }
    // A name of two parts is a member of an object to v0, and of those all definitions are looked at.
    let member = |at: &RuleAt| {
        let module = modules.get(at.module)?;
        let rule = module.rules.get(at.rule)?;
        Some(module.version == Version::V0 && rule.head.args.is_none() && rule.head.reference.len() == 2)
    };
    let one_constant =
        one_constant(&definitions) && !gathered.rules.iter().any(|at| member(at).unwrap_or(false));
    if one_constant {
        let order = attempts::order(&definitions);
        let mut waiting: Vec<Option<Definition>> = definitions.into_iter().map(Some).collect();
        definitions = order.into_iter().filter_map(|index| waiting.get_mut(index)?.take()).collect();
    }
    let index = crate::eval::index::Index::of(&definitions);
    Ok(Group { path: gathered.path.clone(), kind: gathered.kind, definitions, default, index, one_constant })
}

fn one_constant(definitions: &[Definition]) -> bool {
    let mut found: Option<&Value> = None;
    for definition in definitions {
        let mut branch = Some(definition);
        while let Some(definition) = branch {
            let Operand::Const(value) = &definition.value else { return false };
            if found.is_some_and(|have| have != value) {
                return false;
            }
            found = Some(value);
            branch = definition.otherwise.as_deref();
        }
    }
    true
}
