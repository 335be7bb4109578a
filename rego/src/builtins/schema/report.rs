//! What a document does wrong, in the words of `gojsonschema`.
use crate::Value;

/// Where in the document one is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) parent: Option<&'a Place<'a>>,
}

/// The document itself.
pub(super) const ROOT: Place<'static> = Place { name: "(Root)", parent: None };

impl Place<'_> {
    /// How long the path is, at most.
    pub(super) fn length(&self) -> usize {
        let before = self.parent.map_or(0, |parent| parent.length().saturating_add(1));
        before.saturating_add(self.name.len())
    }

    /// The path without the root, but for the root itself.
    pub(super) fn field(&self) -> String {
        match self.parent {
            Some(parent) if parent.parent.is_none() => self.name.to_owned(),
            Some(parent) => format!("{}.{}", parent.field(), self.name),
            None => self.name.to_owned(),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Error {
    kind: &'static str,
    field: String,
    description: String,
}

impl Error {
    pub(super) fn to_value(&self) -> Value {
        let text = |text: &str| Value::from(text);
        Value::object([
            (text("error"), Value::from(format!("{}: {}", self.field, self.description))),
            (text("type"), text(self.kind)),
            (text("field"), text(&self.field)),
            (text("desc"), text(&self.description)),
        ])
    }
}

/// What was found, and how well the document fitted: of several schemas that it does not fit, the best one's errors are
/// told.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) errors: Vec<Error>,
    pub(super) score: i64,
}

impl Report {
    pub(super) fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn point(&mut self) {
        self.score = self.score.saturating_add(1);
    }

    pub(super) fn add(&mut self, kind: &'static str, place: &Place<'_>, description: String) {
        self.errors.push(Error { kind, field: place.field(), description });
        self.score = self.score.saturating_sub(2);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.score = self.score.saturating_add(other.score);
    }

    /// Keeps the better one of two.
    pub(super) fn keep_better(best: &mut Option<Self>, other: Self) {
        if best.as_ref().is_none_or(|best| other.score > best.score) {
            *best = Some(other);
        }
    }
}
