//! What makes decisions differ for one request, and negations that hold for the wrong reason.
use super::codes::{CLOCK, NEGATED_BUILTIN, REFUSED};
use super::scope::{At, Root, function};
use super::shape::{self, Shape};
use super::walk::Visit;
use super::{Found, Gather};
use crate::engine::rego::refused_builtin;
use postern_rego::ast::{Call, Expr, ExprKind, Term};
use postern_rego::builtins;

pub(super) struct Hazards<'g> {
    pub(super) found: &'g mut Gather,
}

impl<'m> Visit<'m> for Hazards<'_> {
    fn call(&mut self, _: &At<'_, 'm>, call: &'m Call) {
        let name = function(call);
        if name == "time.now_ns" {
            let what = "`time.now_ns()` makes the decision depend on its moment".to_owned();
            self.found.push(&CLOCK, call.loc, Found::plain(what, &CLOCK));
        } else if let Some(mend) = refused_builtin(&name) {
            let what = format!("builtin `{name}` is refused where a decision asks for it");
            self.found.push(&REFUSED, call.loc, Found::new(what, mend));
        }
    }

    fn expr(&mut self, at: &At<'_, 'm>, expr: &'m Expr) {
        let ExprKind::Call(call) = &expr.kind else { return };
        let name = function(call);
        if !expr.negated || builtins::lookup(&name).is_none() || TOTAL.contains(&name.as_str()) {
            return;
        }
        let of_texts = OF_TEXTS.contains(&name.as_str());
        if call.args.iter().all(|arg| at.constant(arg).is_some() || (of_texts && is_text(at, arg))) {
            return;
        }
        let what =
            format!("`not {}(…)` holds where the call fails because an argument is of another type", name);
        self.found.push(&NEGATED_BUILTIN, expr.loc, Found::plain(what, &NEGATED_BUILTIN));
    }
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
