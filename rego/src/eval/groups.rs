//! Rules: the value of one, a member of one, a call of one; each is remembered for the rest of the evaluation.
use super::machine::{Flow, Halt, HaltCode, Key, Machine, key_of};
use super::partial::Partial;
use crate::Value;
use crate::ast::Loc;
use crate::ir::{Definition, Group, GroupId, GroupKind, Mocked, Target};

impl<'p> Machine<'p> {
    fn group(&self, group: GroupId) -> Result<&'p Group, Halt> {
        let program: &'p crate::ir::Program = self.program;
        program.groups.get(group).ok_or_else(|| Halt {
            code: HaltCode::Internal,
            message: "a rule that does not exist".to_owned(),
            loc: Loc::default(),
        })
    }

    /// The whole value of a rule that is no function.
    pub(crate) fn group_value(&mut self, id: GroupId) -> Result<Option<Value>, Halt> {
        if let Some(value) = self.remembered_whole(id) {
            return Ok(value);
        }
        let group = self.group(id)?;
        let value = match group.kind {
            GroupKind::Function(_) => None,
            GroupKind::Complete => self.complete(group)?,
            GroupKind::Set | GroupKind::Object => Some(self.partial(group, None)?),
        };
        self.remember_whole(id, value.clone());
        Ok(value)
    }

    /// A partial rule's value as far as it concerns one key: only the definitions that can give this key are evaluated,
    /// with the key known to them.
    pub(crate) fn group_member(&mut self, id: GroupId, member: &Value) -> Result<Option<Value>, Halt> {
        if let Some(value) = self.remembered_whole(id) {
            return Ok(value);
        }
        let key = (id, vec![key_of(member)]);
        if let Some(value) = self.remembered(&key) {
            return Ok(value);
        }
        let group = self.group(id)?;
        let value = Some(self.partial(group, Some(member))?);
        self.remember(key, value.clone(), vec![member.clone()]);
        Ok(value)
    }

    fn complete(&mut self, group: &'p Group) -> Result<Option<Value>, Halt> {
        let mut found: Option<Value> = None;
        let candidates = self.candidates(group, &[]);
        for definition in candidates.of(&group.definitions) {
            self.branches(definition, &[], &mut found, group.one_constant)?;
            if group.one_constant && found.is_some() {
                break;
            }
        }
        if let (None, Some(default)) = (&found, &group.default) {
            self.branches(default, &[], &mut found, true)?;
        }
        Ok(found)
    }

    /// Evaluates a definition, and its `else` branches until one has a value.
    fn branches(
        &mut self,
        definition: &'p Definition,
        args: &[Value],
        found: &mut Option<Value>,
        first_only: bool,
    ) -> Result<(), Halt> {
        let mut branch = Some(definition);
        while let Some(definition) = branch {
            if self.definition(definition, args, found, first_only)? {
                return Ok(());
            }
            branch = definition.otherwise.as_deref();
        }
        Ok(())
    }

    /// Whether the definition has a value; one that is not `found` is a conflict.
    fn definition(
        &mut self,
        definition: &'p Definition,
        args: &[Value],
        found: &mut Option<Value>,
        first_only: bool,
    ) -> Result<bool, Halt> {
        let mark = self.trail.len();
        let frame = self.open(definition.slots);
        self.entered(definition);
        let mut defined = false;
        let outcome = self.definition_in(frame, definition, args, &mut |value| {
            defined = true;
            match found {
                Some(have) if *have != value => {
                    let message = "complete rules must not produce multiple outputs".to_owned();
                    Err(Halt { code: HaltCode::Conflict, message, loc: definition.loc })
                }
                _ => {
                    *found = Some(value);
                    Ok(if first_only { Flow::Enough } else { Flow::More })
                }
            }
        });
        self.left(frame);
        self.close(frame, mark);
        outcome?;
        Ok(defined)
    }

    fn definition_in(
        &mut self,
        frame: usize,
        definition: &'p Definition,
        args: &[Value],
        found: &mut dyn FnMut(Value) -> Result<Flow, Halt>,
    ) -> Result<(), Halt> {
        for (parameter, value) in definition.parameters.iter().zip(args) {
            if !self.matches(frame, parameter, value)? {
                return Ok(());
            }
        }
        self.body(frame, &definition.body, &mut |machine| match machine.value(frame, &definition.value)? {
            Some(value) => {
                machine.held(definition);
                found(value)
            }
            None => Ok(Flow::More),
        })?;
        Ok(())
    }

    fn partial(&mut self, group: &'p Group, member: Option<&Value>) -> Result<Value, Halt> {
        let mut partial = Partial::new(group.kind == GroupKind::Set);
        let candidates = self.candidates(group, &[]);
        for definition in candidates.of(&group.definitions) {
            let mark = self.trail.len();
            let frame = self.open(definition.slots);
            self.entered(definition);
            let outcome = self.partial_definition(frame, definition, member, &mut partial);
            self.left(frame);
            self.close(frame, mark);
            outcome?;
        }
        Ok(partial.into_value())
    }

    fn partial_definition(
        &mut self,
        frame: usize,
        definition: &'p Definition,
        member: Option<&Value>,
        partial: &mut Partial,
    ) -> Result<(), Halt> {
        let first = definition.tail.first().or(definition.key.as_ref());
        if let (Some(member), Some(first)) = (member, first)
            && !self.matches(frame, first, member)?
        {
            return Ok(());
        }
        self.body(frame, &definition.body, &mut |machine| {
            machine.context.charge(1).map_err(|_| budget(definition.loc))?;
            let mut path = Vec::with_capacity(definition.tail.len());
            for part in &definition.tail {
                match machine.value(frame, part)? {
                    Some(part) => path.push(part),
                    None => return Ok(Flow::More),
                }
            }
            let leaf = match &definition.key {
                Some(key) => machine.value(frame, key)?,
                None => machine.value(frame, &definition.value)?,
            };
            let Some(leaf) = leaf else { return Ok(Flow::More) };
            machine.held(definition);
            partial.add(&path, leaf, definition.key.is_some()).map_err(|message| Halt {
                code: HaltCode::Conflict,
                message,
                loc: definition.loc,
            })?;
            let decided = member.is_some() && definition.tail.is_empty();
            Ok(if decided { Flow::Enough } else { Flow::More })
        })?;
        Ok(())
    }

    /// Calls a function or a builtin, or what stands in its place. `None` is undefined.
    pub(crate) fn apply(
        &mut self,
        target: Target,
        args: Vec<Value>,
        loc: Loc,
    ) -> Result<Option<Value>, Halt> {
        if let Some(mock) = self.overrides.mock(target) {
            return match mock {
                super::with::Mock::Value(value) => Ok(Some(value)),
                super::with::Mock::Rule(group) => {
                    let path = &self.group(group)?.path;
                    if self.overrides.covers(path) { Ok(self.base(path)) } else { self.group_value(group) }
                }
                super::with::Mock::Function(target) => {
                    let mocks = self.overrides.suspend_mocks();
                    let outcome = self.apply(target, args, loc);
                    self.overrides.restore_mocks(mocks);
                    outcome
                }
            };
        }
        match target {
            Target::Builtin(builtin) => match (builtin.call)(self.context, &args) {
                Ok(result) => Ok(result),
                Err(error) => {
                    self.builtin_failed(builtin.name, &error, loc)?;
                    Ok(None)
                }
            },
            Target::Walk => Ok(None),
            Target::Tell(told) => self.tell(told, &args).map(Some),
            Target::Function(group) => self.function(group, args),
        }
    }

    fn function(&mut self, id: GroupId, args: Vec<Value>) -> Result<Option<Value>, Halt> {
        let keys: Vec<Key> = args.iter().map(key_of).collect();
        let key = (id, keys);
        if let Some(value) = self.remembered(&key) {
            return Ok(value);
        }
        let group = self.group(id)?;
        let mut found = None;
        let candidates = self.candidates(group, &args);
        for definition in candidates.of(&group.definitions) {
            self.function_branches(definition, &args, &mut found, group.one_constant)?;
            if group.one_constant && found.is_some() {
                break;
            }
        }
        if let (None, Some(default)) = (&found, &group.default) {
            self.branches(default, &args, &mut found, true)?;
        }
        self.remember(key, found.clone(), args);
        Ok(found)
    }

    fn function_branches(
        &mut self,
        definition: &'p Definition,
        args: &[Value],
        found: &mut Option<Value>,
        first_only: bool,
    ) -> Result<(), Halt> {
        self.branches(definition, args, found, first_only).map_err(|mut halt| {
            if halt.code == HaltCode::Conflict && halt.loc == definition.loc {
                halt.message = "functions must not produce multiple outputs for same inputs".to_owned();
            }
            halt
        })
    }
}

fn budget(loc: Loc) -> Halt {
    Halt { code: HaltCode::Budget, message: "the decision takes more steps than it may".to_owned(), loc }
}

/// What is replaced by a mock of this target.
pub(crate) fn mocked(target: Target) -> Mocked {
    match target {
        Target::Builtin(builtin) => Mocked::Builtin(builtin.name),
        Target::Walk => Mocked::Builtin("walk"),
        Target::Tell(_) => Mocked::Builtin("print"),
        Target::Function(group) => Mocked::Function(group),
    }
}
