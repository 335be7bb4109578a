//! Terms: scalars, names, references, calls and collections.
use super::comprehension::Bar;
use super::infix::call;
use super::lex::{Infix, Keyword, Kind};
use super::{Parser, Result, error};
use crate::ast::{Call, Loc, Str, Term, TermKind};

impl Parser<'_> {
    /// A term without infix operators around it.
    pub(super) fn term(&mut self) -> Result<Term> {
        let outer = self.enter()?;
        let term = self.term_here();
        self.leave(outer, 1)?;
        term
    }

    fn term_here(&mut self) -> Result<Term> {
        let loc = self.loc();
        let kind = match self.kind() {
            Kind::Keyword(Keyword::Null) => self.constant(TermKind::Null),
            Kind::Keyword(Keyword::True) => self.constant(TermKind::Bool(true)),
            Kind::Keyword(Keyword::False) => self.constant(TermKind::Bool(false)),
            Kind::Word | Kind::Keyword(Keyword::Contains) => self.var(),
            Kind::Infix(Infix::Minus) => return self.minus(),
            Kind::Dot | Kind::Number => self.number()?,
            Kind::String | Kind::RawString => self.string()?,
            Kind::Template { .. } => self.template()?,
            Kind::LeftBracket => self.array()?,
            Kind::LeftBrace => self.braces()?,
            Kind::LeftParen => return self.parentheses(),
            _ => return Err(self.unexpected("a term")),
        };
        self.reference(Term { kind, loc })
    }

    fn constant(&mut self, kind: TermKind) -> TermKind {
        self.advance();
        kind
    }

    pub(super) fn var(&mut self) -> TermKind {
        let name = self.word().into();
        self.advance();
        TermKind::Var(name)
    }

    /// `-1`, or `-x`, which is `0 - x`.
    fn minus(&mut self) -> Result<Term> {
        let start = self.mark();
        let loc = self.loc();
        self.advance();
        if !matches!(self.kind(), Kind::Word | Kind::Keyword(Keyword::Contains)) {
            self.reset(start);
            let kind = self.number()?;
            return self.reference(Term { kind, loc });
        }
        let name = self.loc();
        let kind = self.var();
        let term = self.reference(Term { kind, loc: name })?;
        self.higher()?;
        let zero = Term { kind: TermKind::Number(crate::Number::from(0_i64)), loc };
        Ok(call(&["minus"], loc, vec![zero, term]))
    }

    fn parentheses(&mut self) -> Result<Term> {
        self.advance();
        let inner = self.infix(true)?;
        self.expect(Kind::RightParen, "`)` or an operator")?;
        let refers = matches!(inner.kind, TermKind::Ref(_)) || is_root(&inner);
        if refers && self.part_is_here() {
            return Err(error(self.loc(), "a reference in parentheses cannot go on behind them"));
        }
        self.reference(inner)
    }

    /// Whether the current token goes on with the term before it.
    pub(super) fn part_is_here(&self) -> bool {
        !self.current.spaced && matches!(self.kind(), Kind::Dot | Kind::LeftBracket | Kind::LeftParen)
    }

    /// The parts and the call that follow a term directly, if any.
    fn reference(&mut self, head: Term) -> Result<Term> {
        if !self.part_is_here() {
            return Ok(head);
        }
        let mut head = head;
        may_begin_reference(&head)?;
        let loc = head.loc;
        let mut parts = vec![head];
        self.parts(&mut parts)?;
        if self.current.spaced || self.kind() != Kind::LeftParen {
            return Ok(Term { kind: TermKind::Ref(parts), loc });
        }
        let args = self.arguments()?;
        head = called(&parts, args, loc)?;
        let mut parts = vec![head];
        self.parts(&mut parts)?;
        if parts.len() > 1 && self.part_is_here() {
            return Err(error(self.loc(), NOT_CONSTANT));
        }
        Ok(match parts.pop() {
            Some(head) if parts.is_empty() => head,
            last => {
                parts.extend(last);
                Term { kind: TermKind::Ref(parts), loc }
            }
        })
    }

    /// `.name` and `[term]`, any number of times, without space before them.
    pub(super) fn parts(&mut self, parts: &mut Vec<Term>) -> Result<()> {
        while !self.current.spaced && self.part(parts)? {}
        Ok(())
    }

    /// `.name` or `[term]`, if it is here.
    pub(super) fn part(&mut self, parts: &mut Vec<Term>) -> Result<bool> {
        if self.accept(Kind::Dot) {
            let loc = self.loc();
            if self.current.spaced || !matches!(self.kind(), Kind::Word | Kind::Keyword(_)) {
                return Err(self.unexpected("a name directly after the `.`"));
            }
            parts.push(Term { kind: TermKind::String(self.word().into()), loc });
            self.advance();
        } else if self.accept(Kind::LeftBracket) {
            parts.push(self.infix(true)?);
            self.expect(Kind::RightBracket, "`]` or an operator")?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// `(a, b)`.
    pub(super) fn arguments(&mut self) -> Result<Vec<Term>> {
        self.advance();
        let mut args = Vec::new();
        if self.kind() != Kind::RightParen {
            args.push(self.infix(false)?);
            self.items(&mut args, Kind::RightParen, "`,` or `)`")?;
        }
        self.advance();
        Ok(args)
    }

    /// Goes on after an item of a list up to its end, which is not taken.
    pub(super) fn items(&mut self, items: &mut Vec<Term>, end: Kind, expected: &str) -> Result<()> {
        while self.kind() != end {
            self.expect(Kind::Comma, expected)?;
            if self.kind() != end {
                items.push(self.infix(false)?);
            }
        }
        Ok(())
    }

    /// A comma that is taken before the first item, as it always was. Such a collection is no comprehension.
    fn leading_comma(&mut self) -> bool {
        self.accept(Kind::Comma)
    }

    fn array(&mut self) -> Result<TermKind> {
        self.advance();
        if self.accept(Kind::RightBracket) {
            return Ok(TermKind::Array(Vec::new()));
        }
        let list_only = self.leading_comma();
        let head = self.term()?;
        let items = match self.kind() {
            Kind::Infix(Infix::Or) if !list_only => match self.bar(head, Kind::RightBracket)? {
                Bar::Comprehension(head, body) => {
                    self.advance();
                    return Ok(TermKind::ArrayComprehension(Box::new(head), body));
                }
                Bar::List(items) => items,
            },
            _ => vec![self.first_item(head)?],
        };
        let items = self.rest_of_list(items, Kind::RightBracket, "`,`, `]` or an operator")?;
        Ok(TermKind::Array(items))
    }

    fn rest_of_list(&mut self, mut items: Vec<Term>, end: Kind, expected: &str) -> Result<Vec<Term>> {
        self.items(&mut items, end, expected)?;
        self.advance();
        Ok(items)
    }

    /// The rest of an item that begins with a term.
    fn first_item(&mut self, head: Term) -> Result<Term> {
        let left = self.chain(Some(head))?.fold();
        self.infix_after(left, false)
    }

    /// A set, an object, or a comprehension of one.
    fn braces(&mut self) -> Result<TermKind> {
        self.advance();
        if self.accept(Kind::RightBrace) {
            return Ok(TermKind::Object(Vec::new()));
        }
        let list_only = self.leading_comma();
        let head = self.term()?;
        let items = match self.kind() {
            Kind::Infix(Infix::Or) if !list_only => match self.bar(head, Kind::RightBrace)? {
                Bar::Comprehension(head, body) => {
                    self.advance();
                    return Ok(TermKind::SetComprehension(Box::new(head), body));
                }
                Bar::List(items) => items,
            },
            Kind::Colon => return self.object(head, list_only),
            _ => {
                let head = self.first_item(head)?;
                if self.kind() == Kind::Colon {
                    return self.object(head, list_only);
                }
                vec![head]
            }
        };
        let items = self.rest_of_list(items, Kind::RightBrace, "`,`, `}`, `:` or an operator")?;
        Ok(TermKind::Set(items))
    }

    /// An object or a comprehension of one, from the colon after its first key.
    fn object(&mut self, key: Term, list_only: bool) -> Result<TermKind> {
        self.advance();
        let head = self.term()?;
        let mut pairs = Vec::new();
        if self.kind() == Kind::Infix(Infix::Or) && !list_only {
            let mut items = match self.bar(head, Kind::RightBrace)? {
                Bar::Comprehension(head, body) => {
                    self.advance();
                    return Ok(TermKind::ObjectComprehension(Box::new(key), Box::new(head), body));
                }
                Bar::List(items) => items.into_iter(),
            };
            pairs.extend(items.next().map(|value| (key, value)));
            if let Some(key) = items.next() {
                pairs.push((key, self.value()?));
            }
        } else {
            pairs.push((key, self.first_item(head)?));
        }
        while self.kind() != Kind::RightBrace {
            self.expect(Kind::Comma, "`,`, `}` or an operator")?;
            if self.kind() != Kind::RightBrace {
                let key = self.infix(false)?;
                pairs.push((key, self.value()?));
            }
        }
        self.advance();
        Ok(TermKind::Object(pairs))
    }

    fn value(&mut self) -> Result<Term> {
        self.expect(Kind::Colon, "`:` and the key's value")?;
        self.infix(false)
    }
}

/// Whether a term is `input` or `data`, which are references by themselves.
pub(super) fn is_root(term: &Term) -> bool {
    matches!(&term.kind, TermKind::Var(name) if matches!(&**name, "input" | "data"))
}

fn may_begin_reference(head: &Term) -> Result<()> {
    let what = match &head.kind {
        TermKind::Null => "`null`",
        TermKind::Bool(_) => "a boolean",
        TermKind::Number(_) => "a number",
        TermKind::String(_) => "a string",
        TermKind::Template(_) => "a template string",
        _ => return Ok(()),
    };
    Err(error(head.loc, format!("a reference cannot begin with {what}")))
}

/// A call of the function with these parts. `set()` is the empty set.
fn called(parts: &[Term], args: Vec<Term>, loc: Loc) -> Result<Term> {
    let function = constant_parts(parts).ok_or_else(|| error(loc, NOT_CONSTANT))?;
    let kind = match function.as_slice() {
        [name] if args.is_empty() && &**name == "set" => TermKind::Set(args),
        _ => TermKind::Call(Box::new(Call { function, args, loc })),
    };
    Ok(Term { kind, loc })
}

/// The name and the strings of a reference that has nothing else.
pub(super) fn constant_parts(parts: &[Term]) -> Option<Vec<Str>> {
    let (first, rest) = parts.split_first()?;
    let TermKind::Var(name) = &first.kind else { return None };
    let rest = rest.iter().map(|part| match &part.kind {
        TermKind::String(part) => Some(part.clone()),
        _ => None,
    });
    std::iter::once(Some(name.clone())).chain(rest).collect()
}

const NOT_CONSTANT: &str = "a function is called by its name: a name, and names or strings after it";
