//! What one evaluation holds.
use super::observe::Observer;
use super::with::Overrides;
use crate::Value;
use crate::ast::Loc;
use crate::builtins::{BuiltinError, Context};
use crate::ir::{GroupId, Program};
use std::collections::HashMap;
use std::time::Instant;

/// What one evaluation may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps: about the expressions that are evaluated. The same policy on the same input takes the same steps.
    pub steps: u64,
    /// The safety net, should steps take longer than they should.
    pub deadline: Option<Instant>,
    /// Whether an error of a builtin ends the evaluation. In OPA it makes the call undefined, unless asked otherwise.
    pub strict_builtin_errors: bool,
}

/// Why an evaluation ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Halt {
    /// The class.
    pub code: HaltCode,
    /// What happened.
    pub message: String,
    /// Where, if it is known.
    pub loc: Loc,
}

/// The classes of [`Halt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltCode {
    /// Rules disagree about a value (OPA: `eval_conflict_error`).
    Conflict,
    /// A builtin got an operand of a wrong type, and such errors are strict (OPA: `eval_type_error`).
    Type,
    /// A builtin failed, and such errors are strict (OPA: `eval_builtin_error`).
    Builtin,
    /// The budget of steps is used up.
    Budget,
    /// The deadline has passed.
    Deadline,
    /// A fault of the engine.
    Internal,
}

/// Whether the caller wants more solutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    More,
    Enough,
}

pub(crate) type Run = Result<Flow, Halt>;

/// A value as a key: small ones by themselves, others by where they are kept (what is remembered keeps them there).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Small(Value),
    At(usize),
}

/// What is remembered of members of partial rules and calls of functions: the value, and what the keys' places hold.
type Remembered = HashMap<(GroupId, Vec<Key>), (Option<Value>, Vec<Value>)>;

/// A layer of what is remembered of one evaluation: each `with` opens one.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The values of whole rules, each with the evaluation that it belongs to: a layer that is used again need not be
    /// emptied.
    whole: Vec<(u64, Option<Value>)>,
    of: Remembered,
    evaluation: u64,
}

impl Memory {
    fn renew(&mut self) {
        self.evaluation = self.evaluation.saturating_add(1);
        self.of.clear();
    }

    /// A layer for a `with`, with nothing in it.
    pub(crate) fn layer() -> Self {
        Self { evaluation: 1, ..Self::default() }
    }
}

/// What evaluations leave behind for the next one to fill again, so that it need not ask for memory.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    slots: Vec<Option<Value>>,
    trail: Vec<usize>,
    memory: Memory,
}

/// One evaluation.
pub(crate) struct Machine<'p> {
    pub(crate) program: &'p Program,
    pub(crate) data: Value,
    /// What `with data… as` put in the place of data.
    pub(crate) replaced: Option<Value>,
    pub(crate) input: Option<Value>,
    pub(crate) slots: Vec<Option<Value>>,
    /// The slots that were bound, in order.
    pub(crate) trail: Vec<usize>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) overrides: Overrides,
    pub(crate) context: &'p mut Context,
    pub(crate) limits: Limits,
    /// The first error of a builtin that made a call undefined.
    pub(crate) first_error: Option<Halt>,
    /// Who watches, if anybody does.
    pub(crate) observer: Option<Box<Observer<'p>>>,
    until_clock: u32,
}

/// Steps between two looks at the clock.
const CLOCK_INTERVAL: u32 = 1024;

impl<'p> Machine<'p> {
    pub(crate) fn new(
        program: &'p Program,
        data: Value,
        input: Option<Value>,
        context: &'p mut Context,
        limits: Limits,
    ) -> Self {
        context.steps_left = limits.steps;
        let Scratch { mut slots, mut trail, mut memory } = std::mem::take(&mut context.scratch);
        slots.clear();
        trail.clear();
        memory.renew();
        Self {
            program,
            data,
            replaced: None,
            input,
            slots,
            trail,
            memory: vec![memory],
            overrides: Overrides::default(),
            context,
            limits,
            first_error: None,
            observer: None,
            until_clock: CLOCK_INTERVAL,
        }
    }

    /// Takes a step.
    pub(crate) fn tick(&mut self, loc: Loc) -> Result<(), Halt> {
        let Some(left) = self.context.steps_left.checked_sub(1) else {
            let message = format!("the decision takes more than {} steps", self.limits.steps);
            return Err(Halt { code: HaltCode::Budget, message, loc });
        };
        self.context.steps_left = left;
        self.until_clock = self.until_clock.saturating_sub(1);
        if self.until_clock == 0 {
            self.until_clock = CLOCK_INTERVAL;
            #[expect(clippy::disallowed_methods, reason = "the engine's own safety timer")]
            let late = self.limits.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if late {
                let message = "the decision takes longer than it may".to_owned();
                return Err(Halt { code: HaltCode::Deadline, message, loc });
            }
        }
        Ok(())
    }

    /// Opens a frame and says where it begins.
    pub(crate) fn open(&mut self, slots: usize) -> usize {
        let frame = self.slots.len();
        self.slots.resize(frame.saturating_add(slots), None);
        frame
    }

    /// Closes the frame that was opened last.
    pub(crate) fn close(&mut self, frame: usize, mark: usize) {
        self.trail.truncate(mark);
        self.slots.truncate(frame);
    }

    pub(crate) fn slot(&self, frame: usize, slot: u32) -> Option<&Value> {
        self.slots.get(frame.saturating_add(usize::try_from(slot).ok()?))?.as_ref()
    }

    pub(crate) fn bind(&mut self, frame: usize, slot: u32, value: Value) {
        let at = frame.saturating_add(usize::try_from(slot).unwrap_or(usize::MAX));
        if let Some(place) = self.slots.get_mut(at) {
            *place = Some(value);
            self.trail.push(at);
        }
    }

    pub(crate) fn undo(&mut self, mark: usize) {
        while self.trail.len() > mark {
            if let Some(at) = self.trail.pop()
                && let Some(place) = self.slots.get_mut(at)
            {
                *place = None;
            }
        }
    }

    /// What an error of a builtin means: the end, or an undefined call.
    pub(crate) fn builtin_failed(&mut self, name: &str, error: &BuiltinError, loc: Loc) -> Result<(), Halt> {
        let halt = |code, text: &str| Halt { code, message: format!("{name}: {text}"), loc };
        let halt = match error {
            BuiltinError::Budget(text) => return Err(halt(HaltCode::Budget, text)),
            BuiltinError::Type(text) => halt(HaltCode::Type, text),
            BuiltinError::Failed(text) => halt(HaltCode::Builtin, text),
        };
        self.first_error.get_or_insert(halt);
        Ok(())
    }

    /// The remembered value of a whole rule.
    pub(crate) fn remembered_whole(&self, group: GroupId) -> Option<Option<Value>> {
        let memory = self.memory.last()?;
        let (evaluation, value) = memory.whole.get(group)?;
        if *evaluation == memory.evaluation { Some(value.clone()) } else { None }
    }

    pub(crate) fn remember_whole(&mut self, group: GroupId, value: Option<Value>) {
        let groups = self.program.groups.len();
        if let Some(memory) = self.memory.last_mut() {
            if memory.whole.len() < groups {
                memory.whole.resize(groups, (0, None));
            }
            if let Some(place) = memory.whole.get_mut(group) {
                *place = (memory.evaluation, value);
            }
        }
    }

    /// The remembered value of a member or a call.
    pub(crate) fn remembered(&self, key: &(GroupId, Vec<Key>)) -> Option<Option<Value>> {
        self.memory.last().and_then(|memory| memory.of.get(key)).map(|(value, _)| value.clone())
    }

    /// Remembers a value; `kept` are what the key's places hold.
    pub(crate) fn remember(&mut self, key: (GroupId, Vec<Key>), value: Option<Value>, kept: Vec<Value>) {
        if let Some(memory) = self.memory.last_mut() {
            memory.of.insert(key, (value, kept));
        }
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        let memory = self.memory.drain(..).next().unwrap_or_default();
        self.context.scratch = Scratch {
            slots: std::mem::take(&mut self.slots),
            trail: std::mem::take(&mut self.trail),
            memory,
        };
    }
}

/// The key of a value.
pub(crate) fn key_of(value: &Value) -> Key {
    let at = |pointer: *const ()| Key::At(pointer.addr());
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Key::Small(value.clone()),
        Value::String(text) if text.len() <= 64 => Key::Small(value.clone()),
        Value::String(text) => at(text.as_ptr().cast()),
        Value::Array(items) if items.is_empty() => Key::Small(value.clone()),
        Value::Array(items) => at(items.as_ptr().cast()),
        Value::Object(object) if object.is_empty() => Key::Small(value.clone()),
        Value::Set(set) if set.is_empty() => Key::Small(value.clone()),
        Value::Object(object) => at(std::ptr::from_ref(object.iter().as_slice()).cast()),
        Value::Set(set) => at(std::ptr::from_ref(set.iter().as_slice()).cast()),
    }
}
