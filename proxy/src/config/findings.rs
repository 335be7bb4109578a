//! What is wrong with a configuration, in the words of whoever has to mend it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::places::{Place, Places};

/// Characters of a source line that a report shows.
const LINE_SHOWN_MAX: usize = 160;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The configuration is refused.
    Error,
    /// It is taken, and somebody should know.
    Warning,
}

/// One thing that is wrong: what, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Path of the key, such as `listeners.app.routes[0].upstream`. Empty: the file as a whole.
    pub key: String,
    /// Where that stands in the file; line and column count from 1. Absent when it is not in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What is wrong, with user input in backticks.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl Finding {
    /// A finding that refuses the configuration.
    pub fn error(key: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { level: Level::Error, key: key.into(), place: None, what: what.into(), mend: mend.into() }
    }

    /// A finding that does not.
    pub fn warning(key: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { level: Level::Warning, ..Finding::error(key, what, mend) }
    }
}

/// One line, for a log.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", printable(&self.what), printable(&self.mend))
    }
}

/// All findings about one file, errors first and then in the file's order. Displays as a report.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The file.
    pub file: PathBuf,
    /// The findings.
    pub list: Vec<Finding>,
    source: String,
    places: Places,
}

impl Findings {
    /// Findings about a file with this content. A finding about a key gets the place of that key.
    pub(super) fn new(file: PathBuf, source: String, places: Places, mut list: Vec<Finding>) -> Findings {
        for finding in &mut list {
            finding.place = finding.place.or_else(|| places.of(&finding.key));
        }
        list.sort_by(|a, b| (a.level, a.place, &a.key).cmp(&(b.level, b.place, &b.key)));
        Findings { file, list, source, places }
    }

    /// Whether the configuration is refused.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.list.iter().any(|finding| finding.level == Level::Error)
    }

    /// The findings, errors first.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.list.iter()
    }

    /// Number of findings of one level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.list.iter().filter(|finding| finding.level == level).count()
    }

    /// The same file with further findings.
    #[must_use]
    pub fn with(mut self, further: Vec<Finding>) -> Findings {
        self.list.extend(further);
        Findings::new(self.file, self.source, self.places, self.list)
    }

    fn line(&self, line: u64) -> Option<&str> {
        let index = usize::try_from(line.checked_sub(1)?).ok()?;
        self.source.lines().nth(index)
    }

    fn write(&self, finding: &Finding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        writeln!(f, "{level}: {}", printable(&finding.what))?;
        let file = self.file.display();
        let key = if finding.key.is_empty() { String::new() } else { format!(" ({})", finding.key) };
        match finding.place {
            None => writeln!(f, "  --> {file}{key}")?,
            Some(place) => {
                writeln!(f, "  --> {file}:{}:{}{key}", place.line, place.column)?;
                if let Some(line) = self.line(place.line) {
                    self.write_line(place, line, f)?;
                }
            }
        }
        writeln!(f, "  = mend: {}", printable(&finding.mend))
    }

    fn write_line(&self, place: Place, line: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        let shown: String = printable(line).chars().take(LINE_SHOWN_MAX).collect();
        writeln!(f, "{gutter} |\n{number} | {shown}")?;
        let before = usize::try_from(place.column.saturating_sub(1)).unwrap_or(usize::MAX);
        if before < shown.chars().count() {
            writeln!(f, "{gutter} | {}^", " ".repeat(before))?;
        }
        Ok(())
    }
}

/// A terminal obeys control characters; a report must not carry any.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.write(finding, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

/// The candidate that was probably meant.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&written, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A list for a sentence: `a`, `b` or `c`.
pub(super) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
