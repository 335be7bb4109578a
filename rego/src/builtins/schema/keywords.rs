//! The values of keywords, as the members of a schema have them.
use super::Fault;
use super::exact::Exact;
use crate::{Object, Value};

const TYPES: [&str; 7] = ["array", "boolean", "integer", "number", "null", "object", "string"];

pub(super) fn invalid_type(expected: &str, given: &str) -> Fault {
    Fault::Invalid(format!("Invalid type. Expected: {expected}, given: {given}"))
}

pub(super) fn must_be_of_type(key: &str, wanted: &str) -> Fault {
    Fault::Invalid(format!("{key} must be of type {wanted}"))
}

pub(super) fn string<'v>(m: &'v Object, keyword: &str) -> Result<Option<&'v str>, Fault> {
    match m.member(keyword) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid_type("string", keyword)),
    }
}

pub(super) fn array<'v>(m: &'v Object, keyword: &str) -> Result<&'v [Value], Fault> {
    match m.member(keyword) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(Fault::Invalid(format!("{keyword} must be of an array"))),
    }
}

/// A list of which no two may be equal.
pub(super) fn add_unique(list: &mut Vec<String>, item: String, keyword: &str) -> Result<(), Fault> {
    /// Each is compared with all before it.
    const MOST: usize = 4_096;
    if list.len() >= MOST {
        return Err(Fault::refused(format!("{keyword} lists more than {MOST} items")));
    }
    if list.contains(&item) {
        return Err(Fault::Invalid(format!("{keyword} items must be unique")));
    }
    list.push(item);
    Ok(())
}

pub(super) fn types(m: &Object) -> Result<Vec<&'static str>, Fault> {
    let wrong = || invalid_type("type", "string/Array Of Strings");
    let names = match m.member("type") {
        None => return Ok(Vec::new()),
        Some(name @ Value::String(_)) => std::slice::from_ref(name),
        Some(Value::Array(names)) => names,
        Some(_) => return Err(wrong()),
    };
    let mut types = Vec::new();
    for name in names {
        let name = name.as_str().ok_or_else(wrong)?;
        let known = TYPES.into_iter().find(|known| *known == name).ok_or_else(|| {
            Fault::Invalid(format!(
                "has a primitive type that is NOT VALID -- given: /{name}/ Expected valid values are:[{}]",
                TYPES.join(" ")
            ))
        })?;
        if types.contains(&known) {
            return Err(Fault::Invalid(format!("{known} type is duplicated")));
        }
        types.push(known);
    }
    Ok(types)
}

/// A number of things: a whole number that is written as one.
pub(super) fn count(m: &Object, keyword: &str) -> Result<Option<usize>, Fault> {
    let Some(value) = m.member(keyword) else { return Ok(None) };
    let wrong = || Fault::Invalid(format!("{keyword} must be of an integer"));
    let Value::Number(number) = value else { return Err(wrong()) };
    let count = number.to_string().parse::<i64>().ok().filter(|_| Exact::of(number).is_ok());
    let count = count.ok_or_else(wrong)?;
    let count = usize::try_from(count);
    count.map(Some).map_err(|_| Fault::Invalid(format!("{keyword} must be greater than or equal to 0")))
}

pub(super) fn bounds(m: &Object, least: &str, most: &str) -> Result<(Option<usize>, Option<usize>), Fault> {
    let bounds = (count(m, least)?, count(m, most)?);
    match bounds {
        (Some(a), Some(b)) if a > b => Err(Fault::Invalid(format!("{least} cannot be greater than {most}"))),
        _ => Ok(bounds),
    }
}
