//! Compiled policies: variables are slots of a frame, names are resolved, bodies are in the order of evaluation.
use crate::Value;
use crate::ast::{Loc, Str};
use crate::builtins::Builtin;
use std::collections::BTreeMap;

/// A rule group, by its place in [`Program::groups`].
pub(crate) type GroupId = usize;

/// A compiled set of modules.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) groups: Vec<Group>,
    pub(crate) root: Node,
    /// The names of the modules, by [`Loc::module`].
    pub(crate) files: Vec<Str>,
    /// Where the statements and the heads of definitions stand, by their numbers.
    pub(crate) places: Vec<Loc>,
    /// The expressions as they are written, in order, and whether each declares what it looks through; kept where a set is
    /// examined.
    pub(crate) written: Vec<(Loc, bool)>,
    /// The test rules, in order; kept where a set is examined.
    pub(crate) tests: Vec<TestRule>,
}

/// A place in the tree of rules below `data`.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) children: BTreeMap<Value, Node>,
    pub(crate) group: Option<GroupId>,
    /// Functions are no part of documents.
    pub(crate) hidden: bool,
}

/// All definitions of one name.
#[derive(Debug)]
pub(crate) struct Group {
    /// The path from below `data` on.
    pub(crate) path: Vec<Value>,
    pub(crate) kind: GroupKind,
    pub(crate) definitions: Vec<Definition>,
    pub(crate) default: Option<Definition>,
    pub(crate) index: crate::eval::index::Index,
    /// Whether every definition gives the same constant.
    pub(crate) one_constant: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupKind {
    /// One value.
    Complete,
    /// A set, element by element.
    Set,
    /// An object, member by member, to any depth.
    Object,
    /// A function of this many arguments.
    Function(usize),
}

/// One definition.
#[derive(Debug)]
pub(crate) struct Definition {
    /// What the head says beyond the group's path.
    pub(crate) tail: Box<[Operand]>,
    pub(crate) parameters: Box<[Operand]>,
    /// The element, of a partial set.
    pub(crate) key: Option<Operand>,
    pub(crate) value: Operand,
    pub(crate) body: Box<[Stmt]>,
    /// Slots of the frame.
    pub(crate) slots: usize,
    pub(crate) otherwise: Option<Box<Definition>>,
    pub(crate) loc: Loc,
    /// Where its head stands.
    pub(crate) head: Loc,
    /// The number of its head in the program.
    pub(crate) number: u32,
    /// The names of the slots, as compiled.
    pub(crate) names: Box<[Str]>,
}

/// A rule that is a test.
#[derive(Clone, Debug)]
pub(crate) struct TestRule {
    /// The path from below `data` on, up to the part that makes it a test.
    pub(crate) path: Vec<Str>,
    pub(crate) loc: Loc,
    /// Whether the parts of its head after that name cases.
    pub(crate) by_case: bool,
}

/// An expression.
#[derive(Debug)]
pub(crate) struct Stmt {
    pub(crate) kind: StmtKind,
    pub(crate) loc: Loc,
    /// Its number in the program.
    pub(crate) number: u32,
}

#[derive(Debug)]
pub(crate) enum StmtKind {
    /// Defined and not false.
    Holds(Operand),
    Unify(Operand, Operand),
    Call {
        target: Target,
        args: Box<[Operand]>,
        output: Option<Operand>,
    },
    Not(Box<Stmt>),
    Every {
        key: u32,
        value: u32,
        domain: Operand,
        body: Box<[Stmt]>,
    },
    With {
        changes: Box<[Change]>,
        inner: Box<Stmt>,
    },
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Builtin(&'static Builtin),
    /// The relation `walk`.
    Walk,
    /// What the evaluation tells to whoever watches it.
    Tell(Told),
    Function(GroupId),
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// `print`: each argument as the set of its values.
    Print,
    /// Which case of a test comes now.
    Case,
}

/// One `with`.
#[derive(Debug)]
pub(crate) enum Change {
    Input(Box<[Value]>, Operand),
    Data(Box<[Value]>, Operand),
    /// A function (or a rule, when called by its name) is replaced.
    Mock(Mocked, Replacement),
}

/// What is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mocked {
    Builtin(&'static str),
    Function(GroupId),
}

#[derive(Debug)]
pub(crate) enum Replacement {
    Value(Operand),
    Function(Target),
    /// A rule's value: what it is where the function is called.
    Rule(GroupId),
}

/// A term.
#[derive(Debug)]
pub(crate) enum Operand {
    Const(Value),
    Slot(u32),
    Array(Box<[Operand]>),
    Object(Box<[(Operand, Operand)]>),
    Set(Box<[Operand]>),
    Ref(Box<Reference>),
    Comprehension(Box<Comprehension>),
}

/// A reference.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) head: RefHead,
    pub(crate) path: Box<[Operand]>,
    pub(crate) loc: Loc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefHead {
    Input,
    /// From `data`.
    Data,
    /// From `data`, to where no rule stands: what is there is data alone.
    Base,
    /// From `data`; the first parts of the path name this group.
    Group(GroupId, usize),
    Slot(u32),
}

/// A comprehension.
#[derive(Debug)]
pub(crate) struct Comprehension {
    pub(crate) kind: ComprehensionKind,
    /// The key, of an object's.
    pub(crate) key: Option<Operand>,
    pub(crate) value: Operand,
    pub(crate) body: Box<[Stmt]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ComprehensionKind {
    Array,
    Set,
    Object,
}
