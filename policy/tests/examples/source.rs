//! A policy's text as tokens, and changes to it. Rego and Cedar have words, numbers, texts and brackets in common, which is
//! all that it takes to find what can be changed.
use std::ops::Range;

/// A changed policy.
#[derive(Debug)]
pub(crate) struct Mutant {
    /// What was changed: the line, and what became of it.
    pub(crate) what: String,
    /// The whole text. Of several it is enough that one is noticed.
    pub(crate) texts: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Number,
    /// With its quotes.
    Text,
    /// With its backquotes.
    Raw,
    Sign,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) at: Range<usize>,
    /// How many brackets it stands in; a bracket stands outside of itself.
    pub(crate) depth: usize,
    /// Whether it is the first of its line.
    pub(crate) first: bool,
    /// Whether nothing is before it on its line.
    pub(crate) leftmost: bool,
}

#[derive(Debug)]
pub(crate) struct Source<'t> {
    pub(crate) text: &'t str,
    pub(crate) tokens: Vec<Token>,
}

const SIGNS: [&str; 8] = [":=", "==", "!=", "<=", ">=", "&&", "||", "::"];

impl<'t> Source<'t> {
    /// Reads a text; `comment` is what a comment begins with.
    pub(crate) fn of(text: &'t str, comment: &str) -> Self {
        let mut tokens = Vec::new();
        let (mut at, mut depth, mut first) = (0, 0_usize, true);
        while let Some(char) = text[at..].chars().next() {
            let rest = &text[at..];
            if rest.starts_with(comment) {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            if char.is_whitespace() {
                first |= char == '\n';
                at += char.len_utf8();
                continue;
            }
            let (kind, length) = token(rest, char);
            depth -= usize::from(matches!(char, ')' | ']' | '}') && kind == Kind::Sign);
            let leftmost = at == 0 || text.as_bytes()[at - 1] == b'\n';
            tokens.push(Token { kind, at: at..at + length, depth, first, leftmost });
            depth += usize::from(matches!(char, '(' | '[' | '{') && kind == Kind::Sign);
            first = false;
            at += length;
        }
        Self { text, tokens }
    }

    pub(crate) fn text_of(&self, index: usize) -> &'t str {
        self.tokens.get(index).map_or("", |token| &self.text[token.at.clone()])
    }

    pub(crate) fn is(&self, index: usize, text: &str) -> bool {
        self.text_of(index) == text
    }

    /// The bracket that closes the one at `open`.
    pub(crate) fn closing(&self, open: usize) -> usize {
        let depth = self.tokens[open].depth;
        let after = (open + 1..self.tokens.len()).find(|index| self.tokens[*index].depth == depth);
        after.unwrap_or(self.tokens.len())
    }

    /// The tokens of a range, split at those that part it.
    pub(crate) fn split(&self, range: Range<usize>, parts: impl Fn(usize) -> Part) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut from = range.start;
        for index in range.clone() {
            match parts(index) {
                Part::No => {}
                Part::Here => {
                    found.push(from..index);
                    from = index + 1;
                }
                Part::Before => {
                    found.push(from..index);
                    from = index;
                }
            }
        }
        found.push(from..range.end);
        found.retain(|part| !part.is_empty());
        found
    }

    /// The text with some tokens replaced.
    pub(crate) fn replaced(&self, tokens: Range<usize>, by: &str) -> Mutant {
        let (from, to) = (self.tokens[tokens.start].at.start, self.tokens[tokens.end - 1].at.end);
        let begin = self.text[..from].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[from..].find('\n').map_or(self.text.len(), |at| from + at);
        let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (old, new) = (joined(&self.text[from..to]), joined(by));
        let line = self.text[begin..end].trim();
        let row = self.text[..from].matches('\n').count() + 1;
        let place = if old == line || by.is_empty() { String::new() } else { format!("in `{line}` ") };
        let what = format!("{row}: {place}`{old}` becomes `{new}`");
        Mutant { what, texts: vec![format!("{}{by}{}", &self.text[..from], &self.text[to..])] }
    }

    /// What can be changed in every language: comparisons, numbers, texts, truths.
    pub(crate) fn of_tokens(&self, is_free: impl Fn(usize) -> bool) -> Vec<Mutant> {
        let mut mutants = Vec::new();
        for (index, token) in self.tokens.iter().enumerate().filter(|(index, _)| is_free(*index)) {
            let text = self.text_of(index);
            let by: Vec<String> = match token.kind {
                Kind::Word => instead(text, &[("true", &["false"]), ("false", &["true"])]),
                Kind::Number => neighbours(text),
                Kind::Text => vec![format!("{}~\"", &text[..text.len() - 1])],
                Kind::Raw => Vec::new(),
                Kind::Sign => instead(text, &COMPARISONS),
            };
            mutants.extend(by.iter().map(|by| self.replaced(index..index + 1, by)));
        }
        mutants
    }
}

/// Whether a token parts a range, and whether it belongs to what follows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    No,
    Here,
    Before,
}

/// The number before and the number after.
pub(crate) fn neighbours(text: &str) -> Vec<String> {
    let number: i64 = text.parse().unwrap();
    vec![(number + 1).to_string(), (number - 1).to_string()]
}

pub(crate) fn instead(text: &str, table: &[(&str, &[&str])]) -> Vec<String> {
    let found = table.iter().find(|(old, _)| *old == text);
    found.map_or_else(Vec::new, |(_, by)| by.iter().map(|by| (*by).to_owned()).collect())
}

const COMPARISONS: [(&str, &[&str]); 6] = [
    ("==", &["!="]),
    ("!=", &["=="]),
    ("<", &["<=", ">="]),
    ("<=", &["<", ">"]),
    (">", &[">=", "<="]),
    (">=", &[">", "<"]),
];

fn token(rest: &str, char: char) -> (Kind, usize) {
    let quoted = |quote: char| {
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, char)| {
            let is_end = *char == quote && !escaped;
            escaped = *char == '\\' && !escaped && quote == '"';
            is_end
        });
        end.map_or(rest.len(), |(at, quote)| at + quote.len_utf8())
    };
    let run = |of: fn(char) -> bool| rest.find(|char| !of(char)).unwrap_or(rest.len());
    match char {
        '"' => (Kind::Text, quoted('"')),
        '`' => (Kind::Raw, quoted('`')),
        char if char.is_ascii_digit() => (Kind::Number, run(|char| char.is_ascii_digit())),
        char if char.is_alphabetic() || char == '_' => {
            (Kind::Word, run(|char| char.is_alphanumeric() || char == '_'))
        }
        char => {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            (Kind::Sign, sign.map_or(char.len_utf8(), |sign| sign.len()))
        }
    }
}
