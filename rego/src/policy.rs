//! A loaded set of modules, and the questions it answers.
use crate::Value;
use crate::ast::{Loc, Str, Version};
use crate::builtins::Context;
use crate::compile::{self, CompileError, Purpose};
use crate::eval::{Halt, Limits, Machine};
use crate::ir::{GroupId, GroupKind, Program};
use crate::parse::{self, ParseError};
use crate::reads::Reads;
use std::collections::BTreeMap;

/// One file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Its language.
    pub version: Version,
}

/// Why a set is refused: the file, the place and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{}:{}: {code}: {what}", loc.row, loc.col)]
pub struct LoadError {
    /// The file.
    pub file: String,
    /// The place in it.
    pub loc: Loc,
    /// OPA's name of the class.
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
}

/// A compiled set. Immutable; evaluations share it.
#[derive(Debug)]
pub struct Policy {
    pub(crate) program: Program,
    packages: Vec<Vec<Str>>,
}

/// A document that decisions ask for.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) group: Option<GroupId>,
    pub(crate) path: Vec<Value>,
    /// The path below the rule.
    pub(crate) rest: Vec<Value>,
}

impl Policy {
    /// Compiles a set of files.
    ///
    /// # Errors
    /// [`LoadError`]: the first thing that is wrong.
    pub fn load(sources: &[Source<'_>]) -> Result<Self, LoadError> {
        Self::load_for(sources, Purpose::Decide)
    }

    /// Compiles a set of files to look at it while it is evaluated: see [`Policy::watch`]. `print` is heard, rules that
    /// are tests are found. It decides as the same files do by [`Policy::load`], in more steps.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn load_to_examine(sources: &[Source<'_>]) -> Result<Self, LoadError> {
        Self::load_for(sources, Purpose::Examine)
    }

    fn load_for(sources: &[Source<'_>], purpose: Purpose) -> Result<Self, LoadError> {
        let mut modules = Vec::with_capacity(sources.len());
        for (index, source) in sources.iter().enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let module = parse::module(source.text, index, source.version)
                .map_err(|error| parse_error(source.name, &error))?;
            modules.push(module);
        }
        let packages = modules.iter().map(|module| module.package.clone()).collect();
        let files: Vec<Str> = sources.iter().map(|source| Str::from(source.name)).collect();
        let names = files.clone();
        let program = compile::compile(modules, files, purpose).map_err(|error| located(&names, &error))?;
        Ok(Self { program, packages })
    }

    /// Finds the document at a path below `data`: a rule, or a package whose rules' values it is made of. `None` where
    /// no rule stands at the path, above it or below it.
    pub fn entry(&self, path: &[&str]) -> Option<Entry> {
        let path: Vec<Value> = path.iter().map(|part| Value::from(*part)).collect();
        let mut node = &self.program.root;
        for (index, part) in path.iter().enumerate() {
            node = node.children.get(part)?;
            if let Some(group) = node.group {
                let rest = path.get(index.saturating_add(1)..).unwrap_or_default().to_vec();
                let fits = match self.program.groups.get(group)?.kind {
                    GroupKind::Function(_) => false,
                    // What a complete rule's value holds is not known before it is evaluated.
                    GroupKind::Complete => rest.is_empty(),
                    GroupKind::Set | GroupKind::Object => true,
                };
                return if fits { Some(Entry { group: Some(group), path, rest }) } else { None };
            }
        }
        Some(Entry { group: None, path, rest: Vec::new() })
    }

    /// The packages of the files, in the order in which they were given.
    pub fn packages(&self) -> &[Vec<Str>] {
        &self.packages
    }

    /// A place in words: `file:row:column`.
    pub fn place(&self, loc: Loc) -> String {
        let file = self.program.files.get(usize::from(loc.module)).map_or("query", |name| name.as_ref());
        format!("{file}:{}:{}", loc.row, loc.col)
    }

    /// What an entry can read.
    pub fn reads(&self, entry: &Entry) -> Reads {
        Reads::of(&self.program, &crate::reads::roots(&self.program, &entry.path))
    }

    /// The paths of all rules that are no functions, below `data`.
    pub fn rules(&self) -> impl Iterator<Item = &[Value]> {
        let documents =
            self.program.groups.iter().filter(|group| !matches!(group.kind, GroupKind::Function(_)));
        documents.map(|group| group.path.as_slice())
    }

    /// The value of an entry; `None` is undefined.
    ///
    /// # Errors
    /// [`Halt`]: why there is no answer.
    #[expect(clippy::too_many_arguments, reason = "what an evaluation is made of")]
    pub fn evaluate(
        &self,
        entry: &Entry,
        data: &Value,
        input: Option<Value>,
        context: &mut Context,
        limits: Limits,
    ) -> Result<Option<Value>, Halt> {
        self.answer(Machine::new(&self.program, data.clone(), input, context, limits), entry)
    }

    fn answer(&self, mut machine: Machine<'_>, entry: &Entry) -> Result<Option<Value>, Halt> {
        let value = match entry.group {
            Some(group) => machine.group_value(group)?,
            None => machine.document(&entry.path)?,
        };
        if let (true, Some(halt)) = (machine.limits.strict_builtin_errors, machine.first_error.take()) {
            return Err(halt);
        }
        Ok(value.and_then(|value| entry.below(value)))
    }

    /// The solutions of a query: for each, its variables by name.
    ///
    /// # Errors
    /// [`QueryError`]: the query is refused, or its evaluation ended without an answer.
    #[expect(clippy::too_many_arguments, reason = "what an evaluation is made of")]
    pub fn query(
        &mut self,
        text: &str,
        data: Value,
        input: Option<Value>,
        context: &mut Context,
        limits: Limits,
    ) -> Result<Vec<BTreeMap<Str, Value>>, QueryError> {
        let body = parse::query(text, u16::MAX)
            .map_err(|error| QueryError::Refused(parse_error("query", &error)))?;
        let query = compile::compile_query(body, &mut self.program)
            .map_err(|error| QueryError::Refused(located(&self.program.files, &error)))?;
        let mut machine = Machine::new(&self.program, data, input, context, limits);
        let frame = machine.open(query.slots);
        let mut rows = Vec::new();
        machine.body(frame, &query.body, &mut |machine| {
            let value = |(name, slot): &(Str, u32)| {
                machine.slot(frame, *slot).map(|value| (name.clone(), value.clone()))
            };
            rows.push(query.outputs.iter().filter_map(value).collect());
            Ok(crate::eval::Flow::More)
        })?;
        match machine.first_error.take() {
            Some(halt) if limits.strict_builtin_errors => Err(halt.into()),
            _ => Ok(rows),
        }
    }
}

impl Entry {
    /// The part of the rule's value that is asked for.
    pub(crate) fn below(&self, value: Value) -> Option<Value> {
        self.rest.iter().try_fold(value, |at, key| at.get(key).cloned())
    }
}

/// What tests compare with.
#[cfg(test)]
impl Policy {
    /// The policy with every definition tried.
    pub(crate) fn without_index(mut self) -> Self {
        self.program.groups.iter_mut().for_each(|group| group.index = crate::eval::index::Index::All);
        self
    }

    /// As [`Self::evaluate`], with a note of every statement that is evaluated.
    #[expect(clippy::too_many_arguments, reason = "what an evaluation is made of")]
    pub(crate) fn evaluate_covered(
        &self,
        entry: &Entry,
        data: &Value,
        input: Option<Value>,
        context: &mut Context,
        limits: Limits,
    ) -> Result<Option<Value>, Halt> {
        let mut machine = Machine::new(&self.program, data.clone(), input, context, limits);
        machine.observer =
            Some(Box::new(crate::eval::observe::Observer::new(self.program.places.len(), false)));
        self.answer(machine, entry)
    }
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is no query.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// Its evaluation ended.
    #[error(transparent)]
    Halted(#[from] Halt),
}

pub(crate) fn parse_error(file: &str, error: &ParseError) -> LoadError {
    LoadError { file: file.to_owned(), loc: error.loc, code: "rego_parse_error", what: error.what.clone() }
}

pub(crate) fn located(files: &[Str], error: &CompileError) -> LoadError {
    let file = files.get(usize::from(error.loc.module)).map_or("query", |name| name.as_ref());
    LoadError { file: file.to_owned(), loc: error.loc, code: error.code, what: error.what.clone() }
}
