//! Builtins that are ours: where the engine's own differ from OPA, have no bound, or read the world.
//!
//! Registered as extensions, which the interpreter looks up before its own table.
use super::pattern;
use regorus::unstable::{BUILTINS, Expr, Ref, Span};
use regorus::{Engine, Source, Value};
use std::cell::Cell;

/// Builtins that a decision must not depend on, with the reason.
pub(super) const REFUSED: &[(&str, &str)] = &[
    (
        "http.send",
        "a decision makes no network calls; put the facts into the bundle's data or the caller's token",
    ),
    ("net.lookup_ip_addr", "a decision makes no network calls; put the addresses into the bundle's data"),
    ("rand.intn", "the same question must get the same answer; remove the randomness"),
    ("uuid.rfc4122", "the same question must get the same answer; use `input.attributes.request.http.id`"),
    ("opa.runtime", "a decision must not depend on where it runs; put the facts into the bundle's data"),
    ("rego.parse_module", "it is not implemented here; remove it"),
    ("trace", "it is not implemented here; remove it or use `print`"),
];

/// The most items that one call of `numbers.range` or `numbers.range_step` may make.
const RANGE_ITEMS_MAX: i64 = 10_000;
/// The largest shift of `bits.lsh`, in bits.
const SHIFT_MAX: i64 = 4096;
/// Marks an error as one of cost, so that it is named `policy.budget`.
pub(super) const BUDGET: &str = "beyond the budget:";

thread_local! {
    /// The moment of the decision that this thread is in.
    static NOW_NS: Cell<u64> = const { Cell::new(0) };
}

/// Sets what `time.now_ns` answers on this thread until the next call.
pub(super) fn set_now(now_ns: u64) {
    NOW_NS.set(now_ns);
}

/// Why a builtin has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuiltinError {
    #[error("{BUDGET} {0}")]
    Budget(String),
    #[error("{name}: argument {argument} must be {expected}")]
    Type { name: &'static str, argument: usize, expected: &'static str },
    #[error("{0}")]
    Pattern(String),
    #[error("the engine lacks its own `{0}`")]
    Absent(&'static str),
}

type Outcome = Result<Value, BuiltinError>;

/// A builtin of ours: name, number of arguments, function.
struct Own {
    name: &'static str,
    arity: u8,
    call: fn(&[Value]) -> Outcome,
}

const OWN: &[Own] = &[
    Own { name: "time.now_ns", arity: 0, call: |_| Ok(Value::from(NOW_NS.get())) },
    Own { name: "strings.count", arity: 2, call: strings_count },
    Own { name: "numbers.range", arity: 2, call: |args| bounded_range("numbers.range", args) },
    Own { name: "numbers.range_step", arity: 3, call: |args| bounded_range("numbers.range_step", args) },
    Own { name: "bits.lsh", arity: 2, call: bits_lsh },
    Own { name: "glob.match", arity: 3, call: glob_match },
    Own { name: "regex.match", arity: 2, call: regex_match },
    Own { name: "regex.is_valid", arity: 1, call: regex_is_valid },
    Own { name: "regex.find_n", arity: 3, call: |args| with_pattern("regex.find_n", args, 0) },
    Own { name: "regex.split", arity: 2, call: |args| with_pattern("regex.split", args, 0) },
    Own { name: "regex.replace", arity: 3, call: |args| with_pattern("regex.replace", args, 1) },
    Own {
        name: "regex.find_all_string_submatch_n",
        arity: 3,
        call: |args| with_pattern("regex.find_all_string_submatch_n", args, 0),
    },
];

/// The number of arguments of a builtin that is ours.
pub(super) fn own_arity(name: &str) -> Option<usize> {
    OWN.iter().find(|own| own.name == name).map(|own| usize::from(own.arity))
}

/// Whether the engine or we have a builtin of this name.
pub(super) fn is_known(name: &str) -> bool {
    name == "print" || own_arity(name).is_some() || BUILTINS.contains_key(name)
}

/// Registers ours with an engine. False if one was there already.
pub(super) fn register(engine: &mut Engine) -> bool {
    OWN.iter().all(|own| {
        let call = own.call;
        engine
            .add_extension(own.name.to_owned(), own.arity, Box::new(move |args: Vec<Value>| Ok(call(&args)?)))
            .is_ok()
    })
}

/// Calls the engine's builtin of that name.
fn engines_own(name: &'static str, args: &[Value]) -> Outcome {
    let Some((builtin, _)) = BUILTINS.get(name) else {
        return Err(BuiltinError::Absent(name));
    };
    let source =
        Source::from_contents(name.to_owned(), String::new()).map_err(|_| BuiltinError::Absent(name))?;
    let span = Span { source, line: 1, col: 1, start: 0, end: 0 };
    let place = |_: &Value| Ref::new(Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 });
    let params: Vec<Ref<Expr>> = args.iter().map(place).collect();
    builtin(&span, &params, args, true).map_err(|error| BuiltinError::Pattern(format!("{name}: {error}")))
}

fn text<'a>(name: &'static str, args: &'a [Value], index: usize) -> Result<&'a str, BuiltinError> {
    let expected = BuiltinError::Type { name, argument: index.saturating_add(1), expected: "a string" };
    match args.get(index) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(expected),
    }
}

fn integer(name: &'static str, args: &[Value], index: usize) -> Result<i64, BuiltinError> {
    let expected = || BuiltinError::Type { name, argument: index.saturating_add(1), expected: "an integer" };
    args.get(index).and_then(|value| value.as_i64().ok()).ok_or_else(expected)
}

/// Go's `strings.Count`: an empty needle is found before, between and after the characters. The engine's panics.
fn strings_count(args: &[Value]) -> Outcome {
    let (hay, needle) = (text("strings.count", args, 0)?, text("strings.count", args, 1)?);
    let count =
        if needle.is_empty() { hay.chars().count().saturating_add(1) } else { hay.matches(needle).count() };
    Ok(Value::from(count))
}

/// A single builtin cannot be interrupted, so its size is checked before it runs.
fn bounded_range(name: &'static str, args: &[Value]) -> Outcome {
    let (from, to) = (integer(name, args, 0)?, integer(name, args, 1)?);
    let step = if args.len() > 2 { integer(name, args, 2)? } else { 1 };
    let items = from.abs_diff(to).checked_div(step.unsigned_abs()).unwrap_or(0);
    if items >= RANGE_ITEMS_MAX.unsigned_abs() {
        return Err(BuiltinError::Budget(format!("{name} of {items} items, the most is {RANGE_ITEMS_MAX}")));
    }
    engines_own(name, args)
}

fn bits_lsh(args: &[Value]) -> Outcome {
    let shift = integer("bits.lsh", args, 1)?;
    if shift > SHIFT_MAX {
        return Err(BuiltinError::Budget(format!("bits.lsh by {shift}, the most is {SHIFT_MAX}")));
    }
    engines_own("bits.lsh", args)
}

fn glob_match(args: &[Value]) -> Outcome {
    let (pattern, subject) = (text("glob.match", args, 0)?, text("glob.match", args, 2)?);
    let expected =
        || BuiltinError::Type { name: "glob.match", argument: 2, expected: "null or single characters" };
    let delimiters = match args.get(1) {
        Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => {
            let mut delimiters = Vec::new();
            for item in items.iter() {
                let Value::String(text) = item else { return Err(expected()) };
                let mut characters = text.chars();
                match (characters.next(), characters.next()) {
                    (Some(one), None) => delimiters.push(one),
                    _ => return Err(expected()),
                }
            }
            // OPA: an empty list means the default delimiter.
            if delimiters.is_empty() { vec!['.'] } else { delimiters }
        }
        _ => return Err(expected()),
    };
    pattern::glob_matches(pattern, &delimiters, subject).map(Value::from).map_err(BuiltinError::Pattern)
}

fn regex_match(args: &[Value]) -> Outcome {
    let (pattern, subject) = (text("regex.match", args, 0)?, text("regex.match", args, 1)?);
    pattern::regex_matches(pattern, subject).map(Value::from).map_err(BuiltinError::Pattern)
}

fn regex_is_valid(args: &[Value]) -> Outcome {
    match args.first() {
        Some(Value::String(pattern)) => Ok(Value::from(pattern::regex_is_valid(pattern))),
        _ => Ok(Value::from(false)),
    }
}

/// The engine's function with the pattern translated to what RE2 means.
fn with_pattern(name: &'static str, args: &[Value], index: usize) -> Outcome {
    let translated = pattern::translated(text(name, args, index)?).map_err(BuiltinError::Pattern)?;
    let mut args = args.to_vec();
    if let Some(pattern) = args.get_mut(index) {
        *pattern = Value::from(translated);
    }
    engines_own(name, &args)
}
