//! Statements, one after the other.
use super::machine::{Flow, Halt, Machine, Run};
use crate::Value;
use crate::ast::Loc;
use crate::builtins::Builtin;
use crate::ir::{Operand, Reference, Stmt, StmtKind, Target};

/// What a statement comes to.
enum Step<'p> {
    /// It holds, in one way; what it binds is bound.
    Holds,
    Fails,
    /// It may hold in several ways: by the values of a reference that is held against a pattern.
    Each(&'p Reference, Against<'p>),
    /// By the pairs of `walk`.
    EachOf(Value, Option<&'p Operand>),
    /// The statement under modifiers may hold in several ways.
    With(&'p Stmt),
}

#[derive(Clone, Copy)]
enum Against<'p> {
    /// Not false.
    Truth,
    Pattern(&'p Operand),
    /// Another reference with several values.
    Reference(&'p Reference),
}

/// What is done for each solution.
pub(crate) type Then<'a, 'p> = &'a mut dyn FnMut(&mut Machine<'p>) -> Run;

impl<'p> Machine<'p> {
    /// Evaluates a body and does `then` for each of its solutions. Bindings are undone afterwards.
    pub(crate) fn body(&mut self, frame: usize, body: &'p [Stmt], then: Then<'_, 'p>) -> Run {
        let mark = self.trail.len();
        let outcome = self.walk_body(frame, body, then);
        self.undo(mark);
        outcome
    }

    fn walk_body(&mut self, frame: usize, mut body: &'p [Stmt], then: Then<'_, 'p>) -> Run {
        while let Some((stmt, rest)) = body.split_first() {
            self.tick(stmt.loc)?;
            if self.observer.is_some() {
                self.reached(frame, stmt);
            }
            match self.step(frame, stmt)? {
                Step::Holds => body = rest,
                Step::Fails => return Ok(Flow::More),
                Step::Each(reference, against) => {
                    return self.each_against(frame, reference, against, &mut |machine| {
                        machine.walk_body(frame, rest, then)
                    });
                }
                Step::EachOf(value, pattern) => {
                    return self.each_walked(frame, &value, pattern, &mut |machine| {
                        machine.walk_body(frame, rest, then)
                    });
                }
                Step::With(stmt) => {
                    return self.with(frame, stmt, &mut |machine| machine.walk_body(frame, rest, then));
                }
            }
        }
        then(self)
    }

    /// Evaluates one statement alone, in all the ways in which it holds.
    pub(crate) fn one(&mut self, frame: usize, stmt: &'p Stmt, then: Then<'_, 'p>) -> Run {
        self.body(frame, std::slice::from_ref(stmt), then)
    }

    fn step(&mut self, frame: usize, stmt: &'p Stmt) -> Result<Step<'p>, Halt> {
        match &stmt.kind {
            StmtKind::Holds(operand) => self.holds(frame, operand),
            StmtKind::Unify(a, b) => self.equation(frame, a, b),
            StmtKind::Call { target, args, output } => {
                self.call((frame, stmt.loc), *target, args, output.as_ref())
            }
            StmtKind::Not(inner) => {
                let mut found = false;
                self.one(frame, inner, &mut |_| {
                    found = true;
                    Ok(Flow::Enough)
                })?;
                Ok(if found { Step::Fails } else { Step::Holds })
            }
            StmtKind::Every { key, value, domain, body } => {
                let domain = match domain {
                    Operand::Slot(slot) => self.slot(frame, *slot).cloned(),
                    other => self.value(frame, other)?,
                };
                self.every(frame, (*key, *value), domain.as_ref(), body)
            }
            StmtKind::With { .. } => Ok(Step::With(stmt)),
        }
    }

    fn holds(&mut self, frame: usize, operand: &'p Operand) -> Result<Step<'p>, Halt> {
        if let Operand::Ref(reference) = operand
            && !self.is_ground(frame, operand)
        {
            return Ok(Step::Each(reference, Against::Truth));
        }
        let value = self.value(frame, operand)?;
        Ok(if value.is_some_and(|value| value != Value::Bool(false)) { Step::Holds } else { Step::Fails })
    }

    fn equation(&mut self, frame: usize, a: &'p Operand, b: &'p Operand) -> Result<Step<'p>, Halt> {
        let several = |machine: &Self, operand: &'p Operand| match operand {
            Operand::Ref(reference) if !machine.is_ground(frame, operand) => Some(&**reference),
            _ => None,
        };
        match (several(self, a), several(self, b)) {
            (Some(a), Some(b)) => return Ok(Step::Each(a, Against::Reference(b))),
            (Some(reference), None) => return Ok(Step::Each(reference, Against::Pattern(b))),
            (None, Some(reference)) => return Ok(Step::Each(reference, Against::Pattern(a))),
            (None, None) => {}
        }
        let holds = match (a, b) {
            (Operand::Ref(_) | Operand::Comprehension(_), pattern)
            | (pattern, Operand::Ref(_) | Operand::Comprehension(_)) => {
                let evaluated = if std::ptr::eq(pattern, a) { b } else { a };
                match self.value(frame, evaluated)? {
                    Some(value) => self.matches(frame, pattern, &value)?,
                    None => false,
                }
            }
            _ => self.unify(frame, a, b)?,
        };
        Ok(if holds { Step::Holds } else { Step::Fails })
    }

    fn each_against(
        &mut self,
        frame: usize,
        reference: &'p Reference,
        against: Against<'p>,
        then: Then<'_, 'p>,
    ) -> Run {
        self.each(frame, reference, &mut |machine, value| {
            machine.tick(reference.loc)?;
            match against {
                Against::Truth if *value == Value::Bool(false) => Ok(Flow::More),
                Against::Truth => then(machine),
                Against::Pattern(pattern) => {
                    let mark = machine.trail.len();
                    let outcome =
                        if machine.matches(frame, pattern, value)? { then(machine) } else { Ok(Flow::More) };
                    machine.undo(mark);
                    outcome
                }
                Against::Reference(other) => machine.each(frame, other, &mut |machine, found| {
                    machine.tick(other.loc)?;
                    if found == value { then(machine) } else { Ok(Flow::More) }
                }),
            }
        })
    }

    fn every(
        &mut self,
        frame: usize,
        (key, value): (u32, u32),
        domain: Option<&Value>,
        body: &'p [Stmt],
    ) -> Result<Step<'p>, Halt> {
        let Some(domain @ (Value::Array(_) | Value::Object(_) | Value::Set(_))) = domain else {
            return Ok(Step::Fails);
        };
        let mut failed = Ok(());
        let all = each_member(domain, &mut |name, member| {
            let mark = self.trail.len();
            self.bind(frame, key, name);
            self.bind(frame, value, member.clone());
            let mut found = false;
            let outcome = self.body(frame, body, &mut |_| {
                found = true;
                Ok(Flow::Enough)
            });
            self.undo(mark);
            failed = outcome.map(|_| ());
            found && failed.is_ok()
        });
        failed?;
        Ok(if all == Some(true) { Step::Holds } else { Step::Fails })
    }

    fn call(
        &mut self,
        (frame, loc): (usize, Loc),
        target: Target,
        args: &'p [Operand],
        output: Option<&'p Operand>,
    ) -> Result<Step<'p>, Halt> {
        if let (Target::Builtin(builtin), false) = (target, self.overrides.has_mocks()) {
            return self.call_builtin((frame, loc), builtin, args, output);
        }
        let mut values = Vec::with_capacity(args.len());
        for argument in args {
            match self.value(frame, argument)? {
                Some(value) => values.push(value),
                None => return Ok(Step::Fails),
            }
        }
        if matches!(target, Target::Walk) && !self.overrides.is_mocked(target) {
            return Ok(match values.pop() {
                Some(value) => Step::EachOf(value, output),
                None => Step::Fails,
            });
        }
        if output.is_none() && self.overrides.is_rule(target) {
            // As in OPA, which looks at the rule only where the call has an output.
            return Ok(Step::Holds);
        }
        let Some(result) = self.apply(target, values, loc)? else {
            return Ok(Step::Fails);
        };
        self.returned(frame, output, &result)
    }

    /// Most calls are of builtins with a few arguments: these need no memory for them.
    fn call_builtin(
        &mut self,
        (frame, loc): (usize, Loc),
        builtin: &'static Builtin,
        args: &'p [Operand],
        output: Option<&'p Operand>,
    ) -> Result<Step<'p>, Halt> {
        let mut few: [Value; FEW] = [const { Value::Null }; FEW];
        let mut many = Vec::new();
        for (index, argument) in args.iter().enumerate() {
            let Some(value) = self.value(frame, argument)? else { return Ok(Step::Fails) };
            match few.get_mut(index) {
                Some(place) if args.len() <= FEW => *place = value,
                _ => many.push(value),
            }
        }
        let values = if args.len() <= FEW { few.get(..args.len()).unwrap_or_default() } else { &many };
        match (builtin.call)(self.context, values) {
            Ok(Some(result)) => self.returned(frame, output, &result),
            Ok(None) => Ok(Step::Fails),
            Err(error) => {
                self.builtin_failed(builtin.name, &error, loc)?;
                Ok(Step::Fails)
            }
        }
    }

    fn returned(
        &mut self,
        frame: usize,
        output: Option<&'p Operand>,
        result: &Value,
    ) -> Result<Step<'p>, Halt> {
        let holds = match output {
            None => *result != Value::Bool(false),
            Some(pattern) => self.matches(frame, pattern, result)?,
        };
        Ok(if holds { Step::Holds } else { Step::Fails })
    }
}

/// Arguments that a call has at most without asking for memory.
const FEW: usize = 4;

/// Goes through the members of a collection until one is refused; `None` for what is no collection.
pub(crate) fn each_member(domain: &Value, visit: &mut dyn FnMut(Value, &Value) -> bool) -> Option<bool> {
    match domain {
        Value::Array(items) => {
            Some(items.iter().enumerate().all(|(index, item)| visit(Value::from(index), item)))
        }
        Value::Object(object) => Some(object.iter().all(|(key, value)| visit(key.clone(), value))),
        Value::Set(set) => Some(set.iter().all(|item| visit(item.clone(), item))),
        _ => None,
    }
}
