//! Whether two types can have a value in common.
use super::kind::{Array, Known, Object, Type};
use super::meter::Meter;

/// Whether values of both can be equal. Of what nothing is known, nothing is.
pub(crate) fn unifies(meter: &Meter, a: &Known, b: &Known) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => types_unify(meter, a, b),
        _ => false,
    }
}

fn types_unify(meter: &Meter, a: &Type, b: &Type) -> bool {
    if !meter.charge(1) {
        return true;
    }
    match (a, b) {
        (Type::Function(a), Type::Function(b)) => {
            a.args.len() == b.args.len() && a.args.iter().zip(&b.args).all(|(a, b)| unifies(meter, a, b))
        }
        (Type::Function(_), _) | (_, Type::Function(_)) => false,
        (Type::Any, _) | (_, Type::Any) => true,
        (Type::OneOf(union), other) | (other, Type::OneOf(union)) => {
            union.types.iter().any(|one| types_unify(meter, one, other))
        }
        (Type::Array(a), Type::Array(b)) => arrays_unify(meter, a, b),
        (Type::Object(a), Type::Object(b)) => objects_unify(meter, a, b),
        (Type::Set(a), Type::Set(b)) => unifies(meter, &a.of, &b.of),
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

fn arrays_unify(meter: &Meter, a: &Array, b: &Array) -> bool {
    let firsts = a.items.len().max(b.items.len());
    (0..firsts).all(|index| unifies(meter, a.at(index), b.at(index)))
        && (a.rest.is_none() || b.rest.is_none() || unifies(meter, &a.rest, &b.rest))
}

fn objects_unify(meter: &Meter, a: &Object, b: &Object) -> bool {
    let rests = (a.rest_value(), b.rest_value());
    let open = rests.0.is_some() || rests.1.is_some();
    let fits = |a: &Object, b: &Object| {
        a.members.iter().all(|(key, value)| match b.member(key) {
            None => open,
            other => unifies(meter, value, &other),
        })
    };
    fits(a, b)
        && fits(b, a)
        && match rests {
            (Some(a), Some(b)) => types_unify(meter, a, b),
            _ => true,
        }
}
