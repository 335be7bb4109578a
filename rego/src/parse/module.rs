//! Modules: the package, the imports, and rules that are written as mere expressions.
use super::head::truth;
use super::lex::{Infix, Keyword, Kind};
use super::rule::true_expr;
use super::term::constant_parts;
use super::{Known, Parser, Result, error};
use crate::ast::{Call, Expr, ExprKind, Head, Import, Loc, Module, Rule, Str, Term, TermKind, Version};

/// The words that are keywords in every version.
pub(super) const KEYWORDS_V0: [&str; 11] =
    ["not", "package", "import", "as", "default", "else", "with", "null", "true", "false", "some"];

impl Parser<'_> {
    pub(super) fn module(mut self, comments: Vec<(Loc, Str)>) -> Result<Module> {
        if !self.at(Keyword::Package) || self.part_follows() {
            return Err(self.unexpected("`package` and the name of the module's package"));
        }
        let loc = self.loc();
        let package = self.package()?;
        let mut module =
            Module { package, loc, imports: Vec::new(), rules: Vec::new(), version: self.base, comments };
        while self.kind() != Kind::End {
            if self.at(Keyword::Package) && !self.part_follows() {
                return Err(self.unexpected("a rule: a module has one package"));
            }
            if self.at(Keyword::Import) && !self.part_follows() {
                let import = self.import()?;
                module.imports.push(import);
                continue;
            }
            let start = self.mark();
            match self.rules()? {
                Some(rules) => module.rules.extend(rules),
                None => {
                    self.reset(start);
                    let rule = self.rule_without_body()?;
                    module.rules.push(rule);
                }
            }
        }
        if self.strict {
            module.version = Version::V1;
            if let Some(error) = self.unless_v0 {
                return Err(error);
            }
        }
        Ok(module)
    }

    /// The reference after `package` or `import`, which may begin with a keyword.
    fn path(&mut self, what: &str) -> Result<Term> {
        self.advance();
        if let Kind::Keyword(_) = self.kind() {
            self.current.kind = Kind::Word;
        }
        if self.kind() != Kind::Word {
            return Err(self.unexpected(what));
        }
        self.term()
    }

    fn package(&mut self) -> Result<Vec<Str>> {
        let term = self.path("the name of a package: names with `.` between them")?;
        constant_path(&term).filter(|path| path.first().is_some_and(|first| &**first != "_")).ok_or_else(
            || error(term.loc, "the name of a package must be a name, with names or strings after it"),
        )
    }

    fn import(&mut self) -> Result<Import> {
        let loc = self.loc();
        // What can be imported is no keyword in the path, nor is the word that follows it directly.
        let known = std::mem::take(&mut self.known);
        let term = self.path("what to import: a part of `data` or `input`")?;
        self.known = known;
        let path = constant_path(&term)
            .ok_or_else(|| error(term.loc, "an import must be a name, with names or strings after it"))?;
        let first = path.first().cloned().unwrap_or_default();
        let first = &*first;
        if !matches!(first, "data" | "input" | "future" | "rego") {
            let what = format!(
                "unexpected import of `{first}`: it must begin with `data`, `input`, `future` or `rego`"
            );
            return Err(error(term.loc, what));
        }
        let mut alias = None;
        if self.accept(Kind::Keyword(Keyword::As)) {
            let name = if self.kind() == Kind::Word { Some(self.term()?) } else { None };
            alias = match name {
                Some(Term { kind: TermKind::Var(ref name), .. }) if !name.is_empty() => {
                    if name.as_ref() == "input" || name.as_ref() == "data" {
                        return Err(error(loc, "an import must not be called `input` or `data`"));
                    }
                    Some(name.clone())
                }
                _ => return Err(self.unexpected("a name for the import after `as`")),
            };
        } else if let Some(last) =
            path.last().filter(|last| first != "future" && self.is_keyword_of_base(last))
        {
            let what = format!("an import of `{last}`, a keyword, needs another name: `import … as name`");
            return Err(error(term.loc, what));
        }
        let import = Import { path, alias, loc };
        match first {
            "rego" => self.import_rego(&import, term.loc)?,
            "future" => self.import_future(&import, term.loc)?,
            _ => {}
        }
        Ok(import)
    }

    fn is_keyword_of_base(&self, word: &str) -> bool {
        KEYWORDS_V0.contains(&word)
            || (self.base == Version::V1 && matches!(word, "contains" | "every" | "if" | "in"))
    }

    fn import_rego(&mut self, import: &Import, loc: Loc) -> Result<()> {
        if !matches!(import.path.as_slice(), [_, version] if &**version == "v1") {
            return Err(error(loc, "of `rego` only `rego.v1` can be imported"));
        }
        if self.base == Version::V0 {
            if import.alias.is_some() {
                return Err(error(loc, "`rego.v1` cannot be imported under another name"));
            }
            self.known = Known::V1;
            self.strict = true;
        }
        Ok(())
    }

    fn import_future(&mut self, import: &Import, loc: Loc) -> Result<()> {
        let path: Vec<&str> = import.path.iter().map(|part| &**part).collect();
        if path.get(1) != Some(&"keywords") {
            return Err(error(loc, "of `future` only `future.keywords` can be imported"));
        }
        if import.alias.is_some() {
            return Err(error(loc, "keywords cannot be imported under another name"));
        }
        match path.get(2..).unwrap_or_default() {
            [] => self.known = Known::V1,
            ["contains"] => self.known.contains = true,
            ["every"] => (self.known.every, self.known.r#in) = (true, true),
            ["if"] => self.known.r#if = true,
            ["in"] => self.known.r#in = true,
            [word @ ("and" | "or" | "not")] => {
                let what = format!(
                    "the keyword `{word}` of `future.keywords` is experimental and not supported; {}",
                    instead(word)
                );
                return Err(error(loc, what));
            }
            _ => {
                let what = "the keywords that can be imported are `contains`, `every`, `if` and `in`, \
                            each as `future.keywords.name`";
                return Err(error(loc, what));
            }
        }
        Ok(())
    }

    /// A rule that is written as an expression: `p := 1`, `f(x) = y`, `p.q.r`.
    fn rule_without_body(&mut self) -> Result<Rule> {
        let expr = self.literal()?;
        if self.kind() == Kind::Semicolon {
            return Err(
                self.unexpected("a new line and the next rule: a rule without a body is one expression")
            );
        }
        let loc = expr.loc;
        let what = match &expr.kind {
            _ if expr.negated => "a negated expression",
            _ if !expr.with.is_empty() => "an expression with `with`",
            ExprKind::Some(_) | ExprKind::SomeIn { .. } => "`some`",
            ExprKind::Every { .. } => "`every`",
            _ => {
                let head = self.head_of(expr)?;
                self.check_head(&head, false)?;
                return Ok(Rule { default: false, head, body: vec![true_expr(loc)], otherwise: None, loc });
            }
        };
        Err(error(loc, format!("{what} cannot be a rule: write `name if …`")))
    }

    fn head_of(&mut self, expr: Expr) -> Result<Head> {
        let loc = expr.loc;
        let call = match expr.kind {
            ExprKind::Term(Term { kind: TermKind::Ref(reference), .. }) => {
                return self.head_of_reference(reference, loc);
            }
            ExprKind::Call(call) => call,
            ExprKind::Term(Term { kind: TermKind::Var(name), .. }) => {
                // The word behind it says more about what was meant.
                if self.kind() == Kind::Word && !self.current.fresh {
                    return Err(self.unexpected("`:=` and a value, or the rule's body"));
                }
                let mend = self.mend_word(&name).unwrap_or_default();
                return Err(error(loc, format!("{NO_RULE}{mend}")));
            }
            _ => return Err(error(loc, NO_RULE)),
        };
        let Call { function, args, loc: at } = call;
        match function.as_slice() {
            [name] if matches!(&**name, "eq" | "assign") => {
                let assign = &**name == "assign";
                let mut args = args.into_iter();
                let (Some(left), Some(value)) = (args.next(), args.next()) else {
                    return Err(error(loc, "an assignment must have two operands"));
                };
                let (reference, args) = name_and_parameters(left)?;
                Ok(Head { reference, args, key: None, value: Some(value), assign, loc })
            }
            function if is_builtin(function) => {
                Err(error(loc, "this cannot be a rule, being a call of a builtin function or an operator"))
            }
            _ if args.is_empty() => Err(error(loc, "a function without a value must have parameters")),
            _ => {
                let reference = named(&function, at);
                Ok(Head { reference, args: Some(args), key: None, value: Some(truth(at)), assign: true, loc })
            }
        }
    }

    /// `p.q.r`, and `p[x]`, which is a partial set.
    fn head_of_reference(&mut self, mut reference: Vec<Term>, loc: Loc) -> Result<Head> {
        check_name(&reference)?;
        let mut head = Head { reference: Vec::new(), args: None, key: None, value: None, assign: true, loc };
        if reference.len() > 2 {
            let what = "a rule must have a value or a body: write `name := value` or `name if …`";
            self.refuse_in_v1(error(loc, what))?;
            head.value = Some(truth(loc));
        } else {
            head.key = reference.pop();
        }
        head.reference = reference;
        Ok(head)
    }
}

fn name_and_parameters(left: Term) -> Result<(Vec<Term>, Option<Vec<Term>>)> {
    let loc = left.loc;
    match left.kind {
        TermKind::Var(_) => Ok((vec![left], None)),
        TermKind::Ref(reference) => {
            check_name(&reference)?;
            Ok((reference, None))
        }
        TermKind::Call(call) => {
            let args = Some(call.args).filter(|args| !args.is_empty());
            Ok((named(&call.function, call.loc), args))
        }
        _ => Err(error(loc, "a rule's name must be a name, with parts after it")),
    }
}

fn check_name(reference: &[Term]) -> Result<()> {
    match reference.first() {
        Some(Term { kind: TermKind::Var(_), .. }) => Ok(()),
        first => {
            let loc = first.map_or(Loc::default(), |first| first.loc);
            Err(error(loc, "a rule's name must begin with a name"))
        }
    }
}

/// A function's name as a reference.
fn named(function: &[Str], loc: Loc) -> Vec<Term> {
    let part = |(index, part): (usize, &Str)| {
        let part = part.clone();
        Term { kind: if index == 0 { TermKind::Var(part) } else { TermKind::String(part) }, loc }
    };
    function.iter().enumerate().map(part).collect()
}

fn constant_path(term: &Term) -> Option<Vec<Str>> {
    match &term.kind {
        TermKind::Var(name) => Some(vec![name.clone()]),
        TermKind::Ref(parts) => constant_parts(parts),
        _ => None,
    }
}

/// Operators are builtins as well, by their names.
fn is_builtin(function: &[Str]) -> bool {
    const OPERATORS: [Infix; 13] = [
        Infix::Equal,
        Infix::NotEqual,
        Infix::Less,
        Infix::LessOrEqual,
        Infix::Greater,
        Infix::GreaterOrEqual,
        Infix::Or,
        Infix::And,
        Infix::Plus,
        Infix::Minus,
        Infix::Times,
        Infix::Divide,
        Infix::Remainder,
    ];
    let name = function.join(".");
    OPERATORS.iter().any(|operator| operator.builtin() == name)
        || matches!(name.as_str(), "internal.member_2" | "internal.member_3")
        || crate::builtins::lookup(&name).is_some()
}

/// What to write instead of an experimental keyword.
pub(super) fn instead(word: &str) -> &'static str {
    match word {
        "or" => "write a rule with several definitions, one for each alternative, instead",
        "and" => "write several expressions, one a line, instead",
        _ => "write a rule for what is negated, and `not` before its name, instead",
    }
}

const NO_RULE: &str = "this cannot be a rule: write `name := value`, `name if …` or `name contains member`";
