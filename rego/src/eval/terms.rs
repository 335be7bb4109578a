//! Values of terms, and matching: all that has one solution at most.
use super::machine::{Flow, Halt, Machine};
use crate::Value;
use crate::ir::{Comprehension, ComprehensionKind, Operand};

impl<'p> Machine<'p> {
    /// Whether a term has no variable without a value, and nothing to evaluate but comprehensions.
    pub(crate) fn is_ground(&self, frame: usize, operand: &Operand) -> bool {
        match operand {
            Operand::Const(_) | Operand::Comprehension(_) => true,
            Operand::Slot(slot) => self.slot(frame, *slot).is_some(),
            Operand::Array(items) | Operand::Set(items) => {
                items.iter().all(|item| self.is_ground(frame, item))
            }
            Operand::Object(members) => {
                members.iter().all(|(key, value)| self.is_ground(frame, key) && self.is_ground(frame, value))
            }
            Operand::Ref(reference) => reference.path.iter().all(|part| self.is_ground(frame, part)),
        }
    }

    /// The value of a ground term; `None` is undefined, or not ground.
    pub(crate) fn value(&mut self, frame: usize, operand: &'p Operand) -> Result<Option<Value>, Halt> {
        Ok(Some(match operand {
            Operand::Const(value) => value.clone(),
            Operand::Slot(slot) => return Ok(self.slot(frame, *slot).cloned()),
            Operand::Array(items) => match self.values(frame, items)? {
                Some(values) => Value::array(values),
                None => return Ok(None),
            },
            Operand::Set(items) => match self.values(frame, items)? {
                Some(values) => Value::set(values),
                None => return Ok(None),
            },
            Operand::Object(members) => {
                let mut values = Vec::with_capacity(members.len());
                for (key, value) in members {
                    match (self.value(frame, key)?, self.value(frame, value)?) {
                        (Some(key), Some(value)) => values.push((key, value)),
                        _ => return Ok(None),
                    }
                }
                Value::object(values)
            }
            Operand::Ref(reference) => return self.ref_value(frame, reference),
            Operand::Comprehension(comprehension) => self.comprehension(frame, comprehension)?,
        }))
    }

    fn values(&mut self, frame: usize, items: &'p [Operand]) -> Result<Option<Vec<Value>>, Halt> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match self.value(frame, item)? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(values))
    }

    /// Matches a pattern against a value, binding variables; what was bound stays on the trail.
    pub(crate) fn matches(
        &mut self,
        frame: usize,
        pattern: &'p Operand,
        value: &Value,
    ) -> Result<bool, Halt> {
        match pattern {
            Operand::Const(constant) => Ok(constant == value),
            Operand::Slot(slot) => match self.slot(frame, *slot) {
                Some(have) => Ok(have == value),
                None => {
                    self.bind(frame, *slot, value.clone());
                    Ok(true)
                }
            },
            Operand::Array(items) => {
                let Value::Array(values) = value else { return Ok(false) };
                if items.len() != values.len() {
                    return Ok(false);
                }
                for (item, value) in items.iter().zip(values.iter()) {
                    if !self.matches(frame, item, value)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Operand::Object(members) => {
                let Value::Object(object) = value else { return Ok(false) };
                if members.len() != object.len() {
                    return Ok(false);
                }
                for (key, pattern) in members {
                    let Some(key) = self.value(frame, key)? else { return Ok(false) };
                    let Some(member) = object.get(&key) else { return Ok(false) };
                    if !self.matches(frame, pattern, member)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Operand::Set(_) | Operand::Ref(_) | Operand::Comprehension(_) => {
                Ok(self.value(frame, pattern)?.is_some_and(|have| have == *value))
            }
        }
    }

    /// Unifies two terms without references: parts of which neither side is known wait for the others.
    pub(crate) fn unify(&mut self, frame: usize, a: &'p Operand, b: &'p Operand) -> Result<bool, Halt> {
        let mut waiting = vec![(a, b)];
        loop {
            let mut still = Vec::new();
            let before = waiting.len();
            for (a, b) in std::mem::take(&mut waiting) {
                if !self.unify_pair(frame, a, b, &mut still)? {
                    return Ok(false);
                }
            }
            if still.is_empty() {
                return Ok(true);
            }
            let stuck = still.len() >= before
                && still.iter().all(|(a, b)| !self.is_ground(frame, a) && !self.is_ground(frame, b));
            if stuck {
                // Two variables that are one another and nothing else: safety refuses such bodies.
                return Ok(false);
            }
            waiting = still;
        }
    }

    fn unify_pair(
        &mut self,
        frame: usize,
        a: &'p Operand,
        b: &'p Operand,
        still: &mut Vec<(&'p Operand, &'p Operand)>,
    ) -> Result<bool, Halt> {
        if self.is_ground(frame, b) {
            return match self.value(frame, b)? {
                Some(value) => self.matches(frame, a, &value),
                None => Ok(false),
            };
        }
        if self.is_ground(frame, a) {
            return match self.value(frame, a)? {
                Some(value) => self.matches(frame, b, &value),
                None => Ok(false),
            };
        }
        match (a, b) {
            (Operand::Array(left), Operand::Array(right)) => {
                still.extend(left.iter().zip(right.iter()));
                Ok(left.len() == right.len())
            }
            (Operand::Object(left), Operand::Object(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (key, value) in left {
                    let Some(key) = self.value(frame, key)? else { return Ok(false) };
                    let mut found = None;
                    for (other, pattern) in right {
                        if self.value(frame, other)?.is_some_and(|other| other == key) {
                            found = Some(pattern);
                        }
                    }
                    match found {
                        Some(pattern) => still.push((value, pattern)),
                        None => return Ok(false),
                    }
                }
                Ok(true)
            }
            (Operand::Slot(left), Operand::Slot(right)) if left == right => Ok(true),
            (Operand::Slot(_), _) | (_, Operand::Slot(_)) => {
                still.push((a, b));
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Evaluates a comprehension.
    pub(crate) fn comprehension(&mut self, frame: usize, of: &'p Comprehension) -> Result<Value, Halt> {
        let mut values = Vec::new();
        let mut members: Vec<(Value, Value)> = Vec::new();
        let mut conflict = None;
        let mark = self.trail.len();
        self.body(frame, &of.body, &mut |machine| {
            let Some(value) = machine.value(frame, &of.value)? else { return Ok(Flow::More) };
            match &of.key {
                None => values.push(value),
                Some(key) => {
                    if let Some(key) = machine.value(frame, key)? {
                        members.push((key, value));
                    }
                }
            }
            Ok(Flow::More)
        })?;
        self.undo(mark);
        Ok(match of.kind {
            ComprehensionKind::Array => Value::array(values),
            ComprehensionKind::Set => Value::set(values),
            ComprehensionKind::Object => {
                members.sort_by(|(a, _), (b, _)| a.cmp(b));
                for pair in members.windows(2) {
                    if let [(a, one), (b, other)] = pair
                        && a == b
                        && one != other
                    {
                        conflict = Some(a.clone());
                    }
                }
                if conflict.is_some() {
                    let loc = of.body.first().map(|stmt| stmt.loc).unwrap_or_default();
                    let message = "object keys must be unique".to_owned();
                    return Err(Halt { code: super::HaltCode::Conflict, message, loc });
                }
                Value::object(members)
            }
        })
    }
}
