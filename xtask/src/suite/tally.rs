//! Counting over the output of many test binaries.

use std::fmt::Write as _;

/// What has been seen so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Passed by libtest's count, which takes a skipped test for a passed one.
    ended_well: usize,
    /// How many of those said that they skipped.
    said_skipped: usize,
    /// Name and, when known, cause.
    pub(super) failed: Vec<(String, String)>,
    /// Name and what it lacked.
    pub(super) skipped: Vec<(String, String)>,
    /// The test binary whose output this is, for a name that says where to look.
    binary: String,
    section: Section,
    /// The passing test whose output this is has said already that it skipped.
    test_said_skipped: bool,
}

/// Which part of a test binary's output a line belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    #[default]
    Running,
    /// What passing tests printed. Read for `SKIPPED` lines, not shown.
    Successes,
}

/// Whether a line is worth showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    Yes,
    No,
}

impl Tally {
    /// Counts a check that passed.
    pub(super) fn pass(&mut self) {
        self.ended_well += 1;
    }

    /// How many really passed.
    pub(super) fn passed(&self) -> usize {
        self.ended_well.saturating_sub(self.said_skipped)
    }

    pub(super) fn fail(&mut self, name: &str, why: &str) {
        self.failed.push((name.to_owned(), why.to_owned()));
    }

    pub(super) fn skip(&mut self, name: &str, why: &str) {
        self.skipped.push((name.to_owned(), why.to_owned()));
    }

    /// Takes one line of output.
    pub(super) fn line(&mut self, line: &str) -> Show {
        if let Some(skipped) = skipped(line) {
            let (name, why) = skipped.split_once(": ").unwrap_or((skipped, "it does not say why"));
            self.skip(name.trim(), why.trim());
            if !self.test_said_skipped {
                self.said_skipped += 1;
            }
            // Outside of a test's own section nothing tells whose the next such line is.
            self.test_said_skipped = self.section == Section::Successes;
            return Show::Yes;
        }
        if let Some(binary) = line.trim_start().strip_prefix("Running ") {
            binary.clone_into(&mut self.binary);
        } else if let Some(package) = line.trim_start().strip_prefix("Doc-tests ") {
            self.binary = format!("doc tests of {package}");
        } else if let Some(test) = line.strip_prefix("test ").filter(|_| self.section == Section::Running) {
            self.test(test);
        }
        if line.starts_with("---- ") {
            self.test_said_skipped = false;
        }
        match line {
            "successes:" => self.section = Section::Successes,
            "failures:" => self.section = Section::Running,
            _ if line.starts_with("test result: ") => {
                self.section = Section::Running;
                self.ended_well += count(line, " passed");
            }
            _ => {}
        }
        if self.section == Section::Successes { Show::No } else { Show::Yes }
    }

    /// `name ... ok`, `name ... FAILED`, `name ... ignored, why`.
    fn test(&mut self, line: &str) {
        let Some((name, outcome)) = line.rsplit_once(" ... ") else { return };
        if outcome == "FAILED" {
            self.failed.push((name.to_owned(), self.binary.clone()));
        } else if let Some(rest) = outcome.strip_prefix("ignored") {
            let why = rest.trim_start_matches([',', ' ']);
            self.skip(name, if why.is_empty() { "marked `ignore`" } else { why });
        }
    }

    /// Every failed and every skipped test with its reason, a line each.
    pub(super) fn summary(&self) -> String {
        let mut text = String::new();
        for (title, rows) in [("failed", &self.failed), ("skipped", &self.skipped)] {
            for (name, why) in rows {
                let _ = writeln!(text, "{title}: {name}: {why}");
            }
        }
        text
    }
}

/// What follows `SKIPPED `: at the line's beginning, or behind `test … ... `, where a thread's output lands.
fn skipped(line: &str) -> Option<&str> {
    line.strip_prefix("SKIPPED ").or_else(|| line.split_once(" ... SKIPPED ").map(|(_, rest)| rest))
}

/// The number before `what`.
fn count(line: &str, what: &str) -> usize {
    let before = line.split(what).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, passed: usize, failed: &[&str], skipped: &[&str]) {
        let mut tally = Tally::default();
        for line in output.lines() {
            tally.line(line);
        }
        let names = |rows: &[(String, String)]| rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>();
        assert_eq!(tally.passed(), passed, "passed");
        assert_eq!(names(&tally.failed), failed, "failed");
        assert_eq!(names(&tally.skipped), skipped, "skipped");
    }

    #[test]
    fn results_of_several_binaries_add_up() {
        check(
            "     Running unittests src/lib.rs (target/debug/deps/a-1)\nrunning 2 tests\ntest a::b ... ok\n\
             test a::c ... ok\n\nsuccesses:\n\nsuccesses:\n    a::b\n    a::c\n\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            3,
            &[],
            &[],
        );
    }

    #[test]
    fn a_test_that_prints_a_skip_is_not_counted_as_passed() {
        check(
            "test spire ... ok\ntest other ... ok\n\nsuccesses:\n\n---- spire stdout ----\n\
             SKIPPED a::spire: POSTERN_SPIRE_SERVER is not set\nSKIPPED spire again: it is still not set\n\n\nsuccesses:\n    spire\n    other\n\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            1,
            &[],
            &["a::spire", "spire again"],
        );
    }

    #[test]
    fn failed_and_ignored_tests_are_named_once() {
        check(
            "test a ... FAILED\ntest b ... ignored, takes an hour\n\nsuccesses:\n\nsuccesses:\n\nfailures:\n\n\
             ---- a stdout ----\nthread 'a' panicked\n\nfailures:\n    a\n\n\
             test result: FAILED. 0 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            0,
            &["a"],
            &["b"],
        );
    }

    #[test]
    fn what_a_passing_test_prints_is_not_taken_for_a_result() {
        check(
            "test a ... ok\n\nsuccesses:\n\n---- a stdout ----\ntest inner ... FAILED\n\nsuccesses:\n    a\n\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            1,
            &[],
            &[],
        );
    }
}
