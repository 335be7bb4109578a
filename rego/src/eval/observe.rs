//! What an evaluation tells to whoever watches it. Where nobody does, nothing of this costs anything.
use super::index::Candidates;
use super::machine::{Halt, HaltCode, Machine};
use crate::Value;
use crate::ast::{Loc, Str};
use crate::compile::name_in_source;
use crate::ir::{Definition, Group, Operand, RefHead, Stmt, StmtKind, Told};

/// The most bytes that are kept of what `print` says.
const PRINTED_BYTES_MAX: usize = 64 * 1024;
/// The most attempts that are kept.
const ATTEMPTS_MAX: usize = 10_000;
/// The most cases of a test that are kept.
const CASES_MAX: usize = 100_000;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Observer<'p> {
    /// By number: the statements that were reached and the heads whose definitions held.
    pub(crate) seen: Vec<bool>,
    pub(crate) printed: String,
    /// Whether more was said than is kept.
    pub(crate) cut: bool,
    pub(crate) cases: Vec<Value>,
    /// The attempts to make definitions hold, if they are asked for.
    pub(crate) attempts: Option<Vec<Tried<'p>>>,
    open: Vec<Option<usize>>,
}

/// One attempt to make a definition hold.
#[derive(Debug)]
pub(crate) struct Tried<'p> {
    pub(crate) definition: &'p Definition,
    /// How many attempts it stands within.
    pub(crate) depth: usize,
    pub(crate) held: bool,
    /// The furthest statement that it came to.
    pub(crate) furthest: Option<Furthest<'p>>,
}

/// A statement that was reached, and what was known then.
#[derive(Debug)]
pub(crate) struct Furthest<'p> {
    pub(crate) stmt: &'p Stmt,
    pub(crate) index: usize,
    pub(crate) values: Vec<(&'p Operand, Option<Value>)>,
    pub(crate) variables: Vec<(Str, Value)>,
}

impl<'p> Observer<'p> {
    pub(crate) fn new(numbers: usize, attempts: bool) -> Self {
        Self { seen: vec![false; numbers], attempts: attempts.then(Vec::new), ..Self::default() }
    }

    fn see(&mut self, number: u32) {
        if let Some(seen) = self.seen.get_mut(usize::try_from(number).unwrap_or(usize::MAX)) {
            *seen = true;
        }
    }

    /// The attempt that is going on.
    fn current(&mut self) -> Option<&mut Tried<'p>> {
        let at = self.open.last().copied().flatten()?;
        self.attempts.as_mut()?.get_mut(at)
    }
}

impl<'p> Machine<'p> {
    /// The definitions that are tried. Whoever asks why a definition does not hold wants it tried.
    pub(crate) fn candidates(&self, group: &Group, args: &[Value]) -> Candidates {
        match &self.observer {
            Some(observer) if observer.attempts.is_some() => Candidates::All,
            _ => group.index.candidates(self.input.as_ref(), args),
        }
    }

    /// A definition is tried.
    pub(crate) fn entered(&mut self, definition: &'p Definition) {
        let Some(observer) = &mut self.observer else { return };
        let depth = observer.open.len();
        let at = observer.attempts.as_mut().filter(|attempts| attempts.len() < ATTEMPTS_MAX);
        let at = at.map(|attempts| {
            attempts.push(Tried { definition, depth, held: false, furthest: None });
            attempts.len().saturating_sub(1)
        });
        observer.open.push(at);
    }

    /// It has been tried. What was undefined when it came to its last statement may be known by now: the value of a rule
    /// that the statement asks for.
    pub(crate) fn left(&mut self, frame: usize) {
        let Some(mut observer) = self.observer.take() else { return };
        let furthest = observer.current().filter(|attempt| !attempt.held).and_then(|at| at.furthest.as_mut());
        if let Some(furthest) = furthest {
            for (operand, value) in furthest.values.iter_mut().filter(|(_, value)| value.is_none()) {
                *value = self.peek(frame, operand);
            }
        }
        observer.open.pop();
        self.observer = Some(observer);
    }

    /// It holds.
    pub(crate) fn held(&mut self, definition: &Definition) {
        if let Some(observer) = &mut self.observer {
            observer.see(definition.number);
            if let Some(attempt) = observer.current() {
                attempt.held = true;
            }
        }
    }

    /// A statement is about to be evaluated.
    pub(crate) fn reached(&mut self, frame: usize, stmt: &'p Stmt) {
        let Some(mut observer) = self.observer.take() else { return };
        observer.see(stmt.number);
        if let Some(attempt) = observer.current()
            && let Some(index) = index_in(&attempt.definition.body, stmt)
            && attempt.furthest.as_ref().is_none_or(|furthest| index > furthest.index)
        {
            let mut values = Vec::new();
            self.look_at(frame, stmt, &mut values);
            let named = attempt.definition.names.iter().enumerate();
            let variables = named.filter_map(|(slot, name)| {
                let value = self.slot(frame, u32::try_from(slot).ok()?)?;
                Some((Str::from(name_in_source(name)?), value.clone()))
            });
            attempt.furthest = Some(Furthest { stmt, index, values, variables: variables.collect() });
        }
        self.observer = Some(observer);
    }

    /// What the statement is about, with the values that can be told without evaluating anything.
    fn look_at(&self, frame: usize, stmt: &'p Stmt, found: &mut Vec<(&'p Operand, Option<Value>)>) {
        let mut look = |operand: &'p Operand| match operand {
            Operand::Ref(_) | Operand::Slot(_) => found.push((operand, self.peek(frame, operand))),
            _ => {}
        };
        match &stmt.kind {
            StmtKind::Holds(operand) | StmtKind::Every { domain: operand, .. } => look(operand),
            StmtKind::Unify(a, b) => {
                look(a);
                look(b);
            }
            StmtKind::Call { args, output, .. } => args.iter().chain(output).for_each(look),
            StmtKind::Not(inner) | StmtKind::With { inner, .. } => self.look_at(frame, inner, found),
        }
    }

    fn peek(&self, frame: usize, operand: &Operand) -> Option<Value> {
        let reference = match operand {
            Operand::Const(value) => return Some(value.clone()),
            Operand::Slot(slot) => return self.slot(frame, *slot).cloned(),
            Operand::Ref(reference) => reference,
            _ => return None,
        };
        let path: Vec<Value> =
            reference.path.iter().map(|part| self.peek(frame, part)).collect::<Option<_>>()?;
        let (from, rest) = match reference.head {
            RefHead::Input => (self.input.clone()?, path.as_slice()),
            RefHead::Slot(slot) => (self.slot(frame, slot)?.clone(), path.as_slice()),
            RefHead::Data | RefHead::Base => (self.base(&path)?, [].as_slice()),
            RefHead::Group(group, consumed) => {
                let whole = self.remembered_whole(group)??;
                (whole, path.get(consumed..)?)
            }
        };
        rest.iter().try_fold(from, |at, key| at.get(key).cloned())
    }

    /// Tells what `print` says, or which case comes.
    pub(crate) fn tell(&mut self, told: Told, args: &[Value]) -> Result<Value, Halt> {
        let Some(mut observer) = self.observer.take() else { return Ok(Value::Bool(true)) };
        let outcome = match (told, args.first()) {
            (Told::Print, Some(Value::Array(items))) => self.print(&mut observer, items),
            (Told::Case, Some(case)) if observer.cases.len() < CASES_MAX => {
                observer.cases.push(case.clone());
                Ok(())
            }
            _ => Ok(()),
        };
        self.observer = Some(observer);
        outcome.map(|()| Value::Bool(true))
    }

    /// A line for every combination of the values of the arguments.
    fn print(&mut self, observer: &mut Observer<'p>, items: &[Value]) -> Result<(), Halt> {
        let texts: Vec<Vec<String>> = items.iter().map(spoken).collect();
        let mut at = vec![0_usize; texts.len()];
        loop {
            let words = texts.iter().zip(&at).filter_map(|(texts, at)| texts.get(*at).map(String::as_str));
            let line = words.collect::<Vec<_>>().join(" ");
            self.context.charge_bytes(line.len().saturating_add(64)).map_err(|error| Halt {
                code: HaltCode::Budget,
                message: format!("print: {error}"),
                loc: Loc::default(),
            })?;
            if observer.printed.len().saturating_add(line.len()) >= PRINTED_BYTES_MAX {
                observer.cut = true;
                return Ok(());
            }
            observer.printed.push_str(&line);
            observer.printed.push('\n');
            if !advance(&mut at, &texts) {
                return Ok(());
            }
        }
    }
}

/// The next combination; the last argument changes first.
fn advance(at: &mut [usize], texts: &[Vec<String>]) -> bool {
    for (at, texts) in at.iter_mut().zip(texts).rev() {
        *at = at.saturating_add(1);
        if *at < texts.len() {
            return true;
        }
        *at = 0;
    }
    false
}

/// The words for the values of one argument.
fn spoken(values: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match values {
        Value::Set(set) if set.is_empty() => vec!["<undefined>".to_owned()],
        Value::Set(set) => set.iter().map(word).collect(),
        other => vec![word(other)],
    }
}

/// Where a statement stands in a body, if it is one of its own and not of one inside.
fn index_in(body: &[Stmt], stmt: &Stmt) -> Option<usize> {
    body.iter().position(|have| std::ptr::eq(have, stmt))
}
