//! Where an expression that begins at a place ends. The syntax tree keeps beginnings only.
use super::coverage::Position;
use crate::ast::Loc;

/// One source, by lines.
#[derive(Debug)]
pub(crate) struct Lines<'t> {
    lines: Vec<&'t str>,
}

impl<'t> Lines<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        Self { lines: text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect() }
    }

    fn line(&self, row: u32) -> Option<&'t str> {
        self.lines.get(usize::try_from(row).ok()?.checked_sub(1)?).copied()
    }

    /// The end of the expression or head that begins at a place: the place after its last character.
    pub(crate) fn end(&self, loc: Loc, head: bool) -> Position {
        let mut scan = Scan { depth: 0, quote: None, goes_on: false, head };
        let mut end = Position { row: loc.row, col: loc.col };
        let mut row = loc.row;
        while let Some(line) = self.line(row) {
            let from =
                if row == loc.row { usize::try_from(loc.col).unwrap_or(1).saturating_sub(1) } else { 0 };
            if row > loc.row && scan.may_end() && !begins_with_operator(line) {
                break;
            }
            let (to, ended) = scan.line(line, from);
            if let Some(to) = to {
                end = Position { row, col: u32::try_from(to.saturating_add(1)).unwrap_or(u32::MAX) };
            }
            if ended {
                break;
            }
            row = row.saturating_add(1);
        }
        end
    }

    /// The text between, with its lines joined.
    pub(crate) fn text(&self, loc: Loc, end: Position) -> String {
        let mut text = String::new();
        for row in loc.row..=end.row {
            let Some(line) = self.line(row) else { break };
            let from =
                if row == loc.row { usize::try_from(loc.col).unwrap_or(1).saturating_sub(1) } else { 0 };
            let to = if row == end.row {
                usize::try_from(end.col).unwrap_or(1).saturating_sub(1)
            } else {
                usize::MAX
            };
            let part: String = line.chars().skip(from).take(to.saturating_sub(from)).collect();
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(part.trim());
        }
        text
    }
}

#[derive(Debug)]
struct Scan {
    depth: usize,
    /// The quote of the string that is open.
    quote: Option<char>,
    /// Whether the last word wants another after it.
    goes_on: bool,
    head: bool,
}

impl Scan {
    fn may_end(&self) -> bool {
        self.depth == 0 && self.quote.is_none() && !self.goes_on
    }

    /// Scans a line; gives how many of its characters belong to the expression, if any do, and whether it ends here.
    fn line(&mut self, line: &str, from: usize) -> (Option<usize>, bool) {
        let chars: Vec<char> = line.chars().collect();
        let mut at = from;
        let mut last = None;
        while let Some(char) = chars.get(at).copied() {
            at = at.saturating_add(1);
            if let Some(quote) = self.quote {
                last = Some(at);
                if char == '\\' && quote == '"' {
                    at = at.saturating_add(1);
                } else if char == quote {
                    self.quote = None;
                }
                continue;
            }
            match char {
                '#' => break,
                '"' | '`' => self.quote = Some(char),
                '(' | '[' | '{' if !(self.head && self.depth == 0 && char == '{' && !self.goes_on) => {
                    self.depth = self.depth.saturating_add(1);
                }
                ')' | ']' | '}' if self.depth > 0 => self.depth = self.depth.saturating_sub(1),
                ')' | ']' | '}' | '{' => return (last, true),
                ';' | ',' if self.depth == 0 => return (last, true),
                _ => {}
            }
            if char.is_whitespace() {
                if self.head && self.depth == 0 && word_at(&chars, at) == "if" {
                    return (last, true);
                }
                continue;
            }
            last = Some(at);
            self.goes_on = "=<>+-*/%&|:!.".contains(char)
                || (word_ends(&chars, at)
                    && matches!(
                        word_before(&chars, at).as_str(),
                        "in" | "with" | "as" | "not" | "every" | "some"
                    ));
        }
        (last, false)
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn word_at(chars: &[char], at: usize) -> String {
    chars.iter().skip(at).take_while(|char| is_word(**char)).collect()
}

fn word_ends(chars: &[char], at: usize) -> bool {
    chars.get(at).is_none_or(|char| !is_word(*char))
}

/// The word that ends before a place.
fn word_before(chars: &[char], at: usize) -> String {
    let mut letters: Vec<char> =
        chars.iter().take(at).rev().take_while(|char| is_word(**char)).copied().collect();
    letters.reverse();
    letters.into_iter().collect()
}

/// Whether a line goes on with the expression of the line before.
fn begins_with_operator(line: &str) -> bool {
    let line = line.trim_start();
    let operator = ["==", "!=", ":=", "<", ">", "=", "+", "*", "/", "%", "&", "|", "."];
    let word = ["with", "in", "as"].iter().any(|word| {
        line.strip_prefix(word).is_some_and(|rest| rest.chars().next().is_none_or(|char| !is_word(char)))
    });
    word || operator.iter().any(|operator| line.starts_with(operator))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, (row, col): (u32, u32), head: bool, want: &str) {
        let lines = Lines::of(text);
        let loc = Loc { module: 0, row, col };
        assert_eq!(lines.text(loc, lines.end(loc, head)), want, "{text:?} at {row}:{col}");
    }

    #[test]
    fn an_expression_ends_where_the_next_begins() {
        check("\tinput.x == 1\n\tinput.y\n", (1, 2), false, "input.x == 1");
        check(
            "\tstartswith(input.path,\n\t\t\"/x\")\n\ttrue",
            (1, 2),
            false,
            "startswith(input.path, \"/x\")",
        );
        check("a; b", (1, 1), false, "a");
        check("p if { a }", (1, 8), false, "a");
        check("x == \"a;}\" # no\ny", (1, 1), false, "x == \"a;}\"");
        check("r == `a\nb`\ny", (1, 1), false, "r == `a b`");
        check(
            "f(x) with input as {\"a\": 1}\n  with data.b as 2\nc",
            (1, 1),
            false,
            "f(x) with input as {\"a\": 1} with data.b as 2",
        );
        check("a ==\n  b\nc", (1, 1), false, "a == b");
        check("a\n  == b\nc", (1, 1), false, "a == b");
        check("[x | some x in xs; x > 1]", (1, 20), false, "x > 1");
        check("every x in xs { x > 1 }\ny", (1, 1), false, "every x in xs { x > 1 }");
    }

    #[test]
    fn a_head_ends_at_its_body() {
        check("allow if {\n}", (1, 1), true, "allow");
        check("f(x) := y if {\n}", (1, 1), true, "f(x) := y");
        check("p := {\"a\": 1} if true", (1, 1), true, "p := {\"a\": 1}");
        check("p { true }", (1, 1), true, "p");
    }

    #[test]
    fn what_never_ends_ends_with_the_text() {
        check("f(", (1, 1), false, "f(");
        check("\"a", (1, 1), false, "\"a");
        check("", (7, 3), false, "");
        check("é == \"ü\"; x", (1, 1), false, "é == \"ü\"");
    }
}
