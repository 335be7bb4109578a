//! A look at a source's shape before anything parses it.
//!
//! Cedar works through an expression by recursion, and the stack that it needs grows with the length of a chain of
//! operators or fields. A source of some kilobytes could so end the process, last good policy and all. This bounds
//! the chains by counting symbols, without understanding them.

/// The most operators, fields and brackets in one statement, at one level of brackets.
const CHAIN_MAX: usize = 200;
/// The same over all brackets that are open at one place.
const OPEN_CHAINS_MAX: usize = 512;
/// The most brackets inside each other. The parser tries several readings at every level, each with all
/// that is inside: its time doubles with every level.
const BRACKETS_MAX: usize = 12;

/// Where and why a source is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misshapen {
    pub(super) line: usize,
    pub(super) what: &'static str,
}

/// What begins a comment.
const COMMENT: &str = "//";

/// Whether a word joins expressions.
fn joins(word: &str) -> bool {
    matches!(word, "if" | "then" | "else" | "in" | "has" | "like" | "is")
}

/// Refuses chains and brackets beyond the limits.
pub(super) fn refuse_misshapen(source: &str) -> Result<(), Misshapen> {
    let mut look = Look { counts: vec![0], line: 1, after_operator: false, last: ' ' };
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let (taken, after) = look.take(next, rest);
        rest = rest.get(taken..).unwrap_or("");
        after?;
    }
    Ok(())
}

struct Look {
    /// Symbols of the statement so far, one number for each open bracket.
    counts: Vec<usize>,
    line: usize,
    after_operator: bool,
    /// The character before, of which some make one operator with the next.
    last: char,
}

impl Look {
    /// Takes the next token: how many bytes it has, and whether it goes too far.
    fn take(&mut self, next: char, rest: &str) -> (usize, Result<(), Misshapen>) {
        if rest.starts_with(COMMENT) {
            return (rest.find('\n').unwrap_or(rest.len()), Ok(()));
        }
        let length = match next {
            '"' | '`' => self.skip_string(next, rest),
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let word = rest.get(..end).unwrap_or("");
                if joins(word) {
                    self.symbol();
                } else {
                    self.after_operator = false;
                }
                end
            }
            c => {
                self.punctuation(c, rest);
                c.len_utf8()
            }
        };
        self.last = next;
        (length, self.judge())
    }

    fn punctuation(&mut self, c: char, rest: &str) {
        match c {
            '\n' => {
                self.line = self.line.saturating_add(1);
                if !self.after_operator && !continues(rest) {
                    self.reset();
                }
            }
            ';' | ',' => self.reset(),
            '(' | '[' | '{' => {
                self.symbol();
                self.counts.push(0);
            }
            ')' | ']' | '}' => {
                if self.counts.len() > 1 {
                    self.counts.pop();
                }
                self.after_operator = false;
            }
            '=' | '&' | '|' | ':' if matches!(self.last, '=' | '&' | '|' | ':' | '!' | '<' | '>') => {}
            '+' | '-' | '*' | '/' | '%' | '&' | '|' | '=' | '<' | '>' | '!' | ':' | '.' => self.symbol(),
            _ => {}
        }
    }

    fn symbol(&mut self) {
        self.after_operator = true;
        if let Some(count) = self.counts.last_mut() {
            *count = count.saturating_add(1);
        }
    }

    fn reset(&mut self) {
        self.after_operator = false;
        if let Some(count) = self.counts.last_mut() {
            *count = 0;
        }
    }

    /// Bytes to the end of the string that starts here; its lines are counted.
    fn skip_string(&mut self, quote: char, rest: &str) -> usize {
        self.after_operator = false;
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            if c == '\n' {
                self.line = self.line.saturating_add(1);
            }
            if escaped {
                escaped = false;
            } else if c == '\\' && quote == '"' {
                escaped = true;
            } else if c == quote || (c == '\n' && quote == '"') {
                return at.saturating_add(1);
            }
        }
        rest.len()
    }

    fn judge(&self) -> Result<(), Misshapen> {
        let what = if self.counts.len() > BRACKETS_MAX.saturating_add(1) {
            "brackets are nested too deep"
        } else if self.counts.last().is_some_and(|count| *count > CHAIN_MAX)
            || self.counts.iter().sum::<usize>() > OPEN_CHAINS_MAX
        {
            "an expression is too long"
        } else {
            return Ok(());
        };
        Err(Misshapen { line: self.line, what })
    }
}

/// Whether the line after this line end goes on with the expression before it.
fn continues(rest: &str) -> bool {
    let next = rest.trim_start();
    next.starts_with(['+', '-', '*', '/', '%', '&', '|', '=', '<', '>', '!', ':', '.', '[', '('])
        || next.strip_prefix("in").is_some_and(|after| after.starts_with(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, want: Result<(), (usize, &'static str)>) {
        let want = want.map_err(|(line, what)| Misshapen { line, what });
        assert_eq!(refuse_misshapen(source), want, "{}", source.chars().take(80).collect::<String>());
    }

    #[test]
    fn what_people_write_is_taken() {
        check("package a\n\nallow if input.a.b[c].d == 1 + 2 * 3\n", Ok(()));
        check(&"allow if { x := 1; y == 2 }\n".repeat(5000), Ok(()));
        check(&format!("a := [{}]", "1, ".repeat(5000)), Ok(()));
        check(&format!("a := {{{}}}", "\"k\": [1, {\"x\": f(y)}],\n".repeat(5000)), Ok(()));
        check(
            &format!("// {}\na := \"{}\"\nb := `{}`", "+".repeat(999), "(".repeat(999), "[\n".repeat(999)),
            Ok(()),
        );
        check("a := \"\\\"\" // (((((((", Ok(()));
    }

    #[test]
    fn chains_that_would_cost_the_stack_are_refused() {
        let long = Err((1, "an expression is too long"));
        check(&format!("a := x{}", ".b".repeat(300)), long);
        check(&format!("a := x{}", "[0]".repeat(300)), long);
        check(&format!("a := 1{}", " + 1".repeat(300)), long);
        check(&format!("a := f(1, 2){}", " + f(1, 2)".repeat(300)), long);
        check(&format!("a := {}1", "- ".repeat(300)), long);
        check(&format!("a := x{}", " in y".repeat(300)), long);
        check(&format!("a := 1{}", " +\n1".repeat(300)), Err((200, "an expression is too long")));
        check(&format!("a := 1{}", "\n\n + 1".repeat(300)), Err((401, "an expression is too long")));
        check(
            &format!("a := {}", "[1 + 1 + 1 + 1 + 1 + 1 + ".repeat(40)),
            Err((1, "brackets are nested too deep")),
        );
        check(&"(".repeat(30), Err((1, "brackets are nested too deep")));
        check(&format!("{}]", "[".repeat(12)), Ok(()));
    }
}
