//! `with`: another input, other data, other functions, for one expression.
use super::groups::mocked;
use super::machine::{Halt, Machine, Memory, Run};
use super::step::Then;
use crate::Value;
use crate::ir::{Change, GroupId, Mocked, Replacement, Stmt, StmtKind, Target};

/// What stands in the place of a function.
#[derive(Clone, Debug)]
pub(crate) enum Mock {
    Value(Value),
    Function(Target),
    Rule(GroupId),
}

/// What is replaced at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// Paths below `data` whose rules are hidden by other data.
    data: Vec<Vec<Value>>,
    mocks: Vec<(Mocked, Mock)>,
}

impl Overrides {
    pub(crate) fn has_data(&self) -> bool {
        !self.data.is_empty()
    }

    pub(crate) fn has_mocks(&self) -> bool {
        !self.mocks.is_empty()
    }

    /// Whether the rules at this path are hidden.
    pub(crate) fn covers(&self, path: &[Value]) -> bool {
        self.data.iter().any(|hidden| path.starts_with(hidden))
    }

    pub(crate) fn mock(&self, target: Target) -> Option<Mock> {
        if self.mocks.is_empty() {
            return None;
        }
        let wanted = mocked(target);
        self.mocks.iter().rev().find(|(have, _)| *have == wanted).map(|(_, mock)| mock.clone())
    }

    /// Whether a rule stands in the place of a function.
    pub(crate) fn is_rule(&self, target: Target) -> bool {
        matches!(self.mock(target), Some(Mock::Rule(_)))
    }

    pub(crate) fn is_mocked(&self, target: Target) -> bool {
        self.mock(target).is_some()
    }

    /// A replacement that calls what it replaces means the original.
    pub(crate) fn suspend_mocks(&mut self) -> Vec<(Mocked, Mock)> {
        std::mem::take(&mut self.mocks)
    }

    pub(crate) fn restore_mocks(&mut self, mocks: Vec<(Mocked, Mock)>) {
        self.mocks = mocks;
    }
}

/// The state that a `with` replaces.
struct Outer {
    input: Option<Value>,
    replaced: Option<Value>,
    overrides: Overrides,
}

impl<'p> Machine<'p> {
    /// Evaluates a statement under its modifiers; `then` runs without them.
    pub(crate) fn with(&mut self, frame: usize, stmt: &'p Stmt, then: Then<'_, 'p>) -> Run {
        let StmtKind::With { changes, inner } = &stmt.kind else {
            return Ok(super::machine::Flow::More);
        };
        let mut inner_state = Outer {
            input: self.input.clone(),
            replaced: self.replaced.clone(),
            overrides: self.overrides.clone(),
        };
        for change in changes {
            if !self.change(frame, change, &mut inner_state)? {
                return Ok(super::machine::Flow::More);
            }
        }
        let memory = Memory::layer();
        let mut held = Some((inner_state, memory));
        self.swap(&mut held);
        let outcome = self.one(frame, inner, &mut |machine| {
            machine.swap(&mut held);
            let outcome = then(machine);
            machine.swap(&mut held);
            outcome
        });
        self.swap(&mut held);
        outcome
    }

    /// Exchanges the state in force with the one that is held.
    fn swap(&mut self, held: &mut Option<(Outer, Memory)>) {
        let Some((state, memory)) = held.take() else { return };
        let out = Outer {
            input: std::mem::replace(&mut self.input, state.input),
            replaced: std::mem::replace(&mut self.replaced, state.replaced),
            overrides: std::mem::replace(&mut self.overrides, state.overrides),
        };
        let old = self.memory.pop().unwrap_or_default();
        self.memory.push(memory);
        *held = Some((out, old));
    }

    /// Whether the value of the change is defined.
    fn change(&mut self, frame: usize, change: &'p Change, state: &mut Outer) -> Result<bool, Halt> {
        match change {
            Change::Input(path, operand) => {
                let Some(value) = self.value(frame, operand)? else { return Ok(false) };
                state.input = Some(replaced(state.input.take(), path, value));
            }
            Change::Data(path, operand) => {
                let Some(value) = self.value(frame, operand)? else { return Ok(false) };
                state.replaced = Some(replaced(state.replaced.take(), path, value));
                state.overrides.data.push(path.to_vec());
            }
            Change::Mock(what, Replacement::Value(operand)) => {
                let Some(value) = self.value(frame, operand)? else { return Ok(false) };
                state.overrides.mocks.push((*what, Mock::Value(value)));
            }
            Change::Mock(what, Replacement::Rule(group)) => {
                state.overrides.mocks.push((*what, Mock::Rule(*group)));
            }
            Change::Mock(what, Replacement::Function(target)) => {
                state.overrides.mocks.push((*what, Mock::Function(*target)));
            }
        }
        Ok(true)
    }
}

/// A document with another value at a path; what stands in the way and is no object gives way.
fn replaced(document: Option<Value>, path: &[Value], value: Value) -> Value {
    let Some((key, rest)) = path.split_first() else { return value };
    let mut object = match document {
        Some(Value::Object(object)) => object,
        _ => crate::Object::default(),
    };
    let inner = object.get(key).cloned();
    object.insert(key.clone(), replaced(inner, rest, value));
    Value::Object(object)
}
