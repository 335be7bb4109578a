//! Globs and regular expressions with the meaning that OPA gives them: gobwas globs, and RE2, whose classes `\d`,
//! `\w`, `\s` and `\b` are ASCII. Compiled patterns are kept per thread, bounded.
use regex::{Regex, RegexBuilder};
use std::cell::RefCell;
use std::collections::HashMap;

/// The most bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 4096;
/// The most bytes that one compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// The most compiled patterns that a thread keeps; when it is full, all are dropped.
const CACHE_MAX: usize = 1024;

type Cache = HashMap<(String, Vec<char>, Kind), Regex>;

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(HashMap::new());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Glob,
    Regex,
}

/// Whether the glob matches the whole subject.
pub(super) fn glob_matches(pattern: &str, delimiters: &[char], subject: &str) -> Result<bool, String> {
    cached(pattern, delimiters, Kind::Glob, |regex| regex.is_match(subject))
}

/// Whether the expression matches somewhere in the subject.
pub(super) fn regex_matches(pattern: &str, subject: &str) -> Result<bool, String> {
    cached(pattern, &[], Kind::Regex, |regex| regex.is_match(subject))
}

/// Whether the expression compiles.
pub(super) fn regex_is_valid(pattern: &str) -> bool {
    cached(pattern, &[], Kind::Regex, |_| ()).is_ok()
}

fn cached<T>(
    pattern: &str,
    delimiters: &[char],
    kind: Kind,
    answer: impl FnOnce(&Regex) -> T,
) -> Result<T, String> {
    CACHE.with_borrow_mut(|cache| {
        let key = (pattern.to_owned(), delimiters.to_vec(), kind);
        if let Some(regex) = cache.get(&key) {
            return Ok(answer(regex));
        }
        let source = match kind {
            Kind::Glob => glob_to_regex(pattern, delimiters)?,
            Kind::Regex => translated(pattern)?,
        };
        let regex = RegexBuilder::new(&source)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| format!("pattern `{}`: {error}", shown(pattern)))?;
        let answer = answer(&regex);
        if cache.len() >= CACHE_MAX {
            cache.clear();
        }
        cache.insert(key, regex);
        Ok(answer)
    })
}

fn shown(pattern: &str) -> String {
    pattern.chars().take(64).collect()
}

fn within_length(pattern: &str) -> Result<(), String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("pattern `{}…` is longer than {PATTERN_BYTES_MAX} bytes", shown(pattern)));
    }
    Ok(())
}

/// The expression with the ASCII classes of RE2 instead of the Unicode classes of our engine.
pub(super) fn translated(pattern: &str) -> Result<String, String> {
    within_length(pattern)?;
    let mut out = String::with_capacity(pattern.len().saturating_add(16));
    let mut characters = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(letter) => escape(letter, in_class, &mut characters, &mut out)?,
                None => return Err("a pattern ends in a backslash".to_owned()),
            },
            '[' if in_class && characters.peek() != Some(&':') => out.push_str("\\["),
            '[' if in_class => {
                // A POSIX class such as `[:alpha:]`: taken over to its end, ASCII in both.
                out.push('[');
                for inner in characters.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            '[' => {
                in_class = true;
                out.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A `]` directly after the opening is a literal.
                if characters.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            // Set operations of our engine's classes that are plain characters in RE2.
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(character);
            }
            plain => out.push(plain),
        }
    }
    Ok(out)
}

/// One escape sequence. What has no translation is refused rather than guessed.
fn escape(
    letter: char,
    in_class: bool,
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    out: &mut String,
) -> Result<(), String> {
    let wrapped = |class: &str| if in_class { class.to_owned() } else { format!("[{class}]") };
    match letter {
        'd' => out.push_str(&wrapped("0-9")),
        'w' => out.push_str(&wrapped("0-9A-Za-z_")),
        's' => out.push_str(&wrapped("\\t\\n\\x0C\\r\\x20")),
        'D' => out.push_str("[^0-9]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'S' => out.push_str("[^\\t\\n\\x0C\\r\\x20]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        // Between two bytes of one character an ASCII non-boundary may match; no policy means that.
        'B' => return Err("`\\B` is not available in patterns; write the surrounding characters".to_owned()),
        'Q' => {
            let mut literal = String::new();
            while let Some(character) = rest.next() {
                if character == '\\' && rest.next_if_eq(&'E').is_some() {
                    break;
                }
                literal.push(character);
            }
            out.push_str(&regex::escape(&literal));
        }
        'C' => return Err("`\\C` is not available in patterns".to_owned()),
        other => {
            out.push('\\');
            out.push(other);
        }
    }
    Ok(())
}

/// A gobwas glob as an expression: `*` any run without a delimiter, `**` any run, `?` one character that is no
/// delimiter, `[a-z]` and `[!a-z]`, `{a,b}`, and `\` before a literal.
fn glob_to_regex(pattern: &str, delimiters: &[char]) -> Result<String, String> {
    within_length(pattern)?;
    let refused: String = delimiters.iter().map(|c| regex::escape(&c.to_string())).collect();
    let not_delimiter =
        if delimiters.is_empty() { "(?s:.)".to_owned() } else { format!("[^{}]", class_text(delimiters)) };
    let bad = |what: &str| Err(format!("glob `{}`: {what} (delimiters `{refused}`)", shown(pattern)));
    let mut out = String::from("^(?:");
    let mut characters = pattern.chars().peekable();
    let mut alternatives = 0usize;
    while let Some(character) = characters.next() {
        match character {
            '*' if characters.next_if_eq(&'*').is_some() => {
                while characters.next_if_eq(&'*').is_some() {}
                out.push_str("(?s:.)*");
            }
            '*' => {
                out.push_str(&not_delimiter);
                out.push('*');
            }
            '?' => out.push_str(&not_delimiter),
            '\\' => match characters.next() {
                Some(literal) => out.push_str(&regex::escape(&literal.to_string())),
                None => return bad("it ends in a backslash"),
            },
            '[' => match glob_class(&mut characters) {
                Some(class) => out.push_str(&class),
                None => return bad("a character class is not closed or empty"),
            },
            '{' => {
                alternatives = alternatives.saturating_add(1);
                out.push_str("(?:");
            }
            '}' if alternatives > 0 => {
                alternatives = alternatives.saturating_sub(1);
                out.push(')');
            }
            ',' if alternatives > 0 => out.push('|'),
            literal => out.push_str(&regex::escape(&literal.to_string())),
        }
    }
    if alternatives > 0 {
        return bad("a `{` is not closed");
    }
    out.push_str(")$");
    Ok(out)
}

fn glob_class(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut out = String::from(if characters.next_if_eq(&'!').is_some() { "[^" } else { "[" });
    let mut members: Vec<char> = Vec::new();
    loop {
        match characters.next()? {
            ']' if !members.is_empty() => break,
            '\\' => members.push(characters.next()?),
            member => members.push(member),
        }
    }
    // gobwas knows either a range `a-z` or a list of characters.
    match members.as_slice() {
        [low, '-', high] if low <= high => {
            out.push_str(&format!("{}-{}", class_text(&[*low]), class_text(&[*high])));
        }
        [_, '-', _] => return None,
        list => out.push_str(&class_text(list)),
    }
    out.push(']');
    Some(out)
}

/// Characters as members of a class, each written so that it can only stand for itself.
fn class_text(characters: &[char]) -> String {
    characters.iter().map(|c| format!("\\x{{{:x}}}", u32::from(*c))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str, delimiters: &[char], subject: &str, want: bool) {
        assert_eq!(
            glob_matches(pattern, delimiters, subject),
            Ok(want),
            "{pattern} {delimiters:?} {subject}"
        );
    }

    fn expression(pattern: &str, subject: &str, want: bool) {
        assert_eq!(regex_matches(pattern, subject), Ok(want), "{pattern} {subject}");
    }

    #[test]
    fn globs_mean_what_gobwas_means() {
        glob("/accounts/*", &['/'], "/accounts/42", true);
        glob("/accounts/*", &['/'], "/accounts/42/payments", false);
        glob("/admin**", &['/'], "/admin/x/y", true);
        glob("/a/**c", &['/'], "/a/b/c", true);
        glob("/a/**", &['/'], "/a/", true);
        glob("*", &[], "a.b/c\nd", true);
        glob("*.example.org", &['.'], "a.b.example.org", false);
        glob("{GET,HEAD}", &['/'], "HEAD", true);
        glob("{GET,HEAD}", &['/'], "POST", false);
        glob("v[0-9]", &['/'], "v7", true);
        glob("v[!0-9]", &['/'], "v7", false);
        glob("a?c", &['/'], "a/c", false);
        glob("\\*", &['/'], "*", true);
        glob("a.c", &['/'], "abc", false);
        glob("*", &['-', ']', '^'], "a]b", false);
        assert!(glob_matches("[", &[], "[").is_err());
        assert!(glob_matches("{a", &[], "a").is_err());
        assert!(glob_matches(&"*".repeat(5000), &[], "a").is_err());
    }

    #[test]
    fn classes_are_ascii_as_in_re2() {
        expression(r"^\w+$", "é", false);
        expression(r"^\w+$", "e", true);
        expression(r"^\d+$", "٣", false);
        expression(r"^[\d-]+$", "1-2", true);
        expression(r"^\W$", "é", true);
        expression(r"^[^\w]$", "é", true);
        expression(r"\bx\b", "éxé", true);
        expression(r"^\s$", "\u{a0}", false);
        expression(r"^\s$", " ", true);
        expression(r"^[[]$", "[", true);
        expression(r"^[]a]$", "]", true);
        expression(r"^[a&&b]$", "&", true);
        expression(r"^[[:alpha:]]+$", "abc", true);
        expression(r"^\Qa.b\E$", "a.b", true);
        expression(r"^\Qa.b\E$", "axb", false);
        assert!(!regex_is_valid("("));
        assert!(!regex_is_valid(r"a\"));
        assert!(!regex_is_valid("(?:a{1000}){1000}"));
    }
}
