//! Strings, their escapes, and templates.
use super::lex::Kind;
use super::{Parser, Result, error};
use crate::ast::{Expr, ExprKind, Str, TemplatePart, Term, TermKind, Version};

impl Parser<'_> {
    pub(super) fn string(&mut self) -> Result<TermKind> {
        let text = self.word();
        let text = if self.kind() == Kind::RawString { text.into() } else { self.unescape(text, false)? };
        self.advance();
        Ok(TermKind::String(text))
    }

    /// `$"text {term} text"`.
    pub(super) fn template(&mut self) -> Result<TermKind> {
        if self.base == Version::V0 {
            let why = "a template string needs a module of Rego v1; use `sprintf` or `concat` instead";
            return Err(error(self.loc(), why));
        }
        let mut parts = Vec::new();
        while let Kind::Template { raw, last } = self.kind() {
            let text = self.word();
            let text = if raw { text.replace("\\{", "{").into() } else { self.unescape(text, true)? };
            if !text.is_empty() {
                parts.push(TemplatePart::Text(text));
            }
            self.advance();
            if last {
                return Ok(TermKind::Template(parts));
            }
            let expr = self.literal()?;
            parts.push(self.template_part(expr)?);
            self.expect(Kind::RightBrace, "`}` after the term of a template string")?;
        }
        Err(self.unexpected("the rest of the template string"))
    }

    fn template_part(&self, expr: Expr) -> Result<TemplatePart> {
        let what = match expr.kind {
            _ if expr.negated => "`not`",
            ExprKind::Some(_) | ExprKind::SomeIn { .. } => "`some`",
            ExprKind::Every { .. } => "`every`",
            ExprKind::Call(call) => match call.function.as_slice() {
                [name] if &**name == "eq" => "`=`",
                [name] if &**name == "assign" => "`:=`",
                _ => {
                    let term = Term { kind: TermKind::Call(Box::new(call)), loc: expr.loc };
                    return Ok(with(term, expr.with));
                }
            },
            ExprKind::Term(term) => return Ok(with(term, expr.with)),
        };
        Err(error(expr.loc, format!("{what} may not stand in a template string: only a term may")))
    }

    /// Resolves the escapes, as JSON has them, and `\{` in a template.
    fn unescape(&self, text: &str, template: bool) -> Result<Str> {
        if !text.contains('\\') {
            return Ok(text.into());
        }
        let mut result = String::with_capacity(text.len());
        let mut chars = text.chars();
        let mut escaped = false;
        while let Some(c) = chars.next() {
            if c != '\\' {
                result.push(c);
                continue;
            }
            let next = chars.next();
            escaped |= !(template && next == Some('{'));
            result.push(match next {
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => self.unicode_escape(&mut chars)?,
                Some(c) => c,
                None => return Err(error(self.loc(), "a string must not end with a backslash")),
            });
        }
        // A string with escapes is read as JSON, which knows no control characters.
        if escaped && text.contains(|c: char| c < ' ') {
            return Err(error(
                self.loc(),
                "a string with escapes must not contain control characters as such",
            ));
        }
        Ok(result.into())
    }

    /// The four digits of `\u`, and of a second one that makes a pair of surrogates. One that is alone becomes U+FFFD.
    fn unicode_escape(&self, chars: &mut std::str::Chars<'_>) -> Result<char> {
        let first = four_digits(chars)
            .ok_or_else(|| error(self.loc(), "`\\u` must be followed by four hexadecimal digits"))?;
        if let Some(c) = char::from_u32(first) {
            return Ok(c);
        }
        let mut ahead = chars.clone();
        if (0xd800..0xdc00).contains(&first)
            && ahead.next() == Some('\\')
            && ahead.next() == Some('u')
            && let Some(second @ 0xdc00..0xe000) = four_digits(&mut ahead)
        {
            *chars = ahead;
            let c = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            return Ok(c.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }
}

fn with(term: Term, with: Vec<crate::ast::With>) -> TemplatePart {
    if with.is_empty() { TemplatePart::Term(term) } else { TemplatePart::With(term, with) }
}

fn four_digits(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value * 16 + chars.next()?.to_digit(16)?))
}
