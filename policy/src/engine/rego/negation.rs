//! Negation over undefined, as OPA means it.
//!
//! OPA's compiler moves dynamic operands out of a negated expression: `not data.blocked[input.user]` means
//! `x = input.user; not data.blocked[x]`, which is undefined when there is no user. The engine here evaluates the
//! expression as it stands, finds it undefined, and says true: an allow where OPA denies. So the source is rewritten
//! before the engine sees it: each such statement `not E` becomes
//! `[1 | g0 = operand; not E] != []`, which holds only if every operand that OPA would move out is defined.
//! The rewritten text stays on its line, so that errors keep naming it.
use super::ast::{Chain, Node, Selector, own_variables, variable, walk_expr, walk_module, walk_rule};
use super::scope::Scope;
use regorus::unstable::{AssignOp, BoolOp, Expr, Literal, Module, Ref};
use std::collections::BTreeMap;

/// Why a negation cannot be rewritten.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) line: u32,
    pub(super) what: &'static str,
}

/// Refuses variables that are declared with `some` and then only negated: nothing gives them a value. OPA calls them
/// unsafe; the engine would try them as they are.
pub(super) fn refuse_unbound(module: &Module) -> Result<(), Unfit> {
    for rule in &module.policy {
        let mut declared: Vec<(&str, u32)> = Vec::new();
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        let mut negated: BTreeMap<&str, usize> = BTreeMap::new();
        walk_rule(rule, &mut |node| match node {
            Node::Chain(chain) => {
                if let Some(name) = chain.root() {
                    *uses.entry(name).or_default() += 1;
                }
            }
            Node::Call { .. } => {}
            Node::Statement(statement) => match &statement.literal {
                Literal::SomeVars { vars, .. } => {
                    declared.extend(vars.iter().map(|var| (var.text(), var.line)));
                }
                Literal::NotExpr { expr, .. } => {
                    for name in own_variables(expr) {
                        *negated.entry(name).or_default() += 1;
                    }
                }
                Literal::SomeIn { .. } | Literal::Expr { .. } | Literal::Every { .. } => {}
            },
        });
        for (name, line) in declared {
            if negated.get(name).is_some_and(|count| uses.get(name) == Some(count)) {
                return Err(Unfit { line, what: "a variable is declared with `some` and then only negated" });
            }
        }
    }
    Ok(())
}

/// The source with its negations guarded; `None` if nothing had to change.
pub(super) fn guarded(source: &str, module: &Module, scope: &Scope) -> Result<Option<String>, Unfit> {
    let mut negations = Vec::new();
    walk_module(module, &mut |node| {
        if let Node::Statement(statement) = node
            && let Literal::NotExpr { span, expr } = &statement.literal
        {
            negations.push((span, expr));
        }
    });
    let starts: Vec<u32> = negations.iter().map(|(span, _)| span.start).collect();
    let mut inserts: Vec<(usize, String)> = Vec::new();
    for (number, (span, expr)) in negations.into_iter().enumerate() {
        let mut operands = Operands { scope, found: Vec::new(), wildcard: false };
        operands.outer(expr);
        if operands.found.is_empty() {
            continue;
        }
        let unfit = |what| Unfit { line: span.line, what };
        if operands.wildcard {
            return Err(unfit("a negated expression iterates with `_` inside an operand"));
        }
        let mut prefix = String::from("[1 | ");
        for (index, operand) in operands.found.iter().enumerate() {
            let inner = operand.span();
            let has_negation = starts.iter().any(|start| (inner.start..inner.end).contains(start));
            let text = inner.text();
            if has_negation || text.contains('#') {
                return Err(unfit("an operand of a negated expression is itself too involved"));
            }
            let text = text.replace(['\n', '\r'], " ");
            prefix.push_str(&format!("postern_defined_{number}_{index} = {text}; "));
        }
        let (Ok(start), Ok(end)) = (usize::try_from(span.start), usize::try_from(span.end)) else {
            return Err(unfit("the source is too long"));
        };
        // The span of a literal that ends in a string stops before the closing quote.
        let quote = source.as_bytes().get(end).is_some_and(|b| matches!(b, b'"' | b'`'));
        inserts.push((start, prefix));
        inserts.push((end.saturating_add(usize::from(quote)), "] != []".to_owned()));
    }
    if inserts.is_empty() {
        return Ok(None);
    }
    inserts.sort_by_key(|(at, _)| *at);
    Ok(Some(spliced(source, &inserts)))
}

fn spliced(source: &str, inserts: &[(usize, String)]) -> String {
    let mut text = String::with_capacity(source.len().saturating_add(inserts.len().saturating_mul(48)));
    let mut done = 0;
    for (at, insert) in inserts {
        text.push_str(source.get(done..*at).unwrap_or(""));
        text.push_str(insert);
        done = *at;
    }
    text.push_str(source.get(done..).unwrap_or(""));
    text
}

/// Collects the operands that OPA moves out of a negated expression.
struct Operands<'m, 's> {
    scope: &'s Scope,
    found: Vec<&'m Expr>,
    wildcard: bool,
}

impl<'m> Operands<'m, '_> {
    /// The negated expression itself: a plain reference or equality may be undefined, its dynamic parts may not.
    fn outer(&mut self, expr: &'m Expr) {
        match expr {
            Expr::RefDot { .. } | Expr::RefBrack { .. } => self.within(expr),
            Expr::Call { params, .. } => self.all(params),
            Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. }
            | Expr::AssignExpr { op: AssignOp::Eq | AssignOp::ColEq, lhs, rhs, .. } => {
                self.side(lhs);
                self.side(rhs);
            }
            Expr::Var { .. } => {}
            // In the rest nothing stays in place: OPA moves out of it what it moves out of any operand.
            Expr::BoolExpr { op: BoolOp::Lt | BoolOp::Le | BoolOp::Ge | BoolOp::Gt | BoolOp::Ne, .. }
            | Expr::ArithExpr { .. }
            | Expr::BinExpr { .. }
            | Expr::Membership { .. }
            | Expr::UnaryExpr { .. }
            | Expr::Array { .. }
            | Expr::Set { .. }
            | Expr::Object { .. }
            | Expr::ArrayCompr { .. }
            | Expr::SetCompr { .. }
            | Expr::ObjectCompr { .. }
            | Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => self.operand(expr),
        }
    }

    /// One side of an equality: OPA leaves a reference there in place.
    fn side(&mut self, expr: &'m Expr) {
        if matches!(expr, Expr::RefDot { .. } | Expr::RefBrack { .. }) {
            self.within(expr);
        } else if variable(expr).is_none() {
            self.operand(expr);
        }
    }

    fn all(&mut self, params: &'m [Ref<Expr>]) {
        for param in params {
            self.operand(param);
        }
    }

    /// The dynamic parts of a reference.
    fn within(&mut self, expr: &'m Expr) {
        let chain = Chain::of(expr);
        if chain.root().is_none() {
            self.operand(chain.base);
        }
        for selector in chain.selectors {
            if let Selector::Dynamic(index) = selector
                && variable(index) != Some("_")
            {
                self.operand(index);
            }
        }
    }

    /// Something that OPA computes before the negation.
    fn operand(&mut self, expr: &'m Expr) {
        match expr {
            Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                self.within(expr);
                self.found(expr);
            }
            Expr::Call { params, .. } => {
                self.all(params);
                self.found(expr);
            }
            Expr::Var { span, .. } => {
                let name = span.text();
                if self.scope.rules.contains(name) || self.scope.imports.contains_key(name) {
                    self.found.push(expr);
                }
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => self.all(items),
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.operand(key);
                    self.operand(value);
                }
            }
            Expr::UnaryExpr { expr, .. } => self.operand(expr),
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => {
                self.operand(lhs);
                self.operand(rhs);
            }
            Expr::Membership { key, value, collection, .. } => {
                if let Some(key) = key {
                    self.operand(key);
                }
                self.operand(value);
                self.operand(collection);
            }
            Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => {}
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => {}
        }
    }

    fn found(&mut self, expr: &'m Expr) {
        walk_expr(expr, &mut |node| {
            if let Node::Chain(chain) = node {
                self.wildcard |= chain.root() == Some("_");
            }
        });
        self.found.push(expr);
    }
}
