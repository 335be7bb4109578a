//! From rewritten syntax to the compiled form: variables become slots, references find their rules.
use super::build::is_equation;
use super::error::CompileError;
use super::print::PRINT;
use super::resolve::MOCK;
use super::test_rules::CASE;
use super::tree::constant;
use super::vars::Vars;
use crate::Value;
use crate::ast::{Body, Call, Expr, ExprKind, Loc, Rule, Str, Term, TermKind, With};
use crate::builtins;
use crate::ir::{
    Change, Comprehension, ComprehensionKind, Definition, GroupId, GroupKind, Mocked, Node, Operand, RefHead,
    Reference, Replacement, Stmt, StmtKind, Target, Told,
};
use std::collections::BTreeMap;

/// Whether two keys of an object are the same constant, or the same term but for its place.
pub(crate) fn same_key(a: &Term, b: &Term) -> bool {
    use TermKind::{Array, Call, Ref, Set, Var};
    let all = |a: &[Term], b: &[Term]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_key(a, b));
    match (&a.kind, &b.kind) {
        (Var(a), Var(b)) => a == b,
        (Call(a), Call(b)) => a.function == b.function && all(&a.args, &b.args),
        (Ref(a), Ref(b)) | (Array(a), Array(b)) | (Set(a), Set(b)) if constant_free(a, b) => all(a, b),
        _ => constant(a).is_some_and(|a| constant(b) == Some(a)),
    }
}

/// Whether neither is made of constants alone: order means nothing among those of a set.
fn constant_free(a: &[Term], b: &[Term]) -> bool {
    [a, b].iter().any(|terms| terms.iter().any(|term| constant(term).is_none()))
}

/// What lowering needs to know of the whole set.
pub(crate) struct Known<'a> {
    pub(crate) root: &'a Node,
    pub(crate) kinds: &'a [GroupKind],
}

impl Known<'_> {
    /// The group that constant parts of a path below `data` lead to, and how many of them name it.
    pub(crate) fn group(&self, path: &[Value]) -> Option<(GroupId, usize)> {
        let mut node = self.root;
        for (index, part) in path.iter().enumerate() {
            node = node.children.get(part)?;
            if let Some(group) = node.group {
                return Some((group, index.saturating_add(1)));
            }
        }
        None
    }

    /// Whether constant parts of a path lead to where no rule and no package stands, nor below it.
    pub(crate) fn leaves_the_rules(&self, path: &[Value]) -> bool {
        let mut node = self.root;
        for part in path {
            match node.children.get(part) {
                Some(child) => node = child,
                None => return true,
            }
        }
        false
    }

    /// The function of a full name `data.…`.
    pub(crate) fn function(&self, name: &[Str]) -> Option<(GroupId, usize)> {
        let (first, rest) = name.split_first()?;
        if first.as_ref() != "data" {
            return None;
        }
        let path: Vec<Value> = rest.iter().map(|part| Value::String(part.clone())).collect();
        let (group, consumed) = self.group(&path)?;
        match self.kinds.get(group) {
            Some(GroupKind::Function(arity)) if consumed == path.len() => Some((group, *arity)),
            _ => None,
        }
    }

    /// The rule of a full name `data.…` that is no function.
    pub(crate) fn rule(&self, name: &[Str]) -> Option<GroupId> {
        let (first, rest) = name.split_first()?;
        let path: Vec<Value> = rest.iter().map(|part| Value::String(part.clone())).collect();
        let (group, consumed) = self.group(&path).filter(|_| first.as_ref() == "data")?;
        let function = matches!(self.kinds.get(group), Some(GroupKind::Function(_)) | None);
        if function || consumed != path.len() { None } else { Some(group) }
    }

    /// How many arguments the function of a call takes.
    pub(crate) fn arity(&self, call: &Call) -> Option<usize> {
        if is_equation(call) {
            return Some(2);
        }
        self.arity_of(&call.function)
    }

    fn arity_of(&self, name: &[Str]) -> Option<usize> {
        if let Some((_, arity)) = self.function(name) {
            return Some(arity);
        }
        let name = name.join(".");
        if matches!(name.as_str(), "walk" | PRINT | CASE) {
            Some(1)
        } else {
            builtins::lookup(&name).map(|builtin| builtin.arity)
        }
    }
}

/// Lowers one rule or query.
pub(crate) struct Lowerer<'a> {
    known: &'a Known<'a>,
    slots: BTreeMap<Str, u32>,
    places: &'a mut Vec<Loc>,
}

type Lowered<T> = Result<T, CompileError>;

impl<'a> Lowerer<'a> {
    pub(crate) fn new(known: &'a Known<'a>, places: &'a mut Vec<Loc>) -> Self {
        Self { known, slots: BTreeMap::new(), places }
    }

    pub(crate) fn slot(&mut self, name: &Str) -> u32 {
        let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        *self.slots.entry(name.clone()).or_insert(next)
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// `depth`: how many parts of the head's reference the group's path has.
    pub(crate) fn definition(mut self, rule: &Rule, depth: usize) -> Lowered<Definition> {
        let otherwise = match &rule.otherwise {
            Some(rule) => {
                let inner = Lowerer::new(self.known, self.places);
                Some(Box::new(inner.definition(rule, depth)?))
            }
            None => None,
        };
        let parameters = self.operands(rule.head.args.as_deref().unwrap_or_default())?;
        let tail = self.operands(rule.head.reference.get(depth..).unwrap_or_default())?;
        let body = self.body(&rule.body)?;
        let key = rule.head.key.as_ref().map(|key| self.operand(key)).transpose()?;
        let value = match &rule.head.value {
            Some(value) => self.operand(value)?,
            None => Operand::Const(Value::Bool(true)),
        };
        let head = rule.head.loc;
        let number = self.number(head);
        let (slots, loc) = (self.slots(), rule.loc);
        let mut names = vec![Str::from(""); slots];
        for (name, slot) in self.slots {
            if let Some(place) = usize::try_from(slot).ok().and_then(|slot| names.get_mut(slot)) {
                *place = name;
            }
        }
        let names = names.into();
        Ok(Definition { tail, parameters, key, value, body, slots, otherwise, loc, head, number, names })
    }

    pub(crate) fn body(&mut self, body: &Body) -> Lowered<Box<[Stmt]>> {
        body.iter().map(|expr| self.expr(expr)).collect()
    }

    fn number(&mut self, loc: Loc) -> u32 {
        let number = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(loc);
        number
    }

    fn expr(&mut self, expr: &Expr) -> Lowered<Stmt> {
        let number = self.number(expr.loc);
        let kind = match &expr.kind {
            ExprKind::Term(term) => StmtKind::Holds(self.operand(term)?),
            ExprKind::Call(call) => self.call(call)?,
            ExprKind::Every { key, value, domain, body } => {
                let domain = self.operand(domain)?;
                let key = match key {
                    Some((name, _)) => self.slot(name),
                    None => self.slot(&Str::from("#key")),
                };
                StmtKind::Every { key, value: self.slot(&value.0), domain, body: self.body(body)? }
            }
            ExprKind::Some(_) | ExprKind::SomeIn { .. } => {
                return Err(CompileError::new(expr.loc, "the declaration was not resolved"));
            }
        };
        let mut stmt = Stmt { kind, loc: expr.loc, number };
        if expr.negated {
            stmt = Stmt { kind: StmtKind::Not(Box::new(stmt)), loc: expr.loc, number };
        }
        if !expr.with.is_empty() {
            let changes = expr.with.iter().map(|with| self.change(with)).collect::<Lowered<_>>()?;
            stmt = Stmt { kind: StmtKind::With { changes, inner: Box::new(stmt) }, loc: expr.loc, number };
        }
        Ok(stmt)
    }

    fn call(&mut self, call: &Call) -> Lowered<StmtKind> {
        if is_equation(call) {
            let [left, right] = call.args.as_slice() else {
                return Err(CompileError::of_type(call.loc, "an equation has two sides"));
            };
            return Ok(StmtKind::Unify(self.operand(left)?, self.operand(right)?));
        }
        let (target, arity) = self.target(&call.function, call.loc)?;
        let args = self.operands(call.args.get(..arity).unwrap_or_default())?;
        let extra = call.args.get(arity..).unwrap_or_default();
        let output = match extra {
            [] if args.len() == arity => None,
            [output] => Some(self.operand(output)?),
            _ => {
                let name = call.function.join(".");
                let got = call.args.len();
                return Err(CompileError::of_type(
                    call.loc,
                    format!("{name}: takes {arity} arguments, got {got}"),
                ));
            }
        };
        Ok(StmtKind::Call { target, args, output })
    }

    fn target(&self, name: &[Str], loc: Loc) -> Lowered<(Target, usize)> {
        if let Some((group, arity)) = self.known.function(name) {
            return Ok((Target::Function(group), arity));
        }
        let text = name.join(".");
        match text.as_str() {
            "walk" => return Ok((Target::Walk, 1)),
            PRINT => return Ok((Target::Tell(Told::Print), 1)),
            CASE => return Ok((Target::Tell(Told::Case), 1)),
            _ => {}
        }
        match builtins::lookup(&text) {
            Some(builtin) => Ok((Target::Builtin(builtin), builtin.arity)),
            None => Err(CompileError::of_type(loc, format!("undefined function {text}"))),
        }
    }

    fn change(&mut self, with: &With) -> Lowered<Change> {
        let values = |names: &[Str]| names.iter().map(|name| Value::String(name.clone())).collect();
        let replacement = match &with.value.kind {
            TermKind::Call(call) if call.function.first().is_some_and(|first| first.as_ref() == MOCK) => {
                let name = call.function.get(1..).unwrap_or_default();
                match self.known.rule(name) {
                    Some(group) => Replacement::Rule(group),
                    None => Replacement::Function(self.target(name, call.loc)?.0),
                }
            }
            _ => Replacement::Value(self.operand(&with.value)?),
        };
        let mocked = match self.known.function(&with.target) {
            Some((group, _)) => Some(Mocked::Function(group)),
            None => {
                let name = with.target.join(".");
                builtins::lookup(&name).map(|builtin| Mocked::Builtin(builtin.name))
            }
        };
        if let Some(mocked) = mocked {
            return Ok(Change::Mock(mocked, replacement));
        }
        let Replacement::Value(value) = replacement else {
            return Err(replaces_data(with));
        };
        match with.target.split_first() {
            Some((first, rest)) if first.as_ref() == "input" => Ok(Change::Input(values(rest), value)),
            Some((first, rest)) if first.as_ref() == "data" => {
                let path: Box<[Value]> = values(rest);
                match self.known.group(&path) {
                    Some((_, consumed)) if consumed < path.len() => {
                        let what = "a part of a rule's value cannot be replaced; replace the rule";
                        Err(CompileError::new(with.loc, what))
                    }
                    _ => Ok(Change::Data(path, value)),
                }
            }
            _ => Err(CompileError::of_type(
                with.loc,
                "with keyword target must reference existing input, data, or a function",
            )),
        }
    }

    pub(crate) fn operands(&mut self, terms: &[Term]) -> Lowered<Box<[Operand]>> {
        terms.iter().map(|term| self.operand(term)).collect()
    }

    pub(crate) fn operand(&mut self, term: &Term) -> Lowered<Operand> {
        if let Some(value) = constant(term) {
            return Ok(Operand::Const(value));
        }
        Ok(match &term.kind {
            TermKind::Var(name) => match name.as_ref() {
                "input" | "data" => self.reference(std::slice::from_ref(term), term.loc)?,
                _ => Operand::Slot(self.slot(name)),
            },
            TermKind::Array(items) => Operand::Array(self.operands(items)?),
            TermKind::Set(items) => Operand::Set(self.operands(items)?),
            TermKind::Object(members) => {
                let lowered =
                    members.iter().map(|(key, value)| Ok((self.operand(key)?, self.operand(value)?)));
                Operand::Object(lowered.collect::<Lowered<_>>()?)
            }
            TermKind::Ref(parts) => self.reference(parts, term.loc)?,
            TermKind::ArrayComprehension(head, body) => {
                self.comprehension(ComprehensionKind::Array, None, head, body)?
            }
            TermKind::SetComprehension(head, body) => {
                self.comprehension(ComprehensionKind::Set, None, head, body)?
            }
            TermKind::ObjectComprehension(key, value, body) => {
                self.comprehension(ComprehensionKind::Object, Some(key), value, body)?
            }
            _ => return Err(CompileError::new(term.loc, "a call stands where none can be")),
        })
    }

    fn comprehension(
        &mut self,
        kind: ComprehensionKind,
        key: Option<&Term>,
        value: &Term,
        body: &Body,
    ) -> Lowered<Operand> {
        let body = self.body(body)?;
        let key = key.map(|key| self.operand(key)).transpose()?;
        let value = self.operand(value)?;
        Ok(Operand::Comprehension(Box::new(Comprehension { kind, key, value, body })))
    }

    fn reference(&mut self, parts: &[Term], loc: Loc) -> Lowered<Operand> {
        let Some((first, rest)) = parts.split_first() else {
            return Err(CompileError::new(loc, "an empty reference"));
        };
        let TermKind::Var(name) = &first.kind else {
            return Err(CompileError::new(loc, "a reference begins with a variable"));
        };
        let path = self.operands(rest)?;
        let head = match name.as_ref() {
            "input" => RefHead::Input,
            "data" => {
                let constants: Vec<Value> = path
                    .iter()
                    .map_while(
                        |part| if let Operand::Const(value) = part { Some(value.clone()) } else { None },
                    )
                    .collect();
                match self.known.group(&constants) {
                    Some((group, consumed)) => RefHead::Group(group, consumed),
                    None if self.known.leaves_the_rules(&constants) => RefHead::Base,
                    None => RefHead::Data,
                }
            }
            _ => RefHead::Slot(self.slot(name)),
        };
        Ok(Operand::Ref(Box::new(Reference { head, path, loc })))
    }
}

/// A function in the place of a document. The name of a builtin is a variable there to OPA, which nothing gives a value.
fn replaces_data(with: &With) -> CompileError {
    if let TermKind::Call(call) = &with.value.kind
        && let Some(name) = call.function.get(1).filter(|name| name.as_ref() != "data")
    {
        return CompileError::unsafe_var(with.value.loc, name);
    }
    CompileError::of_type(with.loc, "a function replaces functions only")
}

/// The variables that are bound before every body.
pub(crate) fn roots() -> Vars {
    [Str::from("input"), Str::from("data")].into_iter().collect()
}
