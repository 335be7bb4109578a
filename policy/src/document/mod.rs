//! A strict, bounded JSON document: what a bundle's data, manifest and signature list are read with.
//!
//! OPA hashes structured documents over their *parsed* value with number literals kept, so the reader keeps them
//! too ([`canonical`]). Duplicate members are refused instead of "last one wins": a document whose meaning depends on
//! the reader must not pass a signature check in one reading and be evaluated in another.
mod canonical;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(crate) use canonical::canonical;
pub(crate) use read::{DocumentLimits, parse};

/// A JSON value. Members are sorted by their bytes, as OPA hashes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Null,
    Bool(bool),
    /// The literal as it was written.
    Number(Box<str>),
    String(String),
    Array(Vec<Document>),
    Object(BTreeMap<String, Document>),
}

impl Document {
    pub(crate) fn as_object(&self) -> Option<&BTreeMap<String, Document>> {
        match self {
            Self::Object(members) => Some(members),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Array(_) => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Document]> {
        match self {
            Self::Array(items) => Some(items),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Object(_) => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(literal) => literal.parse().ok(),
            Self::Null | Self::Bool(_) | Self::String(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// The value's kind in words, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}
