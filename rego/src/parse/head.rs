//! Heads of rules, as they are written before a body.
use super::lex::{Infix, Keyword, Kind};
use super::term::{constant_parts, is_root};
use super::{Parser, Result, error};
use crate::ast::{Head, Loc, Term, TermKind};

/// A head as written: whether it is a partial set is not known before `if` or a brace.
pub(super) struct Written {
    pub(super) head: Head,
    pub(super) contains: bool,
    /// How many tokens it has.
    pub(super) tokens: usize,
}

impl Parser<'_> {
    /// A head, or nothing if what stands here is none.
    pub(super) fn head(&mut self) -> Result<Option<Written>> {
        let start = self.at;
        let loc = self.loc();
        let name = Term { kind: self.var(), loc };
        if let Kind::Infix(operator) = self.kind()
            && !self.current.spaced
        {
            let mend = if operator == Infix::Equal { ": its value is given by `:=`" } else { "" };
            return Err(error(self.loc(), format!("unexpected `{}` after a rule's name{mend}", self.word())));
        }
        let mut reference = vec![name];
        // Between the name and the first part may be space.
        self.part(&mut reference)?;
        self.parts(&mut reference)?;
        let adjacent = reference.len() == 1 || !self.current.spaced;
        let args = if adjacent && self.kind() == Kind::LeftParen {
            let args = self.arguments()?;
            if args.is_empty() && reference.len() == 1 && is_set(&reference) {
                return Ok(None);
            }
            if self.part_is_here() && self.kind() != Kind::LeftParen {
                return Err(error(self.loc(), "a rule's name cannot go on behind its parameters"));
            }
            Some(args)
        } else {
            None
        };
        let mut head = Head { reference, args, key: None, value: None, assign: true, loc };
        let contains = self.head_rest(&mut head)?;
        // Without parameters it is no function, brackets or not.
        head.args = head.args.filter(|args| !args.is_empty());
        Ok(Some(Written { head, contains, tokens: self.at - start }))
    }

    /// `contains key`, `:= value`, `= value` or nothing; whether it is the first.
    fn head_rest(&mut self, head: &mut Head) -> Result<bool> {
        match self.kind() {
            Kind::Keyword(Keyword::Contains) => {
                if head.args.is_some() {
                    return Err(self
                        .unexpected("the value of a function: only a rule without parameters can be a set"));
                }
                self.advance();
                head.key = Some(self.infix(true)?);
                return Ok(true);
            }
            Kind::Assign | Kind::Unify => {
                head.assign = self.kind() == Kind::Assign;
                self.advance();
                head.value = Some(self.infix(true)?);
            }
            _ => {}
        }
        Ok(false)
    }
}

fn is_set(reference: &[Term]) -> bool {
    constant_parts(reference).is_some_and(|parts| matches!(parts.as_slice(), [name] if &**name == "set"))
}

pub(super) fn truth(loc: Loc) -> Term {
    Term { kind: TermKind::Bool(true), loc }
}

/// Whether a term has no variables.
pub(super) fn is_ground(term: &Term) -> bool {
    let all = |terms: &[Term]| terms.iter().all(is_ground);
    match &term.kind {
        TermKind::Var(_) => is_root(term),
        TermKind::Ref(parts) => parts.split_first().is_none_or(|(_, parts)| all(parts)),
        TermKind::Array(items) | TermKind::Set(items) => all(items),
        TermKind::Object(pairs) => pairs.iter().all(|(key, value)| is_ground(key) && is_ground(value)),
        // The operator is a reference, which has no parts that are variables.
        TermKind::Call(call) => all(&call.args),
        TermKind::Null | TermKind::Bool(_) | TermKind::Number(_) | TermKind::String(_) => true,
        TermKind::ArrayComprehension(..)
        | TermKind::SetComprehension(..)
        | TermKind::ObjectComprehension(..)
        | TermKind::Template(_) => false,
    }
}
