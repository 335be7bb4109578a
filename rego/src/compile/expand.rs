//! Calls inside terms become expressions of their own, before the one that they stood in; templates become calls.
use super::build::{Names, append, call, equation, var};
use super::resolve::MOCK;
use super::tree::constant;
use super::vars::needs_evaluation;
use crate::Value;
use crate::ast::{Body, Expr, ExprKind, Loc, Rule, TemplatePart, Term, TermKind, With};

/// What the name of a variable tells that stands for a scalar which something is looked for in: to OPA there is no such
/// variable.
const SCALAR: &str = "#scalar";

/// Whether a variable is one of these.
pub(super) fn is_scalar(name: &str) -> bool {
    name.ends_with(SCALAR)
}

pub(crate) struct Expander<'a> {
    names: &'a mut Names,
}

impl<'a> Expander<'a> {
    pub(crate) fn new(names: &'a mut Names) -> Self {
        Self { names }
    }

    /// The rule's head comes to hold no calls, references or comprehensions: they move into its body.
    pub(crate) fn rule(&mut self, rule: &mut Rule) {
        let mut support = Vec::new();
        for parameter in rule.head.args.iter_mut().flatten() {
            self.term(parameter, &mut support);
        }
        for term in rule.head.reference.iter_mut().skip(1) {
            self.term(term, &mut support);
            self.name_evaluated(term, &mut support);
        }
        if let Some(key) = &mut rule.head.key {
            self.term(key, &mut support);
            self.name_evaluated(key, &mut support);
        }
        if let Some(value) = &mut rule.head.value {
            self.term(value, &mut support);
            self.name_evaluated(value, &mut support);
        }
        append(&mut rule.body, support);
        self.body(&mut rule.body);
        if let Some(otherwise) = &mut rule.otherwise {
            self.rule(otherwise);
        }
    }

    fn name_evaluated(&mut self, term: &mut Term, support: &mut Vec<Expr>) {
        if needs_evaluation(term) {
            let name = self.names.fresh();
            let loc = term.loc;
            let taken = std::mem::replace(term, var(&name, loc));
            support.push(equation(&name, taken, Vec::new()));
        }
    }

    pub(crate) fn body(&mut self, body: &mut Body) {
        let mut expanded = Vec::with_capacity(body.len());
        for expr in std::mem::take(body) {
            self.expr(expr, &mut expanded);
        }
        *body = expanded;
    }

    fn expr(&mut self, mut expr: Expr, out: &mut Vec<Expr>) {
        for with in &mut expr.with {
            self.term(&mut with.value, out);
        }
        for with in &mut expr.with {
            self.name_evaluated(&mut with.value, out);
        }
        let mut support = Vec::new();
        match &mut expr.kind {
            ExprKind::Term(term) => self.term(term, &mut support),
            ExprKind::Call(call) => {
                for argument in &mut call.args {
                    self.term(argument, &mut support);
                }
            }
            ExprKind::Every { domain, body, .. } => {
                let name = self.names.fresh();
                let loc = domain.loc;
                let taken = std::mem::replace(domain, var(&name, loc));
                self.expr(equation(&name, taken, Vec::new()), &mut support);
                self.body(body);
            }
            ExprKind::Some(_) | ExprKind::SomeIn { .. } => {}
        }
        under(&mut support, &expr.with);
        out.extend(support);
        out.push(expr);
    }

    fn term(&mut self, term: &mut Term, support: &mut Vec<Expr>) {
        let loc = term.loc;
        match &mut term.kind {
            TermKind::Call(call) if call.function.first().is_some_and(|first| first.as_ref() == MOCK) => {}
            TermKind::Call(call) => {
                for argument in &mut call.args {
                    self.term(argument, support);
                }
                let name = self.names.fresh();
                call.args.push(var(&name, loc));
                let kind = ExprKind::Call((**call).clone());
                support.push(Expr { kind, negated: false, with: Vec::new(), loc });
                *term = var(&name, loc);
            }
            TermKind::Ref(parts) => self.reference(parts, support),
            TermKind::Array(items) | TermKind::Set(items) => {
                items.iter_mut().for_each(|item| self.term(item, support));
            }
            TermKind::Object(members) => {
                for (key, value) in members {
                    self.term(key, support);
                    self.term(value, support);
                }
            }
            TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
                self.comprehension(&mut [head], body);
            }
            TermKind::ObjectComprehension(key, value, body) => self.comprehension(&mut [key, value], body),
            TermKind::Template(parts) => {
                *term = self.template(std::mem::take(parts), loc);
                self.term(term, support);
            }
            _ => {}
        }
    }

    fn comprehension(&mut self, heads: &mut [&mut Term], body: &mut Body) {
        for head in heads {
            let mut support = Vec::new();
            self.term(head, &mut support);
            self.name_evaluated(head, &mut support);
            append(body, support);
        }
        self.body(body);
    }

    /// A reference into something that is no variable goes by way of one.
    fn reference(&mut self, parts: &mut [Term], support: &mut Vec<Expr>) {
        parts.iter_mut().for_each(|part| self.term(part, support));
        if let Some(first) = parts.first_mut()
            && !matches!(first.kind, TermKind::Var(_))
        {
            let is_scalar = matches!(constant(first), Some(value) if !matches!(value, Value::Array(_) | Value::Object(_) | Value::Set(_)));
            let name = if is_scalar { self.names.fresh_for(SCALAR) } else { self.names.fresh() };
            let loc = first.loc;
            let taken = std::mem::replace(first, var(&name, loc));
            support.push(equation(&name, taken, Vec::new()));
        }
    }

    /// The set of a term's values.
    fn values_of(&mut self, term: Term, with: Vec<With>) -> Term {
        let loc = term.loc;
        let name = self.names.fresh();
        let body = vec![equation(&name, term, with)];
        Term { kind: TermKind::SetComprehension(Box::new(var(&name, loc)), body), loc }
    }

    /// Each term of a template becomes the set of its values, so that one that is undefined leaves the rest standing.
    fn template(&mut self, parts: Vec<TemplatePart>, loc: Loc) -> Term {
        let mut items = Vec::with_capacity(parts.len());
        for part in parts {
            items.push(match part {
                TemplatePart::Text(text) => Term { kind: TermKind::String(text), loc },
                TemplatePart::Term(term) if matches!(term.kind, TermKind::Var(_)) => {
                    Term { loc: term.loc, kind: TermKind::Set(vec![term]) }
                }
                TemplatePart::Term(term) => self.values_of(term, Vec::new()),
                TemplatePart::With(term, with) => self.values_of(term, with),
            });
        }
        if items.is_empty() {
            items.push(Term { kind: TermKind::String("".into()), loc });
        }
        let array = Term { kind: TermKind::Array(items), loc };
        let kind = TermKind::Call(Box::new(call("internal.template_string", vec![array], loc)));
        Term { kind, loc }
    }
}

/// What was taken out of an expression is evaluated under the expression's modifiers.
fn under(support: &mut [Expr], with: &[With]) {
    if !with.is_empty() {
        support.iter_mut().for_each(|expr| expr.with = with.to_vec());
    }
}
