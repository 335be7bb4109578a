//! The rule of the proxy that any policy that fails denies, in Cedar itself, which would pass over such a policy.
//!
//! `condition || true` is true or fails. With such a guard for every policy that can fail, a permit fails with each of
//! them, and what fails does not permit. So the solver answers for exactly what the proxy decides.
use cedar_policy::{Effect, Policy, PolicySet};
use cedar_policy_core::ast::{Annotations, BinaryOp, Expr, ExprKind, StaticPolicy, UnaryOp};

/// Whether there is anything in a policy that can fail though it is valid: sums, and calls that compute something. Whom
/// this finds is asked about one by one; whom it does not find cannot fail.
pub(crate) fn may_fail(policy: &Policy) -> bool {
    let policy: &cedar_policy_core::ast::Policy = policy.as_ref();
    policy.non_scope_constraints().into_iter().flat_map(Expr::subexpressions).any(|part| {
        matches!(
            part.expr_kind(),
            ExprKind::BinaryApp { op: BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul, .. }
                | ExprKind::UnaryApp { op: UnaryOp::Neg, .. }
                | ExprKind::ExtensionFunctionApp { .. }
        )
    })
}

/// The set with guards against these of its policies.
pub(crate) fn guarded(policies: &PolicySet, failing: &[&Policy]) -> Result<PolicySet, String> {
    if failing.is_empty() {
        return Ok(policies.clone());
    }
    let guard = |policy: &&Policy| {
        let policy: &cedar_policy_core::ast::Policy = policy.as_ref();
        Expr::or(policy.condition(), Expr::val(true))
    };
    let guards = failing.iter().map(guard).fold(Expr::val(true), Expr::and);
    let all: Result<Vec<Policy>, String> = policies
        .policies()
        .map(|policy| match policy.effect() {
            Effect::Forbid => Ok(policy.clone()),
            Effect::Permit => rewritten(policy, |condition| Expr::and(guards.clone(), condition)),
        })
        .collect();
    PolicySet::from_policies(all?).map_err(|error| error.to_string())
}

/// A permit with the scope of this policy and a condition made of its own.
pub(crate) fn rewritten(policy: &Policy, condition: impl FnOnce(Expr) -> Expr) -> Result<Policy, String> {
    let of: &cedar_policy_core::ast::Policy = policy.as_ref();
    let own = of.non_scope_constraints().cloned().unwrap_or_else(|| Expr::val(true));
    let permit = StaticPolicy::new(
        of.id().clone(),
        None,
        Annotations::new(),
        Effect::Permit,
        of.principal_constraint(),
        of.action_constraint().clone(),
        of.resource_constraint(),
        Some(condition(own)),
    );
    permit.map(Policy::from).map_err(|error| error.to_string())
}
