//! The functions of templates.
use super::exec::{Item, Renderer, failed};
use super::parse::Operand;
use crate::Value;
use crate::builtins::BuiltinError;
use crate::builtins::sprintf::{formatted, printable, printed};
use crate::builtins::uri::query_escaped;
use std::cmp::Ordering;
use std::fmt::Write as _;

/// The functions, the fewest arguments that they take, and the most.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("and", 1, usize::MAX),
    ("call", 1, usize::MAX),
    ("eq", 1, usize::MAX),
    ("ge", 2, 2),
    ("gt", 2, 2),
    ("html", 0, usize::MAX),
    ("index", 1, usize::MAX),
    ("js", 0, usize::MAX),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lt", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("or", 1, usize::MAX),
    ("print", 0, usize::MAX),
    ("printf", 1, usize::MAX),
    ("println", 0, usize::MAX),
    ("slice", 1, usize::MAX),
    ("urlquery", 0, usize::MAX),
];

/// Whether there is a function of this name.
pub(super) fn known(name: &str) -> bool {
    FUNCTIONS.iter().any(|(have, _, _)| *have == name)
}

/// Calls a function. `last` is what the command before it gave: the last argument.
pub(super) fn call(
    renderer: &mut Renderer<'_, '_>,
    dot: &Item,
    name: &str,
    operands: &[Operand],
    last: Option<Item>,
) -> Result<Item, BuiltinError> {
    let many = operands.len().saturating_add(usize::from(last.is_some()));
    let fits = |(have, least, most): &(&str, usize, usize)| *have == name && (*least..=*most).contains(&many);
    if !FUNCTIONS.iter().any(fits) {
        return Err(failed(format!("wrong number of args for {name}")));
    }
    if name == "and" || name == "or" {
        // The rest is not even looked at when one decides.
        let mut item = Item::Nothing;
        for operand in operands {
            item = renderer.operand(dot, operand)?;
            if item.truth() == (name == "or") {
                return Ok(item);
            }
        }
        return Ok(last.unwrap_or(item));
    }
    let mut items = Vec::with_capacity(many);
    for operand in operands {
        items.push(renderer.operand(dot, operand)?);
    }
    items.extend(last);
    renderer.meter.spend(items.len().saturating_mul(16))?;
    match (name, items.as_slice()) {
        ("not", [item]) => Ok(Item::bool(!item.truth())),
        ("eq", [first, others @ ..]) => equals_any(first, others).map(Item::bool),
        ("ne", [a, b]) => Ok(Item::bool(!equals_any(a, std::slice::from_ref(b))?)),
        ("lt", [a, b]) => Ok(Item::bool(less(a, b)?)),
        ("ge", [a, b]) => Ok(Item::bool(!less(a, b)?)),
        ("le", [a, b]) => Ok(Item::bool(less_or_equal(a, b)?)),
        ("gt", [a, b]) => Ok(Item::bool(!less_or_equal(a, b)?)),
        ("len", [item]) => length(item),
        ("index", [item, indexes @ ..]) => {
            indexes.iter().try_fold(item_of(item)?, |item, index| indexed(&item, index))
        }
        ("slice", [item, indexes @ ..]) => sliced(item, indexes),
        ("printf", [format, others @ ..]) => {
            let Item::Data(Value::String(format)) = format else {
                return Err(failed("the format of printf is no string"));
            };
            let arguments = arguments(renderer, others, false)?;
            formatted(renderer.meter, format, &arguments).map(Item::text)
        }
        ("print" | "println", items) => {
            let arguments = arguments(renderer, items, false)?;
            printed(renderer.meter, &arguments, name == "println").map(Item::text)
        }
        ("html" | "js" | "urlquery", items) => {
            let arguments = arguments(renderer, items, true)?;
            let text = printed(renderer.meter, &arguments, false)?;
            renderer.meter.spend(text.len().saturating_mul(6))?;
            Ok(Item::text(match name {
                "html" => html(&text),
                "js" => js(&text),
                _ => query_escaped(&text),
            }))
        }
        // No data is a function.
        _ => Err(failed(format!("{name} cannot be called like this"))),
    }
}

/// The arguments of a printing function; those that escape show nothing as they are shown outside of functions.
fn arguments(
    renderer: &mut Renderer<'_, '_>,
    items: &[Item],
    escaping: bool,
) -> Result<Vec<crate::builtins::sprintf::Arg>, BuiltinError> {
    use crate::builtins::sprintf::Arg;
    let of = |item: &Item| match item.printable(renderer.meter)? {
        Arg::Nil if escaping => Ok(Arg::Text("<no value>".to_owned())),
        other => Ok(other),
    };
    items.iter().map(of).collect()
}

/// What can be compared with what.
enum Basic {
    Bool(bool),
    Int(i64),
    Unsigned(u8),
    Float(f64),
    /// Strings, and numbers of the data by their text.
    Text(String),
}

fn basic(item: &Item) -> Option<Basic> {
    Some(match item {
        Item::Int(int) => Basic::Int(*int),
        Item::Byte(byte) => Basic::Unsigned(*byte),
        Item::Float(float) => Basic::Float(*float),
        Item::Data(Value::Bool(value)) => Basic::Bool(*value),
        Item::Data(Value::String(text)) => Basic::Text(text.to_string()),
        Item::Data(Value::Number(number)) => Basic::Text(number.to_string()),
        _ => return None,
    })
}

fn nothing(item: &Item) -> bool {
    matches!(item, Item::Nothing | Item::Data(Value::Null))
}

fn equals_any(first: &Item, others: &[Item]) -> Result<bool, BuiltinError> {
    if others.is_empty() {
        return Err(failed("missing argument for comparison"));
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(a: &Item, b: &Item) -> Result<bool, BuiltinError> {
    Ok(match (basic(a), basic(b)) {
        (Some(Basic::Bool(a)), Some(Basic::Bool(b))) => a == b,
        (Some(Basic::Int(a)), Some(Basic::Int(b))) => a == b,
        (Some(Basic::Unsigned(a)), Some(Basic::Unsigned(b))) => a == b,
        (Some(Basic::Int(a)), Some(Basic::Unsigned(b))) | (Some(Basic::Unsigned(b)), Some(Basic::Int(a))) => {
            a == i64::from(b)
        }
        (Some(Basic::Float(a)), Some(Basic::Float(b))) => a.total_cmp(&b) == Ordering::Equal || a == b,
        (Some(Basic::Text(a)), Some(Basic::Text(b))) => a == b,
        // Lists and objects are equal to nothing, but cannot be compared with each other.
        _ if nothing(a) || nothing(b) => nothing(a) && nothing(b),
        _ => return Err(failed("incompatible types for comparison")),
    })
}

fn less(a: &Item, b: &Item) -> Result<bool, BuiltinError> {
    Ok(match (basic(a), basic(b)) {
        (Some(Basic::Int(a)), Some(Basic::Int(b))) => a < b,
        (Some(Basic::Unsigned(a)), Some(Basic::Unsigned(b))) => a < b,
        (Some(Basic::Int(a)), Some(Basic::Unsigned(b))) => a < i64::from(b),
        (Some(Basic::Unsigned(a)), Some(Basic::Int(b))) => i64::from(a) < b,
        (Some(Basic::Float(a)), Some(Basic::Float(b))) => a < b,
        (Some(Basic::Text(a)), Some(Basic::Text(b))) => a < b,
        _ => return Err(failed("invalid type for comparison")),
    })
}

fn less_or_equal(a: &Item, b: &Item) -> Result<bool, BuiltinError> {
    Ok(less(a, b)? || equal(a, b)?)
}

fn length(item: &Item) -> Result<Item, BuiltinError> {
    let length = match item {
        Item::Data(Value::String(text)) => text.len(),
        Item::Data(Value::Number(number)) => number.to_string().len(),
        Item::Data(Value::Array(items)) => items.len(),
        Item::Data(Value::Object(members)) => members.len(),
        _ => return Err(failed("this has no length")),
    };
    Ok(Item::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn item_of(item: &Item) -> Result<Item, BuiltinError> {
    if nothing(item) { Err(failed("index of untyped nil")) } else { Ok(item.clone()) }
}

/// An index that is not beyond the end.
fn place(index: &Item, end: usize) -> Result<usize, BuiltinError> {
    let place = match index {
        Item::Int(int) => usize::try_from(*int).ok(),
        Item::Byte(byte) => Some(usize::from(*byte)),
        _ => return Err(failed("cannot index with this type")),
    };
    place.filter(|place| *place <= end).ok_or_else(|| failed("index out of range"))
}

fn indexed(item: &Item, index: &Item) -> Result<Item, BuiltinError> {
    let out_of_range = || failed("index out of range");
    let byte = |text: &[u8]| {
        let at = place(index, text.len())?;
        text.get(at).copied().map(Item::Byte).ok_or_else(out_of_range)
    };
    match (item, index) {
        (Item::Data(Value::Array(items)), _) => {
            let at = place(index, items.len())?;
            items.get(at).cloned().map(Item::Data).ok_or_else(out_of_range)
        }
        (Item::Data(Value::String(text)), _) => byte(text.as_bytes()),
        (Item::Data(Value::Number(number)), _) => byte(number.to_string().as_bytes()),
        (Item::Data(Value::Object(members)), Item::Data(Value::String(name))) => {
            Ok(Item::Data(members.member(name).cloned().unwrap_or(Value::Null)))
        }
        _ => Err(failed("can't index this")),
    }
}

fn sliced(item: &Item, indexes: &[Item]) -> Result<Item, BuiltinError> {
    let (length, text) = match item {
        Item::Data(Value::Array(items)) => (items.len(), None),
        Item::Data(Value::String(text)) => (text.len(), Some(text.to_string())),
        Item::Data(Value::Number(number)) => {
            let text = number.to_string();
            (text.len(), Some(text))
        }
        _ => return Err(failed("can't slice this")),
    };
    if indexes.len() > 3 || (indexes.len() == 3 && text.is_some()) {
        return Err(failed("too many slice indexes"));
    }
    // A list may be cut beyond its end as far as OPA happens to have made room for it.
    let end = if text.is_some() { length } else { usize::MAX };
    let places: Vec<usize> = indexes.iter().map(|index| place(index, end)).collect::<Result<_, _>>()?;
    if places.iter().any(|place| *place > length) {
        return Err(BuiltinError::Budget("a template cuts a list beyond its end".to_owned()));
    }
    let begin = places.first().copied().unwrap_or(0);
    let end = places.get(1).copied().unwrap_or(length);
    if begin > end || places.get(2).is_some_and(|room| end > *room) {
        return Err(failed("invalid slice index"));
    }
    match (item, text) {
        (Item::Data(Value::Array(items)), _) => {
            Ok(Item::Data(Value::array(items.get(begin..end).unwrap_or_default().iter().cloned())))
        }
        (_, Some(text)) => match text.get(begin..end) {
            // A part of a number is no number, but stays of its type, which shows.
            Some(_) if matches!(item, Item::Data(Value::Number(_))) => {
                Err(BuiltinError::Budget("a template cuts a number".to_owned()))
            }
            Some(part) => Ok(Item::text(part.to_owned())),
            None => Err(BuiltinError::Budget("a template cuts within a character".to_owned())),
        },
        _ => Err(failed("can't slice this")),
    }
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let code = u32::from(character);
        match character {
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(character);
            }
            // Writing to a string does not fail.
            '<' | '>' | '&' | '=' | '\0'..='\u{1f}' => write!(out, "\\u{code:04X}").unwrap_or_default(),
            _ if character.is_ascii() || printable(character) => out.push(character),
            _ => write!(out, "\\u{code:04X}").unwrap_or_default(),
        }
    }
    out
}
