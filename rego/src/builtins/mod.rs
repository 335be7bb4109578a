//! The builtin functions: one table a group. A new one: a row in the table of its group, and its cases.
//!
//! A builtin cannot be interrupted, so each charges the budget for what it is about to do before it does it.
mod aggregates;
mod arithmetic;
mod arrays;
mod bits;
mod casts;
mod certificates;
mod cidr;
mod crypto;
mod decimal;
mod encoding;
mod glob;
mod graph;
mod json;
mod jwt;
mod meter;
mod objects;
mod pki;
#[cfg(test)]
mod random_calls;
mod regexes;
mod schema;
mod semver;
mod sets;
mod sprintf;
mod strings;
#[cfg(test)]
pub(crate) mod testing;
mod time;
mod types;
mod units;
mod uri;
mod uuid;
mod weight;

pub(crate) use strings::template_unsupported;

use crate::Value;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// What a call leads to: `None` is undefined without an error.
pub type Outcome = Result<Option<Value>, BuiltinError>;

/// Why a builtin has no result. But for the budget, an error makes the call undefined, unless errors are strict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuiltinError {
    /// An operand of a wrong type (OPA: `eval_type_error`).
    #[error("{0}")]
    Type(String),
    /// Another error (OPA: `eval_builtin_error`).
    #[error("{0}")]
    Failed(String),
    /// The call would cost more than the decision may: ends the whole decision, never only the call.
    #[error("{0}")]
    Budget(String),
}

/// A builtin function.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// The name in policies.
    pub name: &'static str,
    /// How many arguments it takes.
    pub arity: usize,
    /// Whether equal arguments may give different results (within one decision they never do).
    pub nondeterministic: bool,
    /// The function. It gets exactly `arity` arguments.
    pub call: fn(&mut Context, &[Value]) -> Outcome,
}

impl Builtin {
    /// A function whose result depends on its arguments alone.
    pub(crate) const fn pure(
        name: &'static str,
        arity: usize,
        call: fn(&mut Context, &[Value]) -> Outcome,
    ) -> Self {
        Self { name, arity, nondeterministic: false, call }
    }
}

/// What builtins may know besides their arguments. One a decision; `patterns` outlives decisions.
#[derive(Debug)]
pub struct Context {
    /// The moment of the decision in nanoseconds since the Unix epoch.
    pub now_ns: u64,
    /// Steps that the decision may still take. A step is about the work of one expression; a builtin charges one step
    /// for every 64 bytes or 4 items that it goes through or makes.
    pub steps_left: u64,
    /// Seed of `rand.intn` and `uuid.rfc4122`.
    pub seed: u64,
    /// What `opa.runtime()` answers: an object without environment.
    pub runtime: Value,
    /// Compiled patterns (regular expressions, globs, schemas) by group and text; bounded.
    pub patterns: Patterns,
    pub(crate) scratch: crate::eval::Scratch,
}

/// Compiled patterns, kept over decisions, at most [`Patterns::MAX`]; a full cache is emptied.
#[derive(Debug, Default)]
pub struct Patterns {
    kept: HashMap<(&'static str, String), Arc<dyn std::any::Any + Send + Sync>>,
}

impl Patterns {
    /// The most patterns that are kept.
    pub const MAX: usize = 1024;

    /// The compiled pattern of this text, compiled now if it is not kept.
    ///
    /// # Errors
    /// What `compile` says.
    pub fn get<T: Send + Sync + 'static, E>(
        &mut self,
        group: &'static str,
        text: &str,
        compile: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let key = (group, text.to_owned());
        if let Some(kept) = self.kept.get(&key).cloned().and_then(|kept| kept.downcast::<T>().ok()) {
            return Ok(kept);
        }
        let compiled = Arc::new(compile()?);
        if self.kept.len() >= Self::MAX {
            self.kept.clear();
        }
        self.kept.insert(key, Arc::<T>::clone(&compiled));
        Ok(compiled)
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl Context {
    /// A context at a moment, with a seed, without steps: an evaluation sets them.
    pub fn new(now_ns: u64, seed: u64) -> Self {
        Self {
            now_ns,
            steps_left: 0,
            seed,
            runtime: Value::Object(crate::Object::default()),
            patterns: Patterns::default(),
            scratch: crate::eval::Scratch::default(),
        }
    }

    /// Takes steps from the budget.
    ///
    /// # Errors
    /// [`BuiltinError::Budget`] when fewer are left.
    pub fn charge(&mut self, steps: usize) -> Result<(), BuiltinError> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        match self.steps_left.checked_sub(steps) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => {
                self.steps_left = 0;
                Err(BuiltinError::Budget("the decision takes more steps than it may".to_owned()))
            }
        }
    }

    /// Charges for going through, or making, this many bytes.
    ///
    /// # Errors
    /// [`BuiltinError::Budget`] when fewer steps are left.
    pub fn charge_bytes(&mut self, bytes: usize) -> Result<(), BuiltinError> {
        self.charge(bytes.div_ceil(64))
    }

    /// Charges for going through, or making, this many items.
    ///
    /// # Errors
    /// [`BuiltinError::Budget`] when fewer steps are left.
    pub fn charge_items(&mut self, items: usize) -> Result<(), BuiltinError> {
        self.charge(items.div_ceil(4))
    }
}

/// The builtin of this name.
pub fn lookup(name: &str) -> Option<&'static Builtin> {
    static TABLE: OnceLock<HashMap<&'static str, &'static Builtin>> = OnceLock::new();
    TABLE.get_or_init(|| groups().into_iter().flatten().map(|b| (b.name, b)).collect()).get(name).copied()
}

/// Every builtin.
pub fn all() -> impl Iterator<Item = &'static Builtin> {
    groups().into_iter().flatten()
}

fn groups() -> [&'static [Builtin]; 25] {
    [
        aggregates::TABLE,
        arithmetic::TABLE,
        arrays::TABLE,
        bits::TABLE,
        casts::TABLE,
        certificates::TABLE,
        cidr::TABLE,
        crypto::TABLE,
        encoding::TABLE,
        glob::TABLE,
        graph::TABLE,
        json::TABLE,
        jwt::TABLE,
        objects::TABLE,
        regexes::TABLE,
        schema::TABLE,
        semver::TABLE,
        sets::TABLE,
        sprintf::TABLE,
        strings::TABLE,
        time::TABLE,
        types::TABLE,
        units::TABLE,
        uri::TABLE,
        uuid::TABLE,
    ]
}

/// The error for an operand of a wrong type, in OPA's words: `operand 1 must be string but got number`.
pub(crate) fn operand(index: usize, expected: &str, got: &Value) -> BuiltinError {
    BuiltinError::Type(format!(
        "operand {} must be {expected} but got {}",
        index.saturating_add(1),
        got.type_name()
    ))
}

/// The argument at an index. The evaluator gives exactly as many as the arity says.
pub(crate) fn arg(args: &[Value], index: usize) -> Result<&Value, BuiltinError> {
    args.get(index)
        .ok_or_else(|| BuiltinError::Failed(format!("operand {} is missing", index.saturating_add(1))))
}

/// A string argument.
pub(crate) fn text(args: &[Value], index: usize) -> Result<&str, BuiltinError> {
    let value = arg(args, index)?;
    value.as_str().ok_or_else(|| operand(index, "string", value))
}

/// A set argument.
pub(crate) fn set(args: &[Value], index: usize) -> Result<&crate::Set, BuiltinError> {
    let value = arg(args, index)?;
    value.as_set().ok_or_else(|| operand(index, "set", value))
}

/// An array argument.
pub(crate) fn array(args: &[Value], index: usize) -> Result<&[Value], BuiltinError> {
    let value = arg(args, index)?;
    value.as_array().ok_or_else(|| operand(index, "array", value))
}

/// An object argument.
pub(crate) fn object(args: &[Value], index: usize) -> Result<&crate::Object, BuiltinError> {
    let value = arg(args, index)?;
    value.as_object().ok_or_else(|| operand(index, "object", value))
}

/// A number argument.
pub(crate) fn number(args: &[Value], index: usize) -> Result<&crate::Number, BuiltinError> {
    let value = arg(args, index)?;
    if let Value::Number(number) = value { Ok(number) } else { Err(operand(index, "number", value)) }
}
