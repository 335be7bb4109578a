//! `regex.globs_match`: whether two patterns may match a common text. The patterns are a small kind of regular expressions,
//! and the answer is that of the library that OPA uses, which is wrong for some of them: what it says is what policies see.
use crate::Value;
use crate::builtins::meter::Meter;
use crate::builtins::{BuiltinError, Context, Outcome, text};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Character(char),
    Any,
    /// Sorted ranges that do not touch.
    Set(Vec<(u32, u32)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Once,
    /// `+`.
    Some,
    /// `*`.
    Many,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    times: Times,
}

pub(super) fn globs_match(context: &mut Context, args: &[Value]) -> Outcome {
    let (left, right) = (text(args, 0)?, text(args, 1)?);
    context.charge_items(left.len().saturating_add(right.len()))?;
    let (left, right) = (tokens(left)?, tokens(right)?);
    let mut search = Search { meter: Meter::new(context), depth: 0 };
    let answer = match search.trimmed(&left, &right)? {
        Some((left, right)) => search.plain(left, right)?,
        None => false,
    };
    Ok(Some(Value::Bool(answer)))
}

fn invalid(why: &str) -> BuiltinError {
    BuiltinError::Failed(format!("{why}: the input provided is invalid"))
}

/// A character, and whether a backslash stands before it.
fn escapable(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> Result<Option<(char, bool)>, BuiltinError> {
    match characters.next() {
        Some('\\') => match characters.next() {
            Some(escaped) => Ok(Some((escaped, true))),
            None => Err(invalid("input ends with a \\ (escape) character")),
        },
        other => Ok(other.map(|character| (character, false))),
    }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, BuiltinError> {
    let mut characters = pattern.chars().peekable();
    let mut tokens: Vec<Token> = Vec::new();
    while let Some(read) = escapable(&mut characters)? {
        let kind = match read {
            ('.', false) => Kind::Any,
            ('[', false) => Kind::Set(set(&mut characters)?),
            (']', false) => return Err(invalid("set-close ']' with no preceding '['")),
            ('+' | '*', false) => return Err(invalid("a flag must be preceded by a non-flag")),
            (character, _) => Kind::Character(character),
        };
        let times = match characters.peek() {
            Some('+') => Times::Some,
            Some('*') => Times::Many,
            _ => Times::Once,
        };
        if times != Times::Once {
            characters.next();
        }
        // Repetitions of the same in a row are one.
        match tokens.last_mut() {
            Some(last) if times != Times::Once && last.times != Times::Once && last.kind == kind => {
                if times == Times::Some {
                    last.times = Times::Some;
                }
            }
            _ => tokens.push(Token { kind, times }),
        }
    }
    Ok(tokens)
}

/// The members of a set, up to its closing bracket.
fn set(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Vec<(u32, u32)>, BuiltinError> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    let mut before: Option<char> = None;
    loop {
        match escapable(characters)? {
            None => return Err(invalid("found [ without matching ]")),
            Some((']', false)) => break,
            Some(('-', false)) => {
                let low = before.take().ok_or_else(|| invalid("'-' must be preceded by a character"))?;
                let high = match escapable(characters)? {
                    Some((']' | '-', false)) | None => {
                        return Err(invalid("'-' must be followed by a character"));
                    }
                    // Not even the closing bracket follows.
                    Some(_) if characters.peek().is_none() => {
                        return Err(invalid("found [ without matching ]"));
                    }
                    Some((high, _)) => high,
                };
                if high < low {
                    return Err(invalid("range is out of order"));
                }
                ranges.push((u32::from(low), u32::from(high)));
            }
            Some((member, _)) => {
                ranges.push((u32::from(member), u32::from(member)));
                before = Some(member);
            }
        }
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    Ok(merged)
}

/// What is left of two patterns.
type Pair<'t> = (&'t [Token], &'t [Token]);

struct Search<'c> {
    meter: Meter<'c>,
    depth: usize,
}

/// The deepest recursion: one level for a token that may repeat.
const DEPTH_MAX: usize = 256;

impl Search<'_> {
    /// Whether two tokens have a character in common. A set without members has one with `.`, says the library.
    fn meet(&mut self, left: &Token, right: &Token) -> Result<bool, BuiltinError> {
        self.meter.spend(1)?;
        Ok(match (&left.kind, &right.kind) {
            (Kind::Any, _) | (_, Kind::Any) => true,
            (Kind::Character(left), Kind::Character(right)) => left == right,
            (Kind::Character(character), Kind::Set(set)) | (Kind::Set(set), Kind::Character(character)) => {
                self.meter.spend(set.len())?;
                set.iter().any(|(low, high)| (*low..=*high).contains(&u32::from(*character)))
            }
            (Kind::Set(left), Kind::Set(right)) => {
                self.meter.spend(left.len().saturating_mul(right.len()))?;
                left.iter().any(|(low, high)| right.iter().any(|(other, end)| low <= end && other <= high))
            }
        })
    }

    /// Both without their plain beginnings and ends, but for one token each; `None` if those do not meet.
    fn trimmed<'t>(
        &mut self,
        left: &'t [Token],
        right: &'t [Token],
    ) -> Result<Option<Pair<'t>>, BuiltinError> {
        let plain =
            |(left, right): &(&Token, &Token)| left.times == Times::Once && right.times == Times::Once;
        let mut begin = 0usize;
        for (left, right) in left.iter().zip(right).take_while(plain) {
            if !self.meet(left, right)? {
                return Ok(None);
            }
            begin = begin.saturating_add(1);
        }
        let begin = begin.saturating_sub(1);
        let (left, right) = (left.get(begin..).unwrap_or_default(), right.get(begin..).unwrap_or_default());
        let mut end = 0usize;
        for (left, right) in left.iter().rev().zip(right.iter().rev()).take_while(plain) {
            if !self.meet(left, right)? {
                return Ok(None);
            }
            end = end.saturating_add(1);
        }
        let end = end.saturating_sub(1);
        let cut = |tokens: &'t [Token]| tokens.get(..tokens.len().saturating_sub(end)).unwrap_or_default();
        Ok(Some((cut(left), cut(right))))
    }

    /// Goes along both until one repeats.
    fn plain(&mut self, left: &[Token], right: &[Token]) -> Result<bool, BuiltinError> {
        let (mut left, mut right) = (left, right);
        while let (Some((first, rest)), Some((other, others))) = (left.split_first(), right.split_first()) {
            if first.times != Times::Once || other.times != Times::Once {
                self.depth = self.depth.saturating_add(1);
                if self.depth > DEPTH_MAX {
                    return Err(BuiltinError::Budget(
                        "the patterns of `regex.globs_match` repeat too much".to_owned(),
                    ));
                }
                let answer = if first.times == Times::Once {
                    self.repeating(right, left)
                } else {
                    self.repeating(left, right)
                };
                self.depth = self.depth.saturating_sub(1);
                return answer;
            }
            if !self.meet(first, other)? {
                return Ok(false);
            }
            (left, right) = (rest, others);
        }
        Ok(left.is_empty() && right.is_empty())
    }

    /// Begins with a token that repeats.
    fn repeating(&mut self, repeating: &[Token], other: &[Token]) -> Result<bool, BuiltinError> {
        let (Some((first, rest)), Some((next, others))) = (repeating.split_first(), other.split_first())
        else {
            return Ok(false);
        };
        if first.times == Times::Many {
            return self.starred(repeating, other);
        }
        if !self.meet(first, next)? {
            return Ok(false);
        }
        if self.starred(repeating, others)? {
            return Ok(true);
        }
        // The other may repeat as well, and take all of this one.
        if next.times == Times::Once { Ok(false) } else { self.plain(rest, other) }
    }

    /// The first token takes what it can of the other, which stops where what follows it fits too.
    fn starred(&mut self, starred: &[Token], other: &[Token]) -> Result<bool, BuiltinError> {
        let Some((star, after)) = starred.split_first() else { return Ok(false) };
        let mut rest = other;
        while let Some((token, following)) = rest.split_first() {
            if let Some(next) = after.first()
                && self.meet(token, next)?
                && self.plain(after, rest)?
            {
                return Ok(true);
            }
            if !self.meet(token, star)? {
                return Ok(false);
            }
            rest = following;
        }
        Ok(after.is_empty())
    }
}
