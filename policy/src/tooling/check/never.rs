//! Conditions that cannot hold, by the constants in them and by what the fields of the input can be.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of terms and values are of concern; one that is added is not until it is"
)]
use super::codes::{CONSTANT_FALSE, CONTRADICTION, NEVER_EQUAL};
use super::scope::{At, Root, function};
use super::shape::{self, Shape};
use super::walk::Visit;
use super::{Found, Gather, input};
use postern_rego::Value;
use postern_rego::ast::{Body, Call, Expr, ExprKind, Loc, Term, TermKind};
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Never<'g> {
    pub(super) found: &'g mut Gather,
}

/// What a term may be by the conditions so far.
#[derive(Default)]
struct Domain {
    among: Option<BTreeSet<Value>>,
    not: BTreeSet<Value>,
    impossible: bool,
}

type Domains = BTreeMap<String, Domain>;

impl<'m> Visit<'m> for Never<'_> {
    fn body(&mut self, at: &At<'_, 'm>, body: &'m Body) {
        let mut domains = Domains::new();
        for expr in body.iter().filter(|expr| expr.with.is_empty()) {
            match &expr.kind {
                ExprKind::Term(term) => self.term(expr, term),
                ExprKind::Call(call) => self.condition(at, (expr, call), &mut domains),
                ExprKind::SomeIn { key: None, value, domain } => {
                    if let (TermKind::Var(_), Some(values)) =
                        (&value.kind, at.constant(domain).and_then(items))
                    {
                        self.restrict(at, value, (values, expr.loc), &mut domains);
                    }
                }
                ExprKind::Some(_) | ExprKind::SomeIn { .. } | ExprKind::Every { .. } => {}
            }
        }
    }
}

impl Never<'_> {
    fn term(&mut self, expr: &Expr, term: &Term) {
        if term.kind == TermKind::Bool(expr.negated) {
            let what = format!("`{}` never holds", if expr.negated { "not true" } else { "false" });
            self.found.push(&CONSTANT_FALSE, expr.loc, Found::plain(what, &CONSTANT_FALSE));
        }
    }

    fn condition<'m>(&mut self, at: &At<'_, 'm>, (expr, call): (&'m Expr, &'m Call), domains: &mut Domains) {
        let [left, right] = call.args.as_slice() else { return };
        let name = function(call);
        let known = (at.constant(left), at.constant(right));
        match (name.as_str(), known) {
            ("eq" | "equal" | "neq" | "lt" | "lte" | "gt" | "gte", (Some(a), Some(b)))
                if compare(&name, &a, &b) == expr.negated =>
            {
                let what = format!("`{a}` and `{b}` are constants, and the comparison never holds");
                self.found.push(&CONSTANT_FALSE, call.loc, Found::plain(what, &CONSTANT_FALSE));
            }
            ("eq" | "equal" | "neq", (None, Some(value))) => {
                self.compared(at, (left, (name == "neq") != expr.negated), (vec![value], call.loc), domains);
            }
            ("eq" | "equal" | "neq", (Some(value), None)) => {
                self.compared(at, (right, (name == "neq") != expr.negated), (vec![value], call.loc), domains);
            }
            ("internal.member_2", (None, Some(among))) => {
                if let Some(values) = items(among) {
                    self.compared(at, (left, expr.negated), (values, call.loc), domains);
                }
            }
            _ => {}
        }
    }

    fn compared<'m>(
        &mut self,
        at: &At<'_, 'm>,
        (term, differs): (&'m Term, bool),
        (values, loc): (Vec<Value>, Loc),
        domains: &mut Domains,
    ) {
        if differs {
            let Some(key) = at.key(term) else { return };
            domains.entry(key.clone()).or_default().not.extend(values);
            return self.judge(&key, loc, domains);
        }
        if let Some(mend) = never(at, term, &values) {
            let shown: Vec<String> = values.iter().map(ToString::to_string).collect();
            let name = at.path(term).map(|path| input::shown(&path.values(), usize::MAX)).unwrap_or_default();
            let what = format!("`{name}` is never {}", shown.join(" or "));
            return self.found.push(&NEVER_EQUAL, loc, Found::new(what, mend));
        }
        self.restrict(at, term, (values, loc), domains);
    }

    fn restrict<'m>(
        &mut self,
        at: &At<'_, 'm>,
        term: &'m Term,
        (values, loc): (Vec<Value>, Loc),
        domains: &mut Domains,
    ) {
        let Some(key) = at.key(term) else { return };
        let domain = domains.entry(key.clone()).or_default();
        let values: BTreeSet<Value> = values.into_iter().collect();
        domain.among = Some(match domain.among.take() {
            Some(have) => have.intersection(&values).cloned().collect(),
            None => values,
        });
        self.judge(&key, loc, domains);
    }

    fn judge(&mut self, key: &str, loc: Loc, domains: &mut Domains) {
        let Some(domain) = domains.get_mut(key) else { return };
        let Some(among) = &domain.among else { return };
        if domain.impossible || !among.iter().all(|value| domain.not.contains(value)) {
            return;
        }
        domain.impossible = true;
        let what = format!("`{key}` cannot meet this condition and those before it");
        self.found.push(&CONTRADICTION, loc, Found::plain(what, &CONTRADICTION));
    }
}

fn items(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Set(set) => Some(set.iter().cloned().collect()),
        Value::Array(items) => Some(items.to_vec()),
        _ => None,
    }
}

fn compare(name: &str, a: &Value, b: &Value) -> bool {
    match name {
        "eq" | "equal" => a == b,
        "neq" => a != b,
        "lt" => a < b,
        "lte" => a <= b,
        "gt" => a > b,
        _ => a >= b,
    }
}

/// Why a field of the input is none of these values, if it is none of them for certain.
fn never<'m>(at: &At<'_, 'm>, term: &'m Term, values: &[Value]) -> Option<String> {
    if at.input_replaced {
        return None;
    }
    let path = at.path(term).filter(|path| path.root == Root::Input)?;
    let path = path.values();
    let shape = shape::input().at(&path).ok()?;
    let kind = shape.type_name()?;
    if values.is_empty() {
        return None;
    }
    if values.iter().all(|value| value.type_name() != kind) {
        return Some(format!("it is of type {kind}"));
    }
    if let Shape::Scalar(_, Some(among)) = shape {
        if values.iter().any(|value| among.contains(value)) {
            return None;
        }
        let known: Vec<String> = among.iter().map(ToString::to_string).collect();
        return Some(format!("it is one of {}", known.join(", ")));
    }
    let names: Vec<&str> =
        path.iter().map(|part| part.as_ref().and_then(Value::as_str).unwrap_or("")).collect();
    let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    match names.as_slice() {
        ["attributes", "request", "http", "method"]
            if texts.iter().all(|text| {
                METHODS.iter().any(|method| method != text && method.eq_ignore_ascii_case(text))
            }) =>
        {
            Some("methods are in upper case".to_owned())
        }
        ["source_principal"] | ["attributes", "source", "principal"] | ["postern", "spiffe_id"]
            if texts.iter().all(|text| !text.starts_with("spiffe://")) =>
        {
            Some("it is a SPIFFE ID: `spiffe://trust-domain/path`".to_owned())
        }
        ["attributes", "request", "http", "path"]
            if texts.iter().all(|text| !text.starts_with(['/', '*'])) =>
        {
            Some("a path begins with `/`".to_owned())
        }
        _ => None,
    }
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
