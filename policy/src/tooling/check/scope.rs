//! What names mean: imports, rules and local variables, followed to where they lead as far as that is certain.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of terms and values are of concern; one that is added is not until it is"
)]
use super::replaced;
use postern_rego::Value;
use postern_rego::ast::{Body, Call, Expr, ExprKind, Loc, Module, Rule, Str, Term, TermKind};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// All files, with what their names mean.
pub(in crate::tooling) struct Project<'m> {
    pub(in crate::tooling) files: Vec<File<'m>>,
    /// Rules by their constant paths, `data` first.
    rules: BTreeMap<Vec<Str>, Vec<(usize, &'m Rule)>>,
    /// What `with` puts something else in the place of, anywhere.
    replaced: BTreeSet<Vec<Str>>,
    /// Where the rules begin that are asked with another input.
    pub(super) elsewhere: BTreeSet<Loc>,
    /// Names that may still be followed for the question at hand: names of names could be many.
    left: Cell<usize>,
}

/// One file.
pub(in crate::tooling) struct File<'m> {
    pub(in crate::tooling) module: &'m Module,
    /// What the names of imports and of the package's rules stand for.
    names: BTreeMap<Str, Vec<Str>>,
    /// The names that were asked for.
    pub(in crate::tooling) used: RefCell<BTreeSet<Str>>,
}

/// Variables of one rule, body or closure.
#[derive(Clone, Default)]
pub(in crate::tooling) struct Frame<'m> {
    declared: BTreeSet<Str>,
    /// Variables that are another name for a term.
    aliases: BTreeMap<Str, &'m Term>,
    /// All variables outside of closures.
    mentioned: BTreeSet<Str>,
    /// The body that they stand in.
    pub(in crate::tooling) body: &'m [Expr],
    /// What `every` goes through, with the names that it gives.
    pub(in crate::tooling) every: Option<(&'m Term, BTreeSet<Str>)>,
}

/// Where something stands.
#[derive(Clone)]
pub(in crate::tooling) struct At<'p, 'm> {
    pub(in crate::tooling) project: &'p Project<'m>,
    pub(in crate::tooling) file: usize,
    pub(in crate::tooling) frames: Vec<Rc<Frame<'m>>>,
    /// Whether `with` puts another input in the place of the request.
    pub(in crate::tooling) input_replaced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tooling) enum Root {
    Input,
    Data,
    /// A variable.
    Local(Str),
}

/// A part of a path behind its root.
#[derive(Clone, Debug)]
pub(in crate::tooling) enum Part<'m> {
    Known(Value, Loc),
    Open(&'m Term),
}

/// Where a reference leads.
#[derive(Clone, Debug)]
pub(in crate::tooling) struct Path<'m> {
    pub(in crate::tooling) root: Root,
    pub(in crate::tooling) parts: Vec<Part<'m>>,
}

impl Path<'_> {
    /// The parts; `None` for those that are not known.
    pub(in crate::tooling) fn values(&self) -> Vec<Option<Value>> {
        let value =
            |part: &Part<'_>| if let Part::Known(value, _) = part { Some(value.clone()) } else { None };
        self.parts.iter().map(value).collect()
    }

    /// The parts before the first that is not known.
    pub(in crate::tooling) fn known(&self) -> Vec<Value> {
        self.values().into_iter().map_while(|value| value).collect()
    }
}

/// How deep and how often names are followed.
const DEPTH_MAX: usize = 16;
const FOLLOW_MAX: usize = 500;

impl<'m> Project<'m> {
    pub(in crate::tooling) fn of(modules: &'m [Module]) -> Self {
        let mut rules: BTreeMap<Vec<Str>, Vec<(usize, &'m Rule)>> = BTreeMap::new();
        let mut packages: BTreeMap<&[Str], BTreeSet<Str>> = BTreeMap::new();
        for (file, module) in modules.iter().enumerate() {
            for rule in &module.rules {
                let path = full_path(&module.package, rule);
                if let Some(first) = head_name(rule) {
                    packages.entry(&module.package).or_default().insert(first);
                }
                rules.entry(path).or_default().push((file, rule));
            }
        }
        let below_data = |rest: &[Str]| -> Vec<Str> {
            std::iter::once(Str::from("data")).chain(rest.iter().cloned()).collect()
        };
        let files = modules.iter().map(|module| {
            let mut names = BTreeMap::new();
            for name in packages.get(module.package.as_slice()).into_iter().flatten() {
                let path: Vec<Str> = module.package.iter().chain([name]).cloned().collect();
                names.insert(name.clone(), below_data(&path));
            }
            for import in module.imports.iter().filter(|import| !is_language(&import.path)) {
                if let Some(name) = import.alias.as_ref().or(import.path.last()) {
                    names.insert(name.clone(), import.path.clone());
                }
            }
            File { module, names, used: RefCell::default() }
        });
        let mut project = Self {
            files: files.collect(),
            rules,
            replaced: BTreeSet::new(),
            elsewhere: BTreeSet::new(),
            left: Cell::new(0),
        };
        let (replaced, elsewhere) = replaced::of(&project);
        (project.replaced, project.elsewhere) = (replaced, elsewhere);
        // Names that were followed on the way are not yet used.
        project.files.iter().for_each(|file| file.used.borrow_mut().clear());
        project
    }

    /// The rules at a path, above it and below it.
    pub(super) fn rules_about(&self, path: &[Str]) -> impl Iterator<Item = (usize, &'m Rule)> {
        let above = (2..path.len()).filter_map(|length| self.rules.get(path.get(..length)?));
        let below = self.rules.range(path.to_vec()..).take_while(|(name, _)| name.starts_with(path));
        let below: Vec<_> = below.map(|(_, rules)| rules).collect();
        above.chain(below).flatten().copied().collect::<Vec<_>>().into_iter()
    }

    /// A rule that is nothing but a name for a term: one definition without conditions.
    fn alias(&self, path: &[Str]) -> Option<(usize, &'m Term)> {
        if !self.replaced.is_empty()
            && (1..=path.len())
                .any(|length| path.get(..length).is_some_and(|part| self.replaced.contains(part)))
        {
            return None;
        }
        let [(file, rule)] = self.rules.get(path)?.as_slice() else { return None };
        let plain =
            !rule.default && rule.otherwise.is_none() && rule.head.args.is_none() && rule.head.key.is_none();
        let package = self.files.get(*file)?.module.package.len();
        let whole = package.saturating_add(rule.head.reference.len()).saturating_add(1) == path.len();
        if plain && whole && is_true(&rule.body) { Some((*file, rule.head.value.as_ref()?)) } else { None }
    }
}

/// Whether a path names the language itself: `future.keywords`, `rego.v1`.
pub(in crate::tooling) fn is_language(path: &[Str]) -> bool {
    path.first().is_some_and(|first| matches!(first.as_ref(), "future" | "rego"))
}

fn is_true(body: &Body) -> bool {
    body.iter().all(|expr| {
        let holds = matches!(&expr.kind, ExprKind::Term(term) if term.kind == TermKind::Bool(true));
        holds && !expr.negated && expr.with.is_empty()
    })
}

/// The name that a rule begins with.
pub(in crate::tooling) fn head_name(rule: &Rule) -> Option<Str> {
    match &rule.head.reference.first()?.kind {
        TermKind::Var(name) => Some(name.clone()),
        _ => None,
    }
}

fn full_path(package: &[Str], rule: &Rule) -> Vec<Str> {
    let mut path: Vec<Str> = std::iter::once(Str::from("data")).chain(package.iter().cloned()).collect();
    path.extend(head_name(rule));
    for part in rule.head.reference.iter().skip(1) {
        match &part.kind {
            TermKind::String(name) => path.push(name.clone()),
            _ => break,
        }
    }
    path
}

/// The variables of a term, without those of closures.
pub(in crate::tooling) fn variables(term: &Term, found: &mut BTreeSet<Str>) {
    match &term.kind {
        TermKind::Var(name) => {
            found.insert(name.clone());
        }
        TermKind::Array(items) | TermKind::Set(items) | TermKind::Ref(items) => {
            items.iter().for_each(|item| variables(item, found));
        }
        TermKind::Object(members) => {
            for (key, value) in members {
                variables(key, found);
                variables(value, found);
            }
        }
        TermKind::Call(call) => call.args.iter().for_each(|arg| variables(arg, found)),
        _ => {}
    }
}

impl<'m> Frame<'m> {
    pub(in crate::tooling) fn of_args(args: &'m [Term]) -> Self {
        let mut frame = Self::default();
        args.iter().for_each(|arg| variables(arg, &mut frame.declared));
        frame
    }

    /// What a body declares, and which of its variables only rename.
    pub(in crate::tooling) fn of_body(body: &'m [Expr]) -> Self {
        let mut frame = Self { body, ..Self::default() };
        for expr in body {
            mentioned(expr, &mut frame.mentioned);
            match &expr.kind {
                ExprKind::Some(names) => frame.declared.extend(names.iter().map(|(name, _)| name.clone())),
                ExprKind::SomeIn { key, value, .. } => {
                    key.iter().chain([value]).for_each(|term| variables(term, &mut frame.declared));
                }
                ExprKind::Call(call) => frame.call(expr, call),
                ExprKind::Term(_) | ExprKind::Every { .. } => {}
            }
        }
        frame
    }

    fn call(&mut self, expr: &Expr, call: &'m Call) {
        let (name, [left, right]) = (function(call), call.args.as_slice()) else { return };
        if name == "assign" {
            variables(left, &mut self.declared);
        }
        if matches!(name.as_str(), "assign" | "eq") && !expr.negated && expr.with.is_empty() {
            if let TermKind::Var(name) = &left.kind {
                self.aliases.entry(name.clone()).or_insert(right);
            } else if let (TermKind::Var(variable), "eq") = (&right.kind, name.as_str()) {
                self.aliases.entry(variable.clone()).or_insert(left);
            }
        }
    }

    /// Whether a variable stands in the body, closures left out.
    pub(in crate::tooling) fn mentions(&self, name: &Str) -> bool {
        self.mentioned.contains(name)
    }

    pub(in crate::tooling) fn of_every<'n>(
        domain: &'m Term,
        names: impl IntoIterator<Item = &'n Str>,
    ) -> Self {
        let declared: BTreeSet<Str> = names.into_iter().cloned().collect();
        Self { every: Some((domain, declared.clone())), declared, ..Self::default() }
    }
}

fn mentioned(expr: &Expr, found: &mut BTreeSet<Str>) {
    match &expr.kind {
        ExprKind::Term(term) => variables(term, found),
        ExprKind::Call(call) => call.args.iter().for_each(|arg| variables(arg, found)),
        ExprKind::Some(names) => found.extend(names.iter().map(|(name, _)| name.clone())),
        ExprKind::SomeIn { key, value, domain } => {
            key.iter().chain([value, domain]).for_each(|term| variables(term, found));
        }
        ExprKind::Every { domain, .. } => variables(domain, found),
    }
}

/// A function's full name.
pub(in crate::tooling) fn function(call: &Call) -> String {
    call.function.join(".")
}

impl<'p, 'm> At<'p, 'm> {
    pub(in crate::tooling) fn new(project: &'p Project<'m>, file: usize) -> Self {
        Self { project, file, frames: Vec::new(), input_replaced: false }
    }

    pub(in crate::tooling) fn inside(&self, frame: Frame<'m>) -> Self {
        let mut inner = self.clone();
        inner.frames.push(Rc::new(frame));
        inner
    }

    fn file(&self) -> Option<&'p File<'m>> {
        self.project.files.get(self.file)
    }

    fn is_local(&self, name: &Str) -> bool {
        self.frames.iter().any(|frame| frame.declared.contains(name))
    }

    /// Whether a name has its value from around the body at hand.
    pub(in crate::tooling) fn is_given(&self, name: &Str) -> bool {
        let around = if name.as_ref() == "_" { 0 } else { self.frames.len().saturating_sub(1) };
        self.frames
            .iter()
            .take(around)
            .any(|frame| frame.declared.contains(name) || frame.mentioned.contains(name))
    }

    /// What a name that no variable hides stands for.
    pub(in crate::tooling) fn global(&self, name: &Str) -> Option<&'p [Str]> {
        if self.is_local(name) {
            return None;
        }
        let file = self.file()?;
        let path = file.names.get(name)?;
        file.used.borrow_mut().insert(name.clone());
        Some(path)
    }

    /// The term that a variable is another name for.
    pub(in crate::tooling) fn renamed(&self, term: &Term) -> Option<&'m Term> {
        let TermKind::Var(name) = &term.kind else { return None };
        self.alias(name).filter(|_| self.global(name).is_none())
    }

    /// What a variable is another name for, unless one of the same name hides it.
    fn alias(&self, name: &Str) -> Option<&'m Term> {
        let known =
            |frame: &&Rc<Frame<'m>>| frame.declared.contains(name) || frame.aliases.contains_key(name);
        self.frames.iter().rev().find(known)?.aliases.get(name).copied()
    }

    /// Where a reference or a variable leads; `None` for any other term.
    pub(in crate::tooling) fn path(&self, term: &'m Term) -> Option<Path<'m>> {
        self.project.left.set(FOLLOW_MAX);
        self.follow(term, DEPTH_MAX)
    }

    /// One name more.
    fn step(&self, left: usize) -> Option<usize> {
        self.project.left.set(self.project.left.get().checked_sub(1)?);
        left.checked_sub(1)
    }

    fn follow(&self, term: &'m Term, left: usize) -> Option<Path<'m>> {
        let left = self.step(left)?;
        match &term.kind {
            TermKind::Var(name) => Some(self.name(name, term.loc, left)),
            TermKind::Ref(parts) => {
                let (first, rest) = parts.split_first()?;
                let TermKind::Var(name) = &first.kind else { return None };
                let mut path = self.name(name, first.loc, left);
                path.parts.extend(rest.iter().map(|part| match self.constant_by(part, left) {
                    Some(value) => Part::Known(value, part.loc),
                    None => Part::Open(part),
                }));
                Some(self.through_rules(path, left))
            }
            _ => None,
        }
    }

    fn name(&self, name: &Str, loc: Loc, left: usize) -> Path<'m> {
        if let Some(alias) = self.alias(name)
            && self.global(name).is_none()
            && let Some(path) = self.follow(alias, left)
        {
            return path;
        }
        let none = |root| Path { root, parts: Vec::new() };
        if self.is_local(name) {
            return none(Root::Local(name.clone()));
        }
        let whole = [name.clone()];
        let names: &[Str] = self.global(name).unwrap_or(&whole);
        let Some((first, rest)) = names.split_first() else { return none(Root::Local(name.clone())) };
        let root = match first.as_ref() {
            "input" => Root::Input,
            "data" => Root::Data,
            _ => Root::Local(name.clone()),
        };
        let parts = rest.iter().map(|part| Part::Known(Value::String(part.clone()), loc)).collect();
        self.through_rules(Path { root, parts }, left)
    }

    /// Goes on where a rule only names a term.
    fn through_rules(&self, path: Path<'m>, left: usize) -> Path<'m> {
        if path.root != Root::Data {
            return path;
        }
        let mut names = vec![Str::from("data")];
        for (index, part) in path.parts.iter().enumerate() {
            let Part::Known(Value::String(name), _) = part else { return path };
            names.push(name.clone());
            if let Some((file, term)) = self.project.alias(&names) {
                let Some(mut found) = At::new(self.project, file).follow(term, left) else { return path };
                found.parts.extend(path.parts.iter().skip(index.saturating_add(1)).cloned());
                return found;
            }
        }
        path
    }

    /// The value of a term that has one whatever is asked.
    pub(in crate::tooling) fn constant(&self, term: &'m Term) -> Option<Value> {
        self.project.left.set(FOLLOW_MAX);
        self.constant_by(term, DEPTH_MAX)
    }

    fn constant_by(&self, term: &'m Term, left: usize) -> Option<Value> {
        let left = self.step(left)?;
        if let Some(value) = term.constant() {
            return Some(value);
        }
        match &term.kind {
            TermKind::Var(name) => {
                if let Some(alias) = self.alias(name)
                    && self.global(name).is_none()
                {
                    return self.constant_by(alias, left);
                }
                self.constant_rule(self.global(name)?, left)
            }
            TermKind::Array(items) => Some(Value::Array(
                items.iter().map(|item| self.constant_by(item, left)).collect::<Option<_>>()?,
            )),
            TermKind::Set(items) => Some(Value::Set(
                items.iter().map(|item| self.constant_by(item, left)).collect::<Option<_>>()?,
            )),
            _ => None,
        }
    }

    fn constant_rule(&self, path: &[Str], left: usize) -> Option<Value> {
        let (file, term) = self.project.alias(path)?;
        At::new(self.project, file).constant_by(term, left)
    }

    /// A term in words, the same for all terms that have one value in one solution of a body; `None` where `_` makes
    /// each time another.
    pub(in crate::tooling) fn key(&self, term: &'m Term) -> Option<String> {
        self.project.left.set(FOLLOW_MAX);
        self.key_by(term, DEPTH_MAX)
    }

    fn key_by(&self, term: &'m Term, left: usize) -> Option<String> {
        let left = self.step(left)?;
        if let Some(value) = self.constant_by(term, left) {
            return Some(value.to_string());
        }
        match &term.kind {
            TermKind::Var(_) | TermKind::Ref(_) => {
                let path = self.follow(term, left)?;
                let mut text = match &path.root {
                    Root::Input => "input".to_owned(),
                    Root::Data => "data".to_owned(),
                    Root::Local(name) if name.as_ref() == "_" => return None,
                    Root::Local(name) => name.to_string(),
                };
                for part in &path.parts {
                    match part {
                        Part::Known(Value::String(name), _) if is_plain(name) => {
                            text.push_str(&format!(".{name}"));
                        }
                        Part::Known(value, _) => text.push_str(&format!("[{value}]")),
                        Part::Open(term) => text.push_str(&format!("[{}]", self.key_by(term, left)?)),
                    }
                }
                Some(text)
            }
            TermKind::Call(call) => {
                let args: Option<Vec<String>> = call.args.iter().map(|arg| self.key_by(arg, left)).collect();
                Some(format!("{}({})", function(call), args?.join(", ")))
            }
            _ => None,
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}
