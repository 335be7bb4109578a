//! What makes decisions differ for one request, and negations that hold for the wrong reason.
use super::codes::{CLOCK, NEGATED_BUILTIN, REFUSED};
use super::scope::{At, Root, function};
use super::shape::{self, Shape};
use super::walk::Visit;
use super::{Found, Gather};
use crate::engine::rego::refused_builtin;
use postern_rego::ast::{Call, Expr, ExprKind, Term, TermKind};
use postern_rego::builtins;

pub(super) struct Hazards<'g> {
    pub(super) found: &'g mut Gather,
}

impl<'m> Visit<'m> for Hazards<'_> {
    fn call(&mut self, at: &At<'_, 'm>, call: &'m Call) {
        let name = function(call);
        if let Some(mend) = asks_the_clock(at, &name, call) {
            let what = format!("`{name}` makes the decision depend on its moment");
            self.found.push(&CLOCK, call.loc, Found::new(what, mend));
        } else if let Some(mend) = refused_builtin(&name) {
            let what = format!("builtin `{name}` is refused where a decision asks for it");
            self.found.push(&REFUSED, call.loc, Found::new(what, mend));
        }
    }

    fn expr(&mut self, at: &At<'_, 'm>, expr: &'m Expr) {
        let ExprKind::Call(call) = &expr.kind else { return };
        if !expr.negated {
            return;
        }
        let name = function(call);
        let of_texts = OF_TEXTS.contains(&name.as_str());
        let safe = call.args.iter().all(|arg| at.constant(arg).is_some() || (of_texts && is_text(at, arg)));
        let what = if builtins::lookup(&name).is_some() && !TOTAL.contains(&name.as_str()) && !safe {
            format!("`not {name}(…)` holds where the call fails because an argument is of another type")
        } else if let Some(inner) = call.args.iter().find_map(|arg| fails_inside(at, arg)) {
            format!("this negation holds where `{inner}(…)` fails because an argument is of another type")
        } else {
            return;
        };
        self.found.push(&NEGATED_BUILTIN, expr.loc, Found::plain(what, &NEGATED_BUILTIN));
    }
}

/// How a call that asks for the moment without a word is told not to.
fn asks_the_clock<'m>(at: &At<'_, 'm>, name: &str, call: &'m Call) -> Option<&'static str> {
    match (name, call.args.as_slice()) {
        ("time.now_ns", _) => Some(CLOCK.mend),
        ("io.jwt.decode_verify", [_, constraints]) => {
            let constraints = at.renamed(constraints).unwrap_or(constraints);
            // What else constraints may be is not known.
            let TermKind::Object(members) = &constraints.kind else { return None };
            let is_time = |key: &Term| matches!(&key.kind, TermKind::String(key) if key.as_ref() == "time");
            let names_it = members.iter().any(|(key, _)| is_time(key));
            (!names_it)
                .then_some("put `\"time\": input.postern.now_ns` among its constraints, which shows in tests")
        }
        (
            "crypto.x509.parse_and_verify_certificates"
            | "crypto.x509.parse_and_verify_certificates_with_options",
            _,
        ) => Some("Postern has verified the caller's chain: its identity is `input.source_principal`"),
        _ => None,
    }
}

/// The call in a term that fails where something that callers make up is of another type.
fn fails_inside<'m>(at: &At<'_, 'm>, term: &'m Term) -> Option<String> {
    let TermKind::Call(call) = &term.kind else { return None };
    let name = function(call);
    let may_fail =
        builtins::lookup(&name).is_some() && !TOTAL.contains(&name.as_str()) && name != "object.get";
    let direct = may_fail && call.args.iter().any(|arg| is_made_up(at, arg));
    let inner = || call.args.iter().find_map(|arg| fails_inside(at, arg));
    if direct { Some(name) } else { inner() }
}

/// Whether a term is what a caller chose, so that it may be of any type.
fn is_made_up<'m>(at: &At<'_, 'm>, term: &'m Term) -> bool {
    let path = at.path(term).filter(|path| path.root == Root::Input && !at.input_replaced);
    path.is_some_and(|path| matches!(shape::input().at(&path.values()), Ok(Shape::Any)))
}

/// Whether a term is a string wherever it is defined.
fn is_text<'m>(at: &At<'_, 'm>, term: &'m Term) -> bool {
    let Some(path) = at.path(term).filter(|path| path.root == Root::Input && !at.input_replaced) else {
        return false;
    };
    matches!(shape::input().at(&path.values()), Ok(Shape::Scalar("string", _)))
}

/// Builtins that never fail: comparisons and questions about types.
const TOTAL: &[&str] = &[
    "eq",
    "equal",
    "neq",
    "lt",
    "lte",
    "gt",
    "gte",
    "assign",
    "internal.member_2",
    "internal.member_3",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "type_name",
    "json.is_valid",
    "yaml.is_valid",
    "print",
    "opa.runtime",
    "rego.metadata.rule",
];

/// Builtins that fail for nothing but what is no string, as long as patterns are written out.
const OF_TEXTS: &[&str] = &[
    "startswith",
    "endswith",
    "contains",
    "indexof",
    "lower",
    "upper",
    "trim",
    "trim_left",
    "trim_right",
    "trim_prefix",
    "trim_suffix",
    "trim_space",
    "glob.match",
    "regex.match",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "base64.is_valid",
    "regex.is_valid",
    "semver.is_valid",
];
