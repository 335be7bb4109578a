//! The syntax tree as written, before anything is resolved. Names and shapes are those of the Rego reference grammar.
use crate::Number;
use std::sync::Arc;

/// A name, a string of the source.
pub type Str = Arc<str>;

/// A place in the source of one module. Rows and columns count from one; a column counts characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Loc {
    /// The module, by its order of loading.
    pub module: u16,
    /// The row.
    pub row: u32,
    /// The column.
    pub col: u32,
}

/// The version of the language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Before OPA 1.0: `if`, `contains`, `in` and `every` are keywords only where imported.
    V0,
    /// OPA 1.0.
    #[default]
    V1,
}

/// A parsed file.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// The path below `data`: `package a.b` is `["a", "b"]`.
    pub package: Vec<Str>,
    /// Where the package is named.
    pub loc: Loc,
    /// The imports, `rego.v1` and `future.keywords` included.
    pub imports: Vec<Import>,
    /// The rules in order.
    pub rules: Vec<Rule>,
    /// The language that it was read as. `import rego.v1` makes it [`Version::V1`].
    pub version: Version,
    /// The comments: where each stands, and its text without the `#`.
    pub comments: Vec<(Loc, Str)>,
}

/// `import path as alias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The reference's constant parts: `["data", "a"]`, `["input"]`, `["future", "keywords", "in"]`.
    pub path: Vec<Str>,
    /// The name it has in the module, when given.
    pub alias: Option<Str>,
    /// The place.
    pub loc: Loc,
}

/// One definition of a rule, with its `else` branches. A rule with several bodies is several rules with one head.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `default name := value`.
    pub default: bool,
    /// What it defines.
    pub head: Head,
    /// The conditions. A rule without a body has the body `true`.
    pub body: Body,
    /// The `else` branch: its head has the value of the branch.
    pub otherwise: Option<Box<Rule>>,
    /// Where it begins.
    pub loc: Loc,
}

/// What a rule defines.
///
/// | source | `reference` | `args` | `key` | `value` |
/// |---|---|---|---|---|
/// | `p if …` | `p` | – | – | `true` |
/// | `p := 1`, `p = 1` | `p` | – | – | `1` |
/// | `p[x] := 1` | `p[x]` | – | – | `1` |
/// | `p.q.r` (v1), `p.q.r if …` | `p.q.r` | – | – | `true` |
/// | `p contains x` | `p` | – | `x` | – |
/// | `p.q contains x` | `p.q` | – | `x` | – |
/// | `p[x] { … }` (v0, no value) | `p` | – | `x` | – |
/// | `f(x) := y` | `f` | `[x]` | – | `y` |
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The name: a variable first, then constants and, for rules with variable heads, other terms.
    pub reference: Vec<Term>,
    /// The parameters of a function.
    pub args: Option<Vec<Term>>,
    /// The element of a partial set.
    pub key: Option<Term>,
    /// The value.
    pub value: Option<Term>,
    /// Whether the value is given by `:=` or none is written.
    pub assign: bool,
    /// The place.
    pub loc: Loc,
}

/// Expressions that must all hold.
pub type Body = Vec<Expr>;

/// One expression of a body.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it says.
    pub kind: ExprKind,
    /// `not`.
    pub negated: bool,
    /// `with target as value`, in order.
    pub with: Vec<With>,
    /// The place.
    pub loc: Loc,
}

/// What an expression says.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A term that must be defined and not `false`.
    Term(Term),
    /// A call or an infix operator by its builtin's name: `eq` is `=`, `assign` is `:=`, `equal` is `==`, then `neq`,
    /// `lt`, `lte`, `gt`, `gte`, `plus`, `minus`, `mul`, `div`, `rem`, `and` (`&`), `or` (`|`), `internal.member_2`
    /// (`x in y`), `internal.member_3` (`k, v in y`).
    Call(Call),
    /// `some x, y`.
    Some(Vec<(Str, Loc)>),
    /// `some x in xs`, `some k, v in xs`.
    SomeIn {
        /// The key's pattern.
        key: Option<Term>,
        /// The value's pattern.
        value: Term,
        /// What is looked through.
        domain: Term,
    },
    /// `every k, v in xs { … }`.
    Every {
        /// The key's name.
        key: Option<(Str, Loc)>,
        /// The value's name.
        value: (Str, Loc),
        /// What is looked through.
        domain: Term,
        /// What must hold for each.
        body: Body,
    },
}

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function: `["startswith"]`, `["io", "jwt", "decode"]`, `["data", "lib", "f"]`.
    pub function: Vec<Str>,
    /// The arguments. A last one beyond the function's arity is the output.
    pub args: Vec<Term>,
    /// The place of the function's name or the operator.
    pub loc: Loc,
}

/// `with target as value`.
#[derive(Clone, Debug, PartialEq)]
pub struct With {
    /// The constant parts of the target.
    pub target: Vec<Str>,
    /// The replacement.
    pub value: Term,
    /// The place of the target.
    pub loc: Loc,
    /// The place of the word `with`.
    pub keyword: Loc,
}

/// A term.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What it is.
    pub kind: TermKind,
    /// The place.
    pub loc: Loc,
}

/// What a term is.
#[derive(Clone, Debug, PartialEq)]
pub enum TermKind {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number, the literal kept.
    Number(Number),
    /// A string, plain or raw, escapes resolved.
    String(Str),
    /// A name that is not followed by `.`, `[` or `(`. `_` has the name `_`; each is another variable.
    Var(Str),
    /// A reference: what it begins with (a variable, a call, a collection), then its parts. A part after a dot is a
    /// string.
    Ref(Vec<Term>),
    /// `[a, b]`.
    Array(Vec<Term>),
    /// `{k: v}`.
    Object(Vec<(Term, Term)>),
    /// `{a, b}`, `set()`.
    Set(Vec<Term>),
    /// `[t | …]`.
    ArrayComprehension(Box<Term>, Body),
    /// `{t | …}`.
    SetComprehension(Box<Term>, Body),
    /// `{k: v | …}`.
    ObjectComprehension(Box<Term>, Box<Term>, Body),
    /// A call in the place of a term; infix operators as in [`ExprKind::Call`].
    Call(Box<Call>),
    /// `$"text {term}"`: text (a string term) and terms in order.
    Template(Vec<TemplatePart>),
}

/// A part of a template string.
#[derive(Clone, Debug, PartialEq)]
pub enum TemplatePart {
    /// Text, escapes resolved.
    Text(Str),
    /// `{term}`.
    Term(Term),
    /// `{term with target as value}`. The replacements hold for this part only.
    With(Term, Vec<With>),
}
