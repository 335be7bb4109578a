//! What policies and entities may cost, bounded at load, or where only the request shows it, by a denial with a name.
//!
//! [`crate::engine::shape`] has bounded depth and chains before anything was parsed. Here are the widths: what is
//! evaluated anew at every decision, and what grows with the square of what was written.
use crate::document::Document;
use cedar_policy_core::ast::{Expr, ExprKind};
use std::collections::{HashMap, HashSet};

/// The most policies of all bundles: each takes some 15 KiB, and a fifth of a millisecond to load.
const POLICIES_MAX: usize = 50_000;
/// The most elements of a set that is written in a policy: it is built at every decision.
const ELEMENTS_MAX: usize = 1_000;
/// The most of a pattern after `like`: in the worst case each character is tried at each one of the text.
const PATTERN_MAX: usize = 256;
/// The most wildcards in it.
const WILDCARDS_MAX: usize = 16;
/// The most parts of an expression that one decision may have to evaluate.
pub(super) const WEIGHT_MAX: usize = 100_000;
/// The most entities that one entity may be in, at whatever depth.
const ANCESTORS_MAX: usize = 256;

/// Refuses more policies than can be held, before they are parsed. Words in comments count: it is a bound.
pub(super) fn refuse_crowd<'a>(sources: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let count =
        |source: &str| source.matches("permit").count().saturating_add(source.matches("forbid").count());
    let policies = sources.map(count).fold(0_usize, usize::saturating_add);
    if policies > POLICIES_MAX {
        return Err(format!(
            "there are some {policies} policies, more than {POLICIES_MAX}; use groups or data"
        ));
    }
    Ok(())
}

/// Refuses a condition with a part that is too wide.
pub(super) fn refuse(condition: Option<&Expr>) -> Result<(), String> {
    for part in condition.into_iter().flat_map(Expr::subexpressions) {
        let too_wide = match part.expr_kind() {
            ExprKind::Set(elements) => elements.len() > ELEMENTS_MAX,
            ExprKind::Record(members) => members.len() > ELEMENTS_MAX,
            ExprKind::Like { pattern, .. } => {
                let (length, wildcards) = measured(pattern);
                if length > PATTERN_MAX || wildcards > WILDCARDS_MAX {
                    return Err(format!(
                        "a pattern after `like` has more than {PATTERN_MAX} characters or {WILDCARDS_MAX} wildcards"
                    ));
                }
                false
            }
            ExprKind::Lit(_)
            | ExprKind::Var(_)
            | ExprKind::Slot(_)
            | ExprKind::Unknown(_)
            | ExprKind::If { .. }
            | ExprKind::And { .. }
            | ExprKind::Or { .. }
            | ExprKind::UnaryApp { .. }
            | ExprKind::BinaryApp { .. }
            | ExprKind::ExtensionFunctionApp { .. }
            | ExprKind::GetAttr { .. }
            | ExprKind::HasAttr { .. }
            | ExprKind::ExtHasAttr { .. }
            | ExprKind::Is { .. } => false,
        };
        if too_wide {
            return Err(format!(
                "a set has more than {ELEMENTS_MAX} elements; use a group, or an entity's tags"
            ));
        }
    }
    Ok(())
}

fn measured(pattern: &cedar_policy_core::ast::Pattern) -> (usize, usize) {
    let wildcards =
        pattern.iter().filter(|part| matches!(part, cedar_policy_core::ast::PatternElem::Wildcard));
    (pattern.iter().count(), wildcards.count())
}

/// How many parts of a condition a decision may have to evaluate.
pub(super) fn weight(condition: &Expr) -> usize {
    let of = |part: &Expr| match part.expr_kind() {
        ExprKind::Like { pattern, .. } => measured(pattern).0.saturating_add(1),
        ExprKind::Lit(_)
        | ExprKind::Var(_)
        | ExprKind::Slot(_)
        | ExprKind::Unknown(_)
        | ExprKind::If { .. }
        | ExprKind::And { .. }
        | ExprKind::Or { .. }
        | ExprKind::UnaryApp { .. }
        | ExprKind::BinaryApp { .. }
        | ExprKind::ExtensionFunctionApp { .. }
        | ExprKind::GetAttr { .. }
        | ExprKind::HasAttr { .. }
        | ExprKind::ExtHasAttr { .. }
        | ExprKind::Set(_)
        | ExprKind::Record(_)
        | ExprKind::Is { .. } => 1,
    };
    condition.subexpressions().map(of).fold(0, usize::saturating_add)
}

/// Refuses entities that are in too many others, before Cedar writes all of these into each.
pub(super) fn refuse_nested(entities: &[Document]) -> Result<(), String> {
    let mut parents: HashMap<(&str, &str), Vec<(&str, &str)>> = HashMap::new();
    for entity in entities.iter().filter_map(Document::as_object) {
        let above = entity.get("parents").and_then(Document::as_array).unwrap_or_default();
        if let Some(uid) = entity.get("uid").and_then(uid_of) {
            parents.entry(uid).or_default().extend(above.iter().filter_map(uid_of));
        }
    }
    for uid in parents.keys() {
        let (mut seen, mut next) = (HashSet::new(), vec![uid]);
        while let Some(uid) = next.pop() {
            next.extend(parents.get(uid).into_iter().flatten().filter(|above| seen.insert(**above)));
            if seen.len() > ANCESTORS_MAX {
                let (kind, id) = uid;
                return Err(format!(
                    "an entity is in more than {ANCESTORS_MAX} others, `{kind}::\"{id}\"` among them"
                ));
            }
        }
    }
    Ok(())
}

fn uid_of(value: &Document) -> Option<(&str, &str)> {
    let members = value.as_object()?;
    let members = members.get("__entity").and_then(Document::as_object).unwrap_or(members);
    Some((members.get("type")?.as_str()?, members.get("id")?.as_str()?))
}

#[cfg(test)]
mod tests;
