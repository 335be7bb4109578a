//! Rules: defaults, bodies, chained bodies and `else` branches.
use super::head::{Written, is_ground, truth};
use super::lex::{Keyword, Kind};
use super::term::is_root;
use super::{MAX_DEPTH, ParseError, Parser, Result, error};
use crate::ast::{Body, Expr, ExprKind, Head, Loc, Rule, Term, TermKind};
use std::collections::HashSet;

/// How many tokens of heads may be copied in one module, to bound what a short text unfolds to.
const MAX_COPIED: usize = 1 << 20;

impl Parser<'_> {
    /// The rules of one statement with a head and a body, or nothing if it is to be read as an expression.
    pub(super) fn rules(&mut self) -> Result<Option<Vec<Rule>>> {
        let loc = self.loc();
        self.keyword_as_name();
        let default = self.at(Keyword::Default);
        if default {
            self.advance();
            self.keyword_as_name();
        }
        if self.kind() != Kind::Word {
            return if default { Err(self.unexpected("a rule's name after `default`")) } else { Ok(None) };
        }
        let Some(written) = self.head()? else { return Ok(None) };
        if default {
            return Ok(Some(vec![self.default_rule(written.head, loc)?]));
        }
        self.ruled(written, loc)
    }

    fn default_rule(&mut self, mut head: Head, loc: Loc) -> Result<Rule> {
        if head.key.is_none() && (head.reference.len() != 2 || head.args.is_some()) {
            head.value.get_or_insert(truth(head.loc));
        }
        let Some(value) = &head.value else {
            return Err(error(loc, "a default rule must have a value: `default name := value`"));
        };
        if let Some(what) = not_constant(value) {
            return Err(error(
                value.loc,
                format!("the value of a default rule must be constant: it contains {what}"),
            ));
        }
        let mut seen: HashSet<&str> = HashSet::new();
        for arg in head.args.iter().flatten() {
            match &arg.kind {
                TermKind::Var(name) if !is_root(arg) => {
                    if &**name != "_" && !seen.insert(name) {
                        let what =
                            format!("a parameter of a default function must not be repeated: `{name}`");
                        return Err(error(arg.loc, what));
                    }
                }
                _ => return Err(error(arg.loc, "the parameters of a default function must be variables")),
            }
        }
        self.check_head(&head, false)?;
        Ok(Rule { default: true, head, body: vec![true_expr(loc)], otherwise: None, loc })
    }

    fn ruled(&mut self, written: Written, loc: Loc) -> Result<Option<Vec<Rule>>> {
        let Written { mut head, contains, tokens } = written;
        let has_if = self.at(Keyword::If);
        let no_else = if contains {
            Some(
                "`else` must not follow a rule with `contains`: the members of a set come from all its rules",
            )
        } else {
            self.finish_head(&mut head, has_if)
        };
        let brace = self.kind() == Kind::LeftBrace;
        let body = if has_if {
            self.advance();
            self.if_body()?
        } else if brace {
            let missing = error(self.loc(), "`if` keyword is required before rule body: write `if {`");
            self.refuse_in_v1(missing)?;
            self.block()?
        } else if contains {
            return Ok(Some(vec![Rule {
                default: false,
                body: vec![true_expr(loc)],
                otherwise: None,
                loc: head.loc,
                head,
            }]));
        } else {
            return Ok(None);
        };
        self.check_head(&head, contains)?;
        let mut rule = Rule { default: false, head, body, otherwise: None, loc };
        if self.at(Keyword::Else) && !self.keyword_as_name() {
            if let Some(why) = no_else {
                return Err(error(self.loc(), why));
            }
            rule.otherwise = self.otherwise(&rule.head, tokens)?;
        }
        self.chained(rule, tokens).map(Some)
    }

    /// Makes the head what its form says; why it must not have `else` branches, if so.
    fn finish_head(&mut self, head: &mut Head, has_if: bool) -> Option<&'static str> {
        const VARIABLE: &str = "`else` must not follow a rule with variables in its name";
        let parts = head.reference.get(1..).unwrap_or_default();
        let ground = parts.iter().all(is_ground);
        let plain = head.args.is_none() && parts.len() == 1;
        let by_reference = parts.iter().any(|part| matches!(part.kind, TermKind::Ref(_)) || is_root(part));
        let mut no_else = (!ground || (plain && by_reference)).then_some(VARIABLE);
        if plain && !has_if {
            no_else = no_else.or(Some("`else` must not follow a partial rule: write `if` before its body"));
            if head.value.is_none() {
                head.key = head.reference.pop();
            }
        }
        if head.key.is_none() {
            head.value.get_or_insert(truth(head.loc));
        }
        no_else
    }

    /// What [`crate::ast::Version::V1`] asks of every head.
    pub(super) fn check_head(&mut self, head: &Head, contains: bool) -> Result<()> {
        if let [Term { kind: TermKind::Var(name), .. }] = head.reference.as_slice()
            && is_keyword_of_v1(name)
        {
            let mend = if head.key.is_some() { "; an operator needs space before a bracket" } else { "" };
            let what = format!("`{name}` is a keyword and cannot be a rule's name{mend}");
            self.refuse_in_v1(error(head.loc, what))?;
        }
        if head.key.is_some() && !contains {
            let what =
                "`contains` keyword is required for partial set rules: write `name contains member if …`";
            self.refuse_in_v1(error(head.loc, what))?;
        }
        Ok(())
    }

    /// What follows `if`: an expression or a block. A set in the place of a block is one.
    fn if_body(&mut self) -> Result<Body> {
        if self.kind() != Kind::LeftBrace {
            let loc = self.loc();
            let expr = self.literal()?;
            if is_set(&expr) {
                return Err(error(loc, "a set cannot be a rule's body, for it is never false"));
            }
            return Ok(vec![expr]);
        }
        let start = self.mark();
        let failed: Option<ParseError> = match self.literal() {
            Ok(expr) if !is_set(&expr) => return Ok(vec![expr]),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        self.reset(start);
        // What came further knows better what is wrong.
        self.block().map_err(|error| match failed {
            Some(failed) if failed.loc > error.loc => failed,
            _ => error,
        })
    }

    /// `else := value if …`, any number of times. The branches are read in a row and put into each other at the end.
    fn otherwise(&mut self, head: &Head, tokens: usize) -> Result<Option<Box<Rule>>> {
        let mut branches = Vec::new();
        while branches.is_empty() || self.at(Keyword::Else) {
            if branches.len() >= MAX_DEPTH {
                return Err(error(
                    self.loc(),
                    format!("a rule may have at most {MAX_DEPTH} `else` branches"),
                ));
            }
            self.charge_copy(tokens)?;
            let (branch, ended) = self.branch(head)?;
            branches.push(branch);
            if ended {
                break;
            }
        }
        Ok(branches.into_iter().rev().fold(None, |otherwise, mut branch| {
            branch.otherwise = otherwise;
            Some(Box::new(branch))
        }))
    }

    /// One branch, and whether it must be the last for want of a body.
    fn branch(&mut self, head: &Head) -> Result<(Rule, bool)> {
        let loc = self.loc();
        self.advance();
        let mut head = Head { loc, ..head.clone() };
        match self.kind() {
            Kind::LeftBrace | Kind::Keyword(Keyword::If) => head.value = Some(truth(loc)),
            Kind::Assign | Kind::Unify => {
                head.assign = self.kind() == Kind::Assign;
                self.advance();
                head.value = Some(self.infix(true)?);
            }
            _ => return Err(self.unexpected("`:=` and a value, or a body, after `else`")),
        }
        let has_if = self.at(Keyword::If);
        let mut body = vec![true_expr(loc)];
        let ended = !has_if && self.kind() != Kind::LeftBrace;
        if !ended {
            if has_if {
                self.advance();
            } else {
                let missing = error(
                    self.loc(),
                    "`if` keyword is required before rule body: write `else := value if {`",
                );
                self.refuse_in_v1(missing)?;
            }
            body = if self.kind() == Kind::LeftBrace { self.block()? } else { vec![self.literal()?] };
        }
        Ok((Rule { default: false, head, body, otherwise: None, loc }, ended))
    }

    /// `{ … }` after the body of a rule: one more rule each.
    fn chained(&mut self, rule: Rule, tokens: usize) -> Result<Vec<Rule>> {
        let mut rules = vec![rule];
        while self.kind() == Kind::LeftBrace {
            let Some(first) = rules.first() else { break };
            if first.otherwise.is_some() {
                return Err(self.unexpected("`else` or the next rule"));
            }
            let loc = self.loc();
            let head = Head { loc, ..first.head.clone() };
            self.charge_copy(tokens)?;
            let body = self.block()?;
            rules.push(Rule { default: false, head, body, otherwise: None, loc });
        }
        Ok(rules)
    }

    fn charge_copy(&mut self, tokens: usize) -> Result<()> {
        self.copied = self.copied.saturating_add(tokens);
        if self.copied <= MAX_COPIED {
            return Ok(());
        }
        Err(error(
            self.loc(),
            "too many bodies and `else` branches for so long a head: make them rules with short heads",
        ))
    }
}

fn is_set(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Term(Term { kind: TermKind::Set(_), .. }))
}

pub(super) fn true_expr(loc: Loc) -> Expr {
    Expr { kind: ExprKind::Term(truth(loc)), negated: false, with: Vec::new(), loc }
}

fn is_keyword_of_v1(name: &str) -> bool {
    super::module::KEYWORDS_V0.contains(&name) || matches!(name, "contains" | "every" | "if" | "in")
}

/// What makes a value no constant, if something does. The bodies of comprehensions are not looked into.
fn not_constant(value: &Term) -> Option<&'static str> {
    let any = |terms: &[Term]| terms.iter().find_map(not_constant);
    match &value.kind {
        TermKind::Var(_) => Some("a variable"),
        TermKind::Ref(_) => Some("a reference"),
        TermKind::Call(_) => Some("a call or an operator"),
        TermKind::Array(items) | TermKind::Set(items) => any(items),
        TermKind::Object(pairs) => {
            pairs.iter().find_map(|(key, value)| not_constant(key).or_else(|| not_constant(value)))
        }
        TermKind::Template(parts) => parts.iter().find_map(|part| match part {
            crate::ast::TemplatePart::Text(_) => None,
            crate::ast::TemplatePart::Term(Term { kind: TermKind::Call(call), .. })
            | crate::ast::TemplatePart::With(Term { kind: TermKind::Call(call), .. }, _) => {
                any(&call.args).or(Some("a call"))
            }
            crate::ast::TemplatePart::Term(term) => not_constant(term),
            crate::ast::TemplatePart::With(..) => Some("`with`"),
        }),
        _ => None,
    }
}
