//! Functions that do not exist here are refused by name, each with what to write instead where that is known.
use super::error::CompileError;
use super::safety::Arity;
use super::vars::each_child;
use crate::ast::{Body, Call, Expr, ExprKind, Term, TermKind};

/// Builtins of OPA that are refused, by the beginning of their name, with the reason and the mend.
const REFUSED: &[(&str, &str)] = &[
    ("http.send", "a decision must not wait for the network; put what it fetches into the bundle's data"),
    ("net.lookup_ip_addr", "a decision must not wait for the network; compare addresses"),
    ("graphql.", "GraphQL is not parsed here; decide on the operation's name or let the service check it"),
    ("providers.aws.", "requests to AWS are not signed here"),
    ("rego.parse_module", "policies do not parse policies here"),
    ("rego.metadata.", "annotations are not readable at run time here; put the values into rules"),
    ("opa.runtime", "the environment is no part of a decision; put the values into the bundle's data"),
    ("trace", "use `print`"),
];

pub(crate) fn refuse_unknown(body: &Body, arity: Arity<'_>) -> Result<(), CompileError> {
    body.iter().try_for_each(|expr| in_expr(expr, arity))
}

fn in_expr(expr: &Expr, arity: Arity<'_>) -> Result<(), CompileError> {
    match &expr.kind {
        ExprKind::Term(term) => in_term(term, arity)?,
        ExprKind::Call(call) => in_call(call, arity)?,
        ExprKind::Every { domain, body, .. } => {
            in_term(domain, arity)?;
            refuse_unknown(body, arity)?;
        }
        ExprKind::Some(_) | ExprKind::SomeIn { .. } => {}
    }
    expr.with.iter().try_for_each(|with| match with.value.kind {
        // A function that replaces another: looked for when it is lowered.
        TermKind::Call(_) => Ok(()),
        _ => in_term(&with.value, arity),
    })
}

fn in_call(call: &Call, arity: Arity<'_>) -> Result<(), CompileError> {
    let name = call.function.join(".");
    match arity(call) {
        None => {
            let refused = REFUSED.iter().find(|(prefix, _)| name.starts_with(prefix));
            Err(CompileError::of_type(
                call.loc,
                match refused {
                    Some((_, why)) => format!("the builtin {name} is refused: {why}"),
                    None => format!("undefined function {name}"),
                },
            ))
        }
        Some(arity) if call.args.len() < arity || call.args.len() > arity.saturating_add(1) => {
            let got = call.args.len();
            Err(CompileError::of_type(call.loc, format!("{name} takes {arity} arguments, got {got}")))
        }
        Some(_) if name == "strings.render_template" => {
            if let Some(Term { kind: TermKind::String(text), loc }) = call.args.first()
                && let Some(what) = crate::builtins::template_unsupported(text)
            {
                return Err(CompileError::of_type(*loc, format!("the template is refused: {what}")));
            }
            call.args.iter().try_for_each(|argument| in_term(argument, arity))
        }
        Some(_) => call.args.iter().try_for_each(|argument| in_term(argument, arity)),
    }
}

fn in_term(term: &Term, arity: Arity<'_>) -> Result<(), CompileError> {
    match &term.kind {
        TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
            in_term(head, arity)?;
            refuse_unknown(body, arity)
        }
        TermKind::ObjectComprehension(key, value, body) => {
            in_term(key, arity)?;
            in_term(value, arity)?;
            refuse_unknown(body, arity)
        }
        _ => {
            let mut outcome = Ok(());
            each_child(term, &mut |child| {
                if outcome.is_ok() {
                    outcome = in_term(child, arity);
                }
            });
            outcome
        }
    }
}
