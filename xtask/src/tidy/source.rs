//! A Rust file taken apart just far enough for the rules: its code with comments and literals blanked out, its
//! string literals, and where its tests begin.

/// One Rust file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    /// The file, with every comment and literal replaced by spaces; same lines.
    code: String,
    /// Line (from 1) and content of every string literal outside comments.
    strings: Vec<(usize, String)>,
    /// First line of an inline test module; the rest of the file is tests.
    tests_from: usize,
}

impl Source {
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let mut lexer =
            Lexer { text: text.chars().collect(), at: 0, line: 1, code: String::new(), strings: Vec::new() };
        lexer.run();
        let tests_from = tests_from(&lexer.code);
        Self { path: path.to_owned(), code: lexer.code, strings: lexer.strings, tests_from }
    }

    /// Whether the whole file serves tests or automation.
    pub(super) fn is_test(&self) -> bool {
        let in_folder =
            |folder: &str| self.path.starts_with(folder) || self.path.contains(&format!("/{folder}"));
        in_folder("tests/")
            || in_folder("benches/")
            || in_folder("examples/")
            || ["xtask/", "conformance/", "fuzz/"].iter().any(|folder| self.path.starts_with(folder))
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
    }

    /// The lines of code, with their numbers, up to where inline tests begin.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().take_while(|(line, _)| *line < self.tests_from)
    }

    /// All lines of code with their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The string literals outside of inline tests.
    pub(super) fn product_strings(&self) -> impl Iterator<Item = (usize, &str)> {
        let until = self.tests_from;
        self.strings.iter().filter(move |(line, _)| *line < until).map(|(line, text)| (*line, text.as_str()))
    }
}

/// The line of the `#[cfg(test)]` that stands over a module with a body; a module in a file of its own is found by
/// its name.
fn tests_from(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let next = lines.get(index + 1..).unwrap_or_default().iter().find(|next| !next.trim().is_empty());
        let opens = |text: &str| text.contains("mod ") && text.trim_end().ends_with('{');
        if line.trim() == "#[cfg(test)]" && next.is_some_and(|next| opens(next)) {
            return index + 1;
        }
    }
    usize::MAX
}

struct Lexer {
    text: Vec<char>,
    at: usize,
    line: usize,
    code: String,
    strings: Vec<(usize, String)>,
}

impl Lexer {
    fn run(&mut self) {
        while let Some(current) = self.peek(0) {
            match (current, self.peek(1)) {
                ('/', Some('/')) => self.blank_while(|c| c != '\n'),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(0, false),
                ('r', Some('"' | '#')) if !self.in_word() && self.raw_hashes(1).is_some() => self.raw(1),
                ('b', Some('r')) if !self.in_word() && self.raw_hashes(2).is_some() => self.raw(2),
                ('\'', _) => self.quote(),
                _ => self.keep(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn in_word(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|index| self.text.get(index));
        before.is_some_and(|c| c.is_alphanumeric() || *c == '_')
    }

    fn keep(&mut self) {
        if let Some(c) = self.peek(0) {
            self.line += usize::from(c == '\n');
            self.code.push(c);
            self.at += 1;
        }
    }

    fn blank(&mut self) {
        if let Some(c) = self.peek(0) {
            self.line += usize::from(c == '\n');
            self.code.push(if c == '\n' { '\n' } else { ' ' });
            self.at += 1;
        }
    }

    fn blank_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.blank();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(current) = self.peek(0) {
            match (current, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.blank();
                    continue;
                }
            }
            self.blank();
            self.blank();
            if depth == 0 {
                return;
            }
        }
    }

    /// How many `#` stand before the quote of a raw string that begins `ahead` characters from here.
    fn raw_hashes(&self, ahead: usize) -> Option<usize> {
        let hashes = (0..).take_while(|n| self.peek(ahead + n) == Some('#')).count();
        (self.peek(ahead + hashes) == Some('"')).then_some(hashes)
    }

    fn raw(&mut self, prefix: usize) {
        let hashes = self.raw_hashes(prefix).unwrap_or(0);
        for _ in 0..prefix + hashes {
            self.blank();
        }
        self.string(hashes, true);
    }

    /// A string literal from its opening quote on.
    fn string(&mut self, hashes: usize, raw: bool) {
        let line = self.line;
        let mut content = String::new();
        self.blank();
        while let Some(current) = self.peek(0) {
            let closes = current == '"' && (1..=hashes).all(|n| self.peek(n) == Some('#'));
            if closes {
                for _ in 0..=hashes {
                    self.blank();
                }
                break;
            }
            if current == '\\' && !raw {
                self.blank();
            }
            content.extend(self.peek(0));
            self.blank();
        }
        self.strings.push((line, content));
    }

    /// A character literal, or the tick of a lifetime.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.blank();
            self.blank();
            self.blank();
            self.blank_while(|c| c != '\'' && c != '\n');
            self.blank();
        } else if self.peek(2) == Some('\'') {
            for _ in 0..3 {
                self.blank();
            }
        } else {
            self.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: &str, strings: &[&str]) {
        let source = Source::parse("a.rs", text);
        let squeezed = source.code.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed, code, "code of {text}");
        let found: Vec<&str> = source.strings.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(found, strings, "strings of {text}");
        assert_eq!(source.code.lines().count(), text.lines().count(), "lines of {text}");
    }

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        check("let a = 1; // unsafe\nlet b;", "let a = 1; let b;", &[]);
        check("/* a /* unsafe */ b */ x", "x", &[]);
        check(r#"f("a \" b", 'c', '\'', 'x')"#, "f( , , , )", &["a \" b"]);
        check("f(r#\"a \"quoted\" b\"#, br\"x\")", "f( , )", &["a \"quoted\" b", "x"]);
        check("fn a<'b>(c: &'b str) {}", "fn a<'b>(c: &'b str) {}", &[]);
        check("let s = \"two\nlines\";", "let s = ;", &["two\nlines"]);
        check("let other = 1;", "let other = 1;", &[]);
    }

    #[test]
    fn an_inline_test_module_ends_the_product() {
        let source = Source::parse("a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
        assert_eq!(source.product_lines().count(), 1);
        let source = Source::parse("a.rs", "fn a() {}\n#[cfg(test)]\nmod tests;\nfn c() {}\n");
        assert_eq!(source.product_lines().count(), 4);
    }
}
