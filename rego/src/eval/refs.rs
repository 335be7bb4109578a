//! References: what they lead to, in one way or in several.
use super::machine::{Flow, Halt, Machine, Run};
use super::step::{Then, each_member};
use crate::Value;
use crate::ast::Loc;
use crate::ir::{GroupKind, Node, Operand, RefHead, Reference};

/// What is done for each value.
pub(crate) type Take<'a, 'p> = &'a mut dyn FnMut(&mut Machine<'p>, &Value) -> Run;

/// A place on the way through `data`: which rules stand below, and the path so far.
struct Way<'p> {
    frame: usize,
    loc: Loc,
    node: Option<&'p Node>,
    path: Vec<Value>,
}

impl<'p> Machine<'p> {
    /// The value of a reference whose parts all have values.
    pub(crate) fn ref_value(
        &mut self,
        frame: usize,
        reference: &'p Reference,
    ) -> Result<Option<Value>, Halt> {
        match reference.head {
            RefHead::Input => match self.input.take() {
                Some(input) => {
                    let found = self.descend(frame, &input, &reference.path);
                    self.input = Some(input);
                    found
                }
                None => Ok(None),
            },
            RefHead::Slot(slot) => match self.slot(frame, slot).cloned() {
                Some(value) => self.descend(frame, &value, &reference.path),
                None => Ok(None),
            },
            RefHead::Base if !self.overrides.has_data() => self.stored(frame, &reference.path),
            RefHead::Group(group, consumed) if !self.overrides.has_data() => {
                let rest = reference.path.get(consumed..).unwrap_or_default();
                let Some(value) = self.group_before(frame, group, rest)? else { return Ok(None) };
                self.descend(frame, &value, rest)
            }
            RefHead::Data | RefHead::Base | RefHead::Group(..) => {
                let mut found = None;
                self.each(frame, reference, &mut |_, value| {
                    found = Some(value.clone());
                    Ok(Flow::Enough)
                })?;
                Ok(found)
            }
        }
    }

    fn descend(&mut self, frame: usize, from: &Value, path: &'p [Operand]) -> Result<Option<Value>, Halt> {
        let mut at = from;
        for part in path {
            let next = match part {
                Operand::Const(Value::String(name)) => match at {
                    Value::Object(object) => object.member(name),
                    other => other.get(&Value::String(name.clone())),
                },
                Operand::Const(key) => at.get(key),
                Operand::Slot(slot) => self.slot(frame, *slot).and_then(|key| at.get(key)),
                other => self.value(frame, other)?.and_then(|key| at.get(&key)),
            };
            match next {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at.clone()))
    }

    /// Does `take` for each value of a reference.
    pub(crate) fn each(&mut self, frame: usize, reference: &'p Reference, take: Take<'_, 'p>) -> Run {
        match reference.head {
            RefHead::Input => match self.input.clone() {
                Some(input) => self.each_below(frame, &input, &reference.path, take),
                None => Ok(Flow::More),
            },
            RefHead::Slot(slot) => match self.slot(frame, slot).cloned() {
                Some(value) => self.each_below(frame, &value, &reference.path, take),
                None => Ok(Flow::More),
            },
            RefHead::Group(group, consumed) if !self.overrides.has_data() => {
                let rest = reference.path.get(consumed..).unwrap_or_default();
                self.each_of_group((frame, reference.loc), group, rest, take)
            }
            RefHead::Base if !self.overrides.has_data() => {
                let data = self.data.clone();
                self.each_found::<true>(frame, &data, &reference.path, take)
            }
            RefHead::Data | RefHead::Base | RefHead::Group(..) => {
                let node = Some(&self.program.root);
                let way = Way { frame, loc: reference.loc, node, path: Vec::new() };
                self.each_of_data(&way, &reference.path, take)
            }
        }
    }

    /// Goes down from a value. A part without a value takes each key.
    pub(crate) fn each_below(
        &mut self,
        frame: usize,
        from: &Value,
        path: &'p [Operand],
        take: Take<'_, 'p>,
    ) -> Run {
        self.each_found::<false>(frame, from, path, take)
    }

    /// Goes down as from any value, or as OPA's store finds the parts of a path.
    fn each_found<const STORED: bool>(
        &mut self,
        frame: usize,
        from: &Value,
        path: &'p [Operand],
        take: Take<'_, 'p>,
    ) -> Run {
        let mut at = from;
        for (index, part) in path.iter().enumerate() {
            if !self.is_ground(frame, part) {
                return self.each_key::<STORED>(frame, at, path.get(index..).unwrap_or_default(), take);
            }
            let Some(key) = self.value(frame, part)? else { return Ok(Flow::More) };
            match if STORED { stored_at(at, &key) } else { at.get(&key) } {
                Some(next) => at = next,
                None => return Ok(Flow::More),
            }
        }
        take(self, at)
    }

    /// Takes each key for the first part of the path.
    fn each_key<const STORED: bool>(
        &mut self,
        frame: usize,
        of: &Value,
        path: &'p [Operand],
        take: Take<'_, 'p>,
    ) -> Run {
        let Some((part, rest)) = path.split_first() else { return Ok(Flow::More) };
        let mut outcome = Ok(Flow::More);
        each_member(of, &mut |key, member| {
            let mark = self.trail.len();
            outcome = match self.tick(Loc::default()).and_then(|()| self.matches(frame, part, &key)) {
                Ok(true) => self.each_found::<STORED>(frame, member, rest, take),
                Ok(false) => Ok(Flow::More),
                Err(halt) => Err(halt),
            };
            self.undo(mark);
            matches!(outcome, Ok(Flow::More))
        });
        outcome
    }

    /// Goes down from `data`: rules hide what stands at their place in the data.
    fn each_of_data(&mut self, way: &Way<'p>, path: &'p [Operand], take: Take<'_, 'p>) -> Run {
        let Some((part, rest)) = path.split_first() else {
            return match self.extent(way)? {
                Some(value) => take(self, &value),
                None => Ok(Flow::More),
            };
        };
        if self.is_ground(way.frame, part) {
            let Some(key) = self.value(way.frame, part)? else { return Ok(Flow::More) };
            return self.next_of_data(way, &key, rest, take);
        }
        let mut outcome = Ok(Flow::More);
        if let Some(base) = self.base(&way.path) {
            each_member(&base, &mut |key, _| {
                outcome = self.try_key(way, &key, path, take);
                matches!(outcome, Ok(Flow::More))
            });
        }
        if let (Ok(Flow::More), Some(node)) = (&outcome, way.node) {
            for key in node.children.keys() {
                outcome = self.try_key(way, key, path, take);
                if !matches!(outcome, Ok(Flow::More)) {
                    break;
                }
            }
        }
        outcome
    }

    /// Tries a key for the first part of the path.
    fn try_key(&mut self, way: &Way<'p>, key: &Value, path: &'p [Operand], take: Take<'_, 'p>) -> Run {
        let Some((part, rest)) = path.split_first() else { return Ok(Flow::More) };
        self.tick(way.loc)?;
        let mark = self.trail.len();
        let outcome = match self.matches(way.frame, part, key) {
            Ok(true) => self.next_of_data(way, key, rest, take),
            Ok(false) => Ok(Flow::More),
            Err(halt) => Err(halt),
        };
        self.undo(mark);
        outcome
    }

    fn next_of_data(&mut self, way: &Way<'p>, key: &Value, rest: &'p [Operand], take: Take<'_, 'p>) -> Run {
        let mut path = way.path.clone();
        path.push(key.clone());
        let mut node = None;
        if !self.overrides.covers(&path) {
            node = way.node.and_then(|node| node.children.get(key));
            if let Some(group) = node.and_then(|node| node.group) {
                return self.each_of_group((way.frame, way.loc), group, rest, take);
            }
        }
        self.each_of_data(&Way { node, path, ..*way }, rest, take)
    }

    /// The document at a path that leads to no rule.
    pub(crate) fn document(&mut self, path: &[Value]) -> Result<Option<Value>, Halt> {
        let mut node = Some(&self.program.root);
        for key in path {
            node = node.and_then(|node| node.children.get(key));
        }
        self.extent(&Way { frame: 0, loc: Loc::default(), node, path: path.to_vec() })
    }

    /// What stands in the data at a path, with what replaces it.
    pub(crate) fn base(&self, path: &[Value]) -> Option<Value> {
        let replacement = self
            .replaced
            .as_ref()
            .and_then(|replaced| path.iter().try_fold(replaced, |at, key| at.get(key)).cloned());
        if self.overrides.covers(path) {
            return replacement;
        }
        let stored = path.iter().try_fold(&self.data, stored_at).cloned();
        match (replacement, stored) {
            (Some(replacement), Some(stored)) => Some(replacement.merged(&stored)),
            (replacement, stored) => replacement.or(stored),
        }
    }

    /// The whole document at a place: the data there, with the values of the rules below.
    fn extent(&mut self, way: &Way<'p>) -> Result<Option<Value>, Halt> {
        let base = self.base(&way.path);
        let Some(node) = way.node else { return Ok(base) };
        let document = self.leaves(node, &mut way.path.clone())?;
        Ok(Some(match base {
            Some(base) => base.merged(&document),
            None => document,
        }))
    }

    fn leaves(&mut self, node: &'p Node, path: &mut Vec<Value>) -> Result<Value, Halt> {
        let mut members = Vec::new();
        for (key, child) in &node.children {
            if child.hidden {
                continue;
            }
            path.push(key.clone());
            let value = if self.overrides.covers(path) {
                None
            } else if let Some(group) = child.group {
                self.group_value(group)?
            } else {
                Some(self.leaves(child, path)?)
            };
            path.pop();
            if let Some(value) = value {
                members.push((key.clone(), value));
            }
        }
        Ok(Value::object(members))
    }

    /// Goes down from a rule.
    fn each_of_group(
        &mut self,
        (frame, loc): (usize, Loc),
        group: usize,
        rest: &'p [Operand],
        take: Take<'_, 'p>,
    ) -> Run {
        let value = self.group_before(frame, group, rest)?;
        self.tick(loc)?;
        match value {
            Some(value) => self.each_below(frame, &value, rest, take),
            None => Ok(Flow::More),
        }
    }

    /// The value of a rule, as far as the parts behind its name need it.
    fn group_before(
        &mut self,
        frame: usize,
        group: usize,
        rest: &'p [Operand],
    ) -> Result<Option<Value>, Halt> {
        let kind = self.program.groups.get(group).map(|group| group.kind);
        match (kind, rest.first()) {
            (Some(GroupKind::Function(_)) | None, _) => Ok(None),
            (Some(GroupKind::Set | GroupKind::Object), Some(first)) if self.is_ground(frame, first) => {
                match self.value(frame, first)? {
                    Some(key) => self.group_member(group, &key),
                    None => Ok(None),
                }
            }
            _ => self.group_value(group),
        }
    }

    /// What stands in the data at a path whose parts have values, where no rule stands.
    fn stored(&mut self, frame: usize, path: &'p [Operand]) -> Result<Option<Value>, Halt> {
        let data = self.data.clone();
        self.stored_below(frame, &data, path)
    }

    fn stored_below(
        &mut self,
        frame: usize,
        from: &Value,
        path: &'p [Operand],
    ) -> Result<Option<Value>, Halt> {
        let mut at = from;
        for part in path {
            let next = match part {
                Operand::Const(key) => stored_at(at, key),
                Operand::Slot(slot) => self.slot(frame, *slot).and_then(|key| stored_at(at, key)),
                other => self.value(frame, other)?.and_then(|key| stored_at(at, &key)),
            };
            match next {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at.clone()))
    }

    /// The pairs of path and value of `walk`.
    pub(crate) fn each_walked(
        &mut self,
        frame: usize,
        value: &Value,
        pattern: Option<&'p Operand>,
        then: Then<'_, 'p>,
    ) -> Run {
        self.walk_value((frame, pattern), value, &mut Vec::new(), then)
    }

    fn walk_value(
        &mut self,
        (frame, pattern): (usize, Option<&'p Operand>),
        value: &Value,
        path: &mut Vec<Value>,
        then: Then<'_, 'p>,
    ) -> Run {
        self.tick(Loc::default())?;
        let mark = self.trail.len();
        let pair = Value::array([Value::array(path.iter().cloned()), value.clone()]);
        let holds = match pattern {
            Some(pattern) => self.matches(frame, pattern, &pair)?,
            None => true,
        };
        let mut outcome = if holds { then(self) } else { Ok(Flow::More) };
        self.undo(mark);
        if matches!(outcome, Ok(Flow::More)) {
            each_member(value, &mut |key, member| {
                path.push(key);
                outcome = self.walk_value((frame, pattern), member, path, then);
                path.pop();
                matches!(outcome, Ok(Flow::More))
            });
        }
        outcome
    }
}

/// As OPA's store finds a part of a path: a number names a member by its text, a text of digits an item of an array.
fn stored_at<'v>(at: &'v Value, key: &Value) -> Option<&'v Value> {
    match (at, key) {
        (Value::Object(object), Value::String(name)) => object.member(name),
        (Value::Object(object), Value::Number(number)) => object.member(&number.to_string()),
        (Value::Array(items), Value::String(text)) => items.get(index_of(text)?),
        (Value::Array(items), Value::Number(number)) => items.get(index_of(&number.to_string())?),
        _ => None,
    }
}

fn index_of(text: &str) -> Option<usize> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
