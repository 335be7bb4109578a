//! What is wrong in a body, expression by expression.
use super::kind::{Known, Type, is_open};
use super::scope::Scope;
use super::unify::unifies;
use super::unknowns::{Learn, can_be_equal, fits};
use super::{refs, say};
use crate::ast::{Body, Call, Expr, ExprKind, Term, TermKind, With};
use crate::compile::CompileError;
use crate::compile::build::is_equation;
use crate::compile::resolve::reference;
use crate::compile::vars::each_child;

/// An error, and whether it comes of something that is not known: then there may be a better one.
struct Fault {
    error: CompileError,
    of_unknown: bool,
}

/// Goes through a body in its order; the scope comes to know its variables.
pub(crate) fn check(scope: &mut Scope<'_>, body: &Body) -> Vec<CompileError> {
    let mut errors = Vec::new();
    for expr in body {
        if scope.world.meter.is_empty() {
            break;
        }
        let mut inside = Vec::new();
        closures_of_expr(scope, expr, &mut inside);
        let references = refs::check(scope, expr);
        let explained = !inside.is_empty() || !references.is_empty();
        errors.extend(inside);
        errors.extend(references);
        if let Err(fault) = expression(scope, expr)
            && !(explained && fault.of_unknown)
        {
            errors.push(fault.error);
        }
    }
    errors
}

/// What is wrong in the comprehensions of an expression. Those inside others are looked at by themselves, too.
fn closures_of_expr(scope: &Scope<'_>, expr: &Expr, errors: &mut Vec<CompileError>) {
    match &expr.kind {
        ExprKind::Term(term) => closures_of_term(scope, term, errors),
        ExprKind::Call(call) => {
            call.args.iter().for_each(|argument| closures_of_term(scope, argument, errors));
        }
        ExprKind::Every { domain, body, .. } => {
            closures_of_term(scope, domain, errors);
            body.iter().for_each(|expr| closures_of_expr(scope, expr, errors));
        }
        ExprKind::Some(_) | ExprKind::SomeIn { .. } => {}
    }
    expr.with.iter().for_each(|with| closures_of_term(scope, &with.value, errors));
}

fn closures_of_term(scope: &Scope<'_>, term: &Term, errors: &mut Vec<CompileError>) {
    let (heads, body): (Vec<&Term>, &Body) = match &term.kind {
        TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
            (vec![head], body)
        }
        TermKind::ObjectComprehension(key, value, body) => (vec![key, value], body),
        _ => return each_child(term, &mut |child| closures_of_term(scope, child, errors)),
    };
    if !scope.world.meter.charge(1) {
        return;
    }
    let found = scope.closure(term);
    if !found.errors.is_empty() {
        errors.clone_from(&found.errors);
        return;
    }
    heads.iter().for_each(|head| closures_of_term(scope, head, errors));
    body.iter().for_each(|expr| closures_of_expr(scope, expr, errors));
}

fn expression(scope: &mut Scope<'_>, expr: &Expr) -> Result<(), Fault> {
    expr.with.iter().try_for_each(|with| replacement(scope, with))?;
    match &expr.kind {
        ExprKind::Call(call) if is_equation(call) => equation(scope, expr, call),
        ExprKind::Call(call) => called(scope, expr, call),
        _ => Ok(()),
    }
}

/// A function can be replaced by one that takes as many arguments, of types that go together.
fn replacement(scope: &Scope<'_>, with: &With) -> Result<(), Fault> {
    let target = scope.reference(&reference(&with.target, with.loc));
    let by = scope.term(&with.value);
    let (Some(Type::Function(replaced)), Some(Type::Function(by_function))) = (&target, &by) else {
        return Ok(());
    };
    if unifies(&scope.world.meter, &target, &by) {
        return Ok(());
    }
    let what = say::replacement(&with.target, &replaced.args, &by_function.args);
    let of_unknown = by_function.args.iter().any(is_open);
    Err(Fault { error: CompileError::of_type(with.keyword, what), of_unknown })
}

fn equation(scope: &mut Scope<'_>, expr: &Expr, call: &Call) -> Result<(), Fault> {
    let [left, right] = call.args.as_slice() else { return Ok(()) };
    let (known_left, known_right) = (scope.term(left), scope.term(right));
    if can_be_equal(scope, left, right) {
        return Ok(());
    }
    let what = say::never_equal((left, &known_left), (right, &known_right));
    let of_unknown = is_open(&known_left) || is_open(&known_right);
    Err(Fault { error: CompileError::of_type(expr.loc, what), of_unknown })
}

fn called(scope: &mut Scope<'_>, expr: &Expr, call: &Call) -> Result<(), Fault> {
    let fault = |what: String, of_unknown: bool| {
        Err(Fault { error: CompileError::of_type(expr.loc, what), of_unknown })
    };
    let function = match scope.reference(&reference(&call.function, call.loc)) {
        Some(Type::Any) => return Ok(()),
        Some(Type::Function(function)) => function,
        _ => return fault(say::no_function(&call.function), false),
    };
    let mut expected = function.args.clone();
    if function.result.is_some() {
        expected.push(function.result.clone());
    }
    if call.args.len() > expected.len() {
        return fault(say::no_result(&call.function), false);
    }
    let before: Vec<Known> = call.args.iter().map(|argument| scope.term(argument)).collect();
    for (index, ((argument, have), want)) in call.args.iter().zip(&before).zip(&expected).enumerate() {
        let wrong = !is_open(have) && !unifies(&scope.world.meter, have, want);
        if !wrong && fits(scope, argument, want, Learn::Once) {
            continue;
        }
        let is_result = index >= function.args.len();
        let what = say::argument(&call.function, (index, is_result), (argument, &scope.term(argument)), want);
        let of_unknown = if wrong {
            before.iter().any(is_open)
        } else {
            call.args.iter().any(|argument| is_open(&scope.term(argument)))
        };
        return fault(what, of_unknown);
    }
    Ok(())
}
