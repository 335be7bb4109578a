//! Charging in small portions: loops that do little at a time spend units, and 64 units are a step of the budget.
use super::{BuiltinError, Context};

/// Collects units of work and charges each full step. What is left over when it is dropped is less than a step, and is
/// forgiven.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    context: &'a mut Context,
    units: usize,
}

/// About how many bytes, or comparisons of one byte, make a step.
const UNITS_A_STEP: usize = 64;

impl<'a> Meter<'a> {
    pub(super) fn new(context: &'a mut Context) -> Self {
        Self { context, units: 0 }
    }

    /// Charges for this many units: bytes that are looked at or made.
    pub(super) fn spend(&mut self, units: usize) -> Result<(), BuiltinError> {
        self.units = self.units.saturating_add(units);
        if self.units >= UNITS_A_STEP {
            let steps = self.units.checked_div(UNITS_A_STEP).unwrap_or(self.units);
            self.units = self.units.checked_rem(UNITS_A_STEP).unwrap_or(0);
            self.context.charge(steps)?;
        }
        Ok(())
    }

    /// Charges for text that is about to be appended, and appends it.
    pub(super) fn append(&mut self, out: &mut String, text: &str) -> Result<(), BuiltinError> {
        self.spend(text.len())?;
        out.push_str(text);
        Ok(())
    }
}
