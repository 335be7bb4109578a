//! References and comprehensions inside other terms are evaluated before the expression that they stand in, outside of
//! its negation: `not data.blocked[input.user]` is undefined where `input.user` is.
use super::build::{Names, equation, is_equation, is_fresh, var};
use super::tree::constant;
use crate::Value;
use crate::ast::{Body, Expr, ExprKind, Str, Term, TermKind};

pub(crate) struct Hoister<'a> {
    names: &'a mut Names,
}

impl<'a> Hoister<'a> {
    pub(crate) fn new(names: &'a mut Names) -> Self {
        Self { names }
    }

    pub(crate) fn body(&mut self, body: &mut Body) {
        let mut hoisted = Vec::with_capacity(body.len());
        for mut expr in std::mem::take(body) {
            self.expr(&mut expr, &mut hoisted);
            hoisted.push(expr);
        }
        *body = hoisted;
    }

    fn expr(&mut self, expr: &mut Expr, out: &mut Vec<Expr>) {
        // The values of modifiers are evaluated before, and without them.
        for with in &mut expr.with {
            self.whole(&mut with.value, out);
        }
        let first = out.len();
        match &mut expr.kind {
            ExprKind::Call(call) => {
                if let [name] = call.function.as_mut_slice()
                    && name.as_ref() == "equal"
                    && call.args.len() == 2
                {
                    *name = Str::from("eq");
                }
                let shallow = is_equation(call);
                for argument in &mut call.args {
                    if shallow {
                        self.inside(argument, out);
                    } else {
                        self.whole(argument, out);
                    }
                }
            }
            ExprKind::Every { domain, body, .. } => {
                self.whole(domain, out);
                self.body(body);
            }
            ExprKind::Term(term) => self.inside(term, out),
            ExprKind::Some(_) | ExprKind::SomeIn { .. } => {}
        }
        for made in out.iter_mut().skip(first) {
            made.with.clone_from(&expr.with);
        }
    }

    /// Of a reference only what stands in its brackets moves; the reference itself stays.
    fn inside(&mut self, term: &mut Term, out: &mut Vec<Expr>) {
        match &mut term.kind {
            TermKind::Ref(parts) => parts.iter_mut().skip(1).for_each(|part| self.whole(part, out)),
            TermKind::ArrayComprehension(_, body)
            | TermKind::SetComprehension(_, body)
            | TermKind::ObjectComprehension(_, _, body) => self.body(body),
            // `input` and `data` are references, too.
            TermKind::Var(_) => {}
            _ => self.whole(term, out),
        }
    }

    fn whole(&mut self, term: &mut Term, out: &mut Vec<Expr>) {
        if constant(term).is_some() {
            return;
        }
        match &mut term.kind {
            TermKind::Var(name) if matches!(name.as_ref(), "input" | "data") => self.take(term, out),
            TermKind::Ref(parts) => {
                parts.iter_mut().skip(1).for_each(|part| self.whole(part, out));
                self.take(term, out);
            }
            TermKind::ArrayComprehension(_, body)
            | TermKind::SetComprehension(_, body)
            | TermKind::ObjectComprehension(_, _, body) => {
                self.body(body);
                self.take(term, out);
            }
            TermKind::Array(items) => items.iter_mut().for_each(|item| self.whole(item, out)),
            TermKind::Set(items) => {
                items.sort_by_cached_key(Order::of);
                items.iter_mut().for_each(|item| self.whole(item, out));
            }
            TermKind::Object(members) => {
                members.sort_by_cached_key(|(key, _)| Order::of(key));
                for (key, value) in members {
                    self.whole(key, out);
                    self.whole(value, out);
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, term: &mut Term, out: &mut Vec<Expr>) {
        let name = self.names.fresh();
        let loc = term.loc;
        let taken = std::mem::replace(term, var(&name, loc));
        out.push(equation(&name, taken, Vec::new()));
    }
}

/// Where a term stands among the elements of a set, or the keys of an object, to OPA: it looks at them in this order, and of
/// keys that turn out to be equal the last one counts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Scalar(Value),
    Var(Option<Str>),
    Ref(Vec<Order>),
    Array(Vec<Order>),
    Object(Vec<(Order, Order)>),
    Set(Vec<Order>),
    ArrayComprehension,
    ObjectComprehension,
    SetComprehension,
    Other,
}

impl Order {
    fn of(term: &Term) -> Self {
        let all = |terms: &[Term]| terms.iter().map(Self::of).collect::<Vec<_>>();
        match &term.kind {
            // Names that we have made say nothing, and come before those of the source.
            TermKind::Var(name) => Self::Var((!is_fresh(name)).then(|| name.clone())),
            TermKind::Ref(parts) => Self::Ref(all(parts)),
            TermKind::Array(items) => Self::Array(all(items)),
            TermKind::Object(members) => {
                let mut members: Vec<_> =
                    members.iter().map(|(key, value)| (Self::of(key), Self::of(value))).collect();
                members.sort();
                Self::Object(members)
            }
            TermKind::Set(items) => {
                let mut items = all(items);
                items.sort();
                Self::Set(items)
            }
            TermKind::ArrayComprehension(..) => Self::ArrayComprehension,
            TermKind::ObjectComprehension(..) => Self::ObjectComprehension,
            TermKind::SetComprehension(..) => Self::SetComprehension,
            _ => constant(term).map_or(Self::Other, Self::Scalar),
        }
    }
}
