//! A policy's condition taken apart as it is written: what must hold, what is evaluated on the way, and what it reads.
use super::examine::place;
use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, UnaryOp, Var};
use cedar_policy_core::parser::Loc;
use postern_rego::{Position, Span};

/// The most characters of a condition that are told.
const TEXT_CHARS_MAX: usize = 240;

/// What must hold, or must not.
#[derive(Clone, Copy)]
pub(super) struct Conjunct<'e> {
    pub(super) expr: &'e Expr,
    /// Of an `unless` clause: it must not hold.
    pub(super) is_unless: bool,
}

impl Conjunct<'_> {
    pub(super) fn text(&self) -> String {
        let text = self.expr.source_loc().map_or_else(|| self.expr.to_string(), written);
        if self.is_unless { format!("unless {text}") } else { text }
    }
}

/// What of a condition must hold, in the order in which it is evaluated.
pub(super) fn conjuncts<'e>(condition: &'e Expr, out: &mut Vec<Conjunct<'e>>) {
    match (condition.expr_kind(), written_apart(condition)) {
        (ExprKind::And { left, right }, true) => {
            conjuncts(left, out);
            conjuncts(right, out);
        }
        (ExprKind::UnaryApp { op: UnaryOp::Not, arg }, true) if is_unless(condition) => refusals(arg, out),
        _ => out.push(Conjunct { expr: condition, is_unless: false }),
    }
}

/// What must not hold: each side of `||` in an `unless` clause.
fn refusals<'e>(clause: &'e Expr, out: &mut Vec<Conjunct<'e>>) {
    match (clause.expr_kind(), written_apart(clause)) {
        (ExprKind::Or { left, right }, true) => {
            refusals(left, out);
            refusals(right, out);
        }
        _ => out.push(Conjunct { expr: clause, is_unless: true }),
    }
}

fn is_unless(condition: &Expr) -> bool {
    condition.source_loc().and_then(Loc::snippet).is_some_and(|text| text.starts_with("unless"))
}

/// Whether the parts of an expression stand apart in the text. `is … in`, `!=` and the like are one thing as written and
/// several to Cedar.
fn written_apart(expr: &Expr) -> bool {
    let own = expr.source_loc();
    match expr.expr_kind() {
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            right.source_loc() != own && right.source_loc() != left.source_loc()
        }
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => arg.source_loc() != own,
        ExprKind::If { .. } => true,
        ExprKind::Lit(_)
        | ExprKind::Var(_)
        | ExprKind::Slot(_)
        | ExprKind::Unknown(_)
        | ExprKind::UnaryApp { .. }
        | ExprKind::BinaryApp { .. }
        | ExprKind::ExtensionFunctionApp { .. }
        | ExprKind::GetAttr { .. }
        | ExprKind::HasAttr { .. }
        | ExprKind::ExtHasAttr { .. }
        | ExprKind::Like { .. }
        | ExprKind::Is { .. }
        | ExprKind::Set(_)
        | ExprKind::Record(_) => false,
    }
}

/// What is true or false in a condition by itself, in the order of the text.
pub(super) fn leaves<'e>(expr: &'e Expr, out: &mut Vec<&'e Expr>) {
    match (expr.expr_kind(), written_apart(expr)) {
        (ExprKind::And { left, right } | ExprKind::Or { left, right }, true) => {
            leaves(left, out);
            leaves(right, out);
        }
        (ExprKind::UnaryApp { op: UnaryOp::Not, arg }, true) => leaves(arg, out),
        (ExprKind::If { test_expr, then_expr, else_expr }, true) => {
            leaves(test_expr, out);
            leaves(then_expr, out);
            leaves(else_expr, out);
        }
        _ => out.push(expr),
    }
}

/// Evaluates a condition as Cedar does, and tells of every leaf that is come by whether it holds, or why that cannot be
/// told.
pub(super) fn walk(
    expr: &Expr,
    holds: &dyn Fn(&Expr) -> Result<bool, String>,
    seen: &mut dyn FnMut(&Expr, &Result<bool, String>),
) -> Result<bool, String> {
    match (expr.expr_kind(), written_apart(expr)) {
        (ExprKind::And { left, right }, true) => Ok(walk(left, holds, seen)? && walk(right, holds, seen)?),
        (ExprKind::Or { left, right }, true) => Ok(walk(left, holds, seen)? || walk(right, holds, seen)?),
        (ExprKind::UnaryApp { op: UnaryOp::Not, arg }, true) => Ok(!walk(arg, holds, seen)?),
        (ExprKind::If { test_expr, then_expr, else_expr }, true) => {
            let branch = if walk(test_expr, holds, seen)? { then_expr } else { else_expr };
            walk(branch, holds, seen)
        }
        _ => {
            let outcome = holds(expr);
            seen(expr, &outcome);
            outcome
        }
    }
}

/// What is read: attributes and tags by their whole paths, and the entities of the request where these are asked about.
pub(super) fn terms<'e>(expr: &'e Expr, out: &mut Vec<&'e Expr>) {
    if is_path(expr) {
        // What a set of paths begins with is in each of them.
        // All of the context is too much to be told.
        let is_context = matches!(expr.expr_kind(), ExprKind::Var(Var::Context));
        if !is_context && !out.iter().any(|known| known.eq_shape(expr)) {
            out.push(expr);
        }
        return;
    }
    match expr.expr_kind() {
        ExprKind::HasAttr { expr, .. } | ExprKind::ExtHasAttr { expr, .. } if is_path(expr) => {}
        ExprKind::BinaryApp { op: BinaryOp::HasTag, arg1, arg2 } if is_path(arg1) => terms(arg2, out),
        ExprKind::If { test_expr, then_expr, else_expr } => {
            [test_expr, then_expr, else_expr].into_iter().for_each(|part| terms(part, out));
        }
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            [left, right].into_iter().for_each(|part| terms(part, out));
        }
        ExprKind::BinaryApp { arg1, arg2, .. } => {
            [arg1, arg2].into_iter().for_each(|part| terms(part, out));
        }
        ExprKind::UnaryApp { arg: part, .. }
        | ExprKind::GetAttr { expr: part, .. }
        | ExprKind::HasAttr { expr: part, .. }
        | ExprKind::ExtHasAttr { expr: part, .. }
        | ExprKind::Like { expr: part, .. }
        | ExprKind::Is { expr: part, .. } => terms(part, out),
        ExprKind::ExtensionFunctionApp { args: parts, .. } => {
            parts.iter().for_each(|part| terms(part, out));
        }
        ExprKind::Set(parts) => parts.iter().for_each(|part| terms(part, out)),
        ExprKind::Record(parts) => parts.values().for_each(|part| terms(part, out)),
        ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => {}
    }
}

/// Whether an expression is a path from one of the variables.
fn is_path(expr: &Expr) -> bool {
    if let ExprKind::GetAttr { expr: base, .. }
    | ExprKind::BinaryApp { op: BinaryOp::GetTag, arg1: base, .. } = expr.expr_kind()
    {
        return is_path(base);
    }
    matches!(expr.expr_kind(), ExprKind::Var(_))
}

/// The text of a place, in one line and without comments.
pub(super) fn written(loc: &Loc) -> String {
    let mut out = String::new();
    let (mut in_text, mut escaped) = (false, false);
    let mut chars = loc.snippet().unwrap_or("").chars().peekable();
    while let Some(char) = chars.next() {
        if in_text {
            out.push(char);
            in_text = escaped || char != '"';
            escaped = !escaped && char == '\\';
        } else if char == '/' && chars.peek() == Some(&'/') {
            while chars.next_if(|char| *char != '\n').is_some() {}
        } else if char.is_whitespace() {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
        } else {
            in_text = char == '"';
            out.push(char);
        }
    }
    let mut short: String = out.trim_end().chars().take(TEXT_CHARS_MAX).collect();
    if short.len() < out.trim_end().len() {
        short.push('…');
    }
    short
}

/// Where a place begins and ends in its file.
pub(super) fn span(loc: &Loc) -> Span {
    let at = |offset| {
        let (row, col) = place(&loc.src, offset);
        Position { row, col }
    };
    Span { start: at(loc.start()), end: at(loc.end()) }
}
