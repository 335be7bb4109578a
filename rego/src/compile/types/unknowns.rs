//! What an equation or a call tells of the variables in its terms.
use super::kind::{Known, Object, Type, is_open, or};
use super::scope::{Scope, is_root, json_constant};
use super::unify::unifies;
use crate::ast::{Term, TermKind};
use crate::compile::lower::same_key;

/// How a variable learns its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learn {
    /// A type that is known must go with the new one.
    Once,
    /// The new type is one that it may have, too.
    Also,
}

/// Whether a term can be of a type. Variables in it of which nothing is known are of that type from then on.
pub(crate) fn fits(scope: &mut Scope<'_>, term: &Term, known: &Known, learn: Learn) -> bool {
    if !scope.world.meter.charge(1) {
        return true;
    }
    match &term.kind {
        TermKind::Array(items) => match known {
            Some(Type::Array(array)) => {
                (items.len() == array.items.len() || array.rest.is_some())
                    && items.iter().enumerate().all(|(index, item)| fits(scope, item, array.at(index), learn))
            }
            _ => fits_any(scope, term, known, &mut items.iter()),
        },
        TermKind::Object(members) => match known {
            Some(Type::Object(object)) => object_fits(scope, members, object, learn),
            _ => fits_any(scope, term, known, &mut members.iter().flat_map(|(key, value)| [key, value])),
        },
        TermKind::Set(items) => match known {
            Some(Type::Set(set)) => items.iter().all(|item| fits(scope, item, &set.of, learn)),
            _ => fits_any(scope, term, known, &mut items.iter()),
        },
        TermKind::Var(name) if !is_root(name) => {
            let have = scope.var(name);
            match learn {
                Learn::Once if have.is_some() => return unifies(&scope.world.meter, &have, known),
                Learn::Once => scope.put(name, known.clone()),
                Learn::Also => scope.put(name, or(have, known.clone())),
            }
            true
        }
        _ => {
            let have = scope.term(term);
            unifies(&scope.world.meter, &have, known)
        }
    }
}

/// A composite term and a type that may be any of several.
fn fits_any(
    scope: &mut Scope<'_>,
    term: &Term,
    known: &Known,
    parts: &mut dyn Iterator<Item = &Term>,
) -> bool {
    match known {
        Some(Type::Any) => {
            for part in parts {
                fits(scope, part, &Some(Type::Any), Learn::Also);
            }
            true
        }
        Some(Type::OneOf(union)) => {
            let mut found = false;
            for one in &union.types {
                found |= fits(scope, term, &Some(one.clone()), Learn::Also);
            }
            found
        }
        _ => false,
    }
}

fn object_fits(scope: &mut Scope<'_>, members: &[(Term, Term)], object: &Object, learn: Learn) -> bool {
    if members.len() != object.members.len() && object.rest_value().is_none() {
        return false;
    }
    members.iter().all(|(key, value)| match json_constant(key) {
        Some(key) => match object.member(&key) {
            None => false,
            known => fits(scope, value, &known, learn),
        },
        // Which member it is will be known when the key is.
        None => {
            fits(scope, value, &Some(Type::Any), learn);
            true
        }
    })
}

/// Whether two terms can be equal.
pub(crate) fn can_be_equal(scope: &mut Scope<'_>, a: &Term, b: &Term) -> bool {
    if !scope.world.meter.charge(1) {
        return true;
    }
    let (known_a, known_b) = (scope.term(a), scope.term(b));
    match (is_open(&known_a), is_open(&known_b)) {
        (true, false) => return fits(scope, a, &known_b, Learn::Once),
        (false, true) => return fits(scope, b, &known_a, Learn::Once),
        (false, false) => return unifies(&scope.world.meter, &known_a, &known_b),
        (true, true) => {}
    }
    match (&a.kind, &b.kind) {
        (TermKind::Array(left), TermKind::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(a, b)| can_be_equal(scope, a, b))
        }
        (TermKind::Object(left), TermKind::Object(right)) => objects_can_be_equal(scope, left, right),
        (TermKind::Array(_) | TermKind::Object(_) | TermKind::Var(_), TermKind::Var(_)) => {
            learns_from(scope, b, a)
        }
        (TermKind::Var(_), TermKind::Array(_) | TermKind::Object(_)) => learns_from(scope, a, b),
        (TermKind::Array(_) | TermKind::Object(_), _) => false,
        (TermKind::Var(_), _) if known_a.is_none() && known_b.is_some() => {
            fits(scope, a, &known_b, Learn::Once)
        }
        (_, TermKind::Var(_)) if known_b.is_none() && known_a.is_some() => {
            fits(scope, b, &known_a, Learn::Once)
        }
        _ => false,
    }
}

/// A variable gets the type of a term, of which what is not known is taken for anything.
fn learns_from(scope: &mut Scope<'_>, var: &Term, term: &Term) -> bool {
    if !fits(scope, term, &Some(Type::Any), Learn::Once) {
        return false;
    }
    let known = scope.term(term);
    fits(scope, var, &known, Learn::Once)
}

fn objects_can_be_equal(scope: &mut Scope<'_>, left: &[(Term, Term)], right: &[(Term, Term)]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    left.iter().all(|(key, value)| {
        scope.world.meter.charge(right.len());
        match right.iter().find(|(other, _)| same_key(key, other)) {
            Some((_, other)) => can_be_equal(scope, value, other),
            None => false,
        }
    })
}
