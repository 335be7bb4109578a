//! What it costs to go through a whole value.
use super::{BuiltinError, Context};
use crate::Value;

/// Values nest as deep as input may, and a policy adds a little to that.
const DEEPEST: usize = 1024;

impl Context {
    /// Charges for going through all of these values, and gives back how many items they have. The count itself ends
    /// with the budget: parts are shared, so that a value may be far larger than the memory it takes.
    ///
    /// # Errors
    /// [`BuiltinError::Budget`] when fewer steps are left, or when a value nests too deep.
    pub(crate) fn charge_values<'a>(
        &mut self,
        values: impl IntoIterator<Item = &'a Value>,
    ) -> Result<usize, BuiltinError> {
        let limit =
            usize::try_from(self.steps_left).unwrap_or(usize::MAX).saturating_mul(4).saturating_add(4);
        let mut left = limit;
        for value in values {
            let Some(rest) = count(value, left, DEEPEST) else {
                self.steps_left = 0;
                let what = "a value is larger than the steps that are left, or nests too deep";
                return Err(BuiltinError::Budget(what.to_owned()));
            };
            left = rest;
        }
        let weight = limit - left;
        // Scalars cost nothing beyond the call.
        self.charge(weight / 4)?;
        Ok(weight)
    }

    /// Charges for comparing two values.
    ///
    /// # Errors
    /// [`BuiltinError::Budget`] when fewer steps are left.
    pub(crate) fn charge_comparison(&mut self, a: &Value, b: &Value) -> Result<(), BuiltinError> {
        let smaller = match (a, b) {
            (Value::Array(x), Value::Array(y)) => x.len() < y.len(),
            (Value::Object(x), Value::Object(y)) => x.len() < y.len(),
            (Value::Set(x), Value::Set(y)) => x.len() < y.len(),
            (Value::String(x), Value::String(y)) => x.len() < y.len(),
            _ => return Ok(()),
        };
        self.charge_values([if smaller { a } else { b }]).map(drop)
    }

    /// Charges for sorting items that weigh so much together.
    ///
    /// # Errors
    /// [`BuiltinError::Budget`] when fewer steps are left.
    pub(crate) fn charge_sorting(&mut self, items: usize, weight: usize) -> Result<(), BuiltinError> {
        let rounds = usize::BITS - items.leading_zeros();
        self.charge_items(weight.saturating_mul(usize::try_from(rounds).unwrap_or(0)))
    }
}

/// What is left of `left` once all parts are taken from it.
fn count(value: &Value, left: usize, depth: usize) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    let left = left.checked_sub(1)?;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(left),
        Value::String(text) => left.checked_sub(text.len() / 16),
        Value::Array(items) => items.iter().try_fold(left, |left, item| count(item, left, depth)),
        Value::Set(items) => items.iter().try_fold(left, |left, item| count(item, left, depth)),
        Value::Object(members) => {
            members.iter().try_fold(left, |left, (key, value)| count(value, count(key, left, depth)?, depth))
        }
    }
}
