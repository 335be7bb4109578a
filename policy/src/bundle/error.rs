//! Why a bundle is refused. Each refusal keeps the bundle in force.

/// Why a bundle is refused: what, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The archive is no gzip tar, or it ends too early.
    #[error("the bundle is no whole gzip tar archive: {what}")]
    Archive {
        /// What was wrong.
        what: String,
    },
    /// Something follows the archive.
    #[error(
        "bytes follow the end of the bundle archive; build it again as one gzip member with one tar archive"
    )]
    Trailing,
    /// A limit is exceeded.
    #[error("the bundle's {what} is beyond the limit of {limit}; split the bundle or raise the limit")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// Its value.
        limit: u64,
    },
    /// An entry's path is absolute, climbs, or is not plain.
    #[error("entry `{name}`: {what}; a bundle holds plain relative paths only")]
    Path {
        /// The entry.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An entry is no regular file.
    #[error("entry `{name}` is a {kind}; a bundle holds regular files only")]
    Kind {
        /// The entry.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// Two entries have the same name, or names that differ only in case.
    #[error("entry `{name}` stands twice (names that differ only in case count as one)")]
    Duplicate {
        /// The entry.
        name: String,
    },
    /// The bundle carries no signature although one is required.
    #[error("the bundle carries no `.signatures.json`; sign it with `postern bundle sign` or `opa sign`")]
    Unsigned,
    /// The signature list or its token is malformed.
    #[error("`.signatures.json`: {what}")]
    SignatureFormat {
        /// What is wrong.
        what: String,
    },
    /// No configured signer made this signature.
    #[error("no configured signer made the bundle's signature: {what}")]
    SignatureInvalid {
        /// What was tried.
        what: String,
    },
    /// A file is not covered by the signature.
    #[error("file `{name}` is not covered by the signature; sign the bundle again")]
    NotCovered {
        /// The file.
        name: String,
    },
    /// The signature covers a file that is not there.
    #[error("file `{name}` is signed but missing from the bundle")]
    Missing {
        /// The file.
        name: String,
    },
    /// A file's content is not what was signed.
    #[error("file `{name}` is not what was signed: its {algorithm} digest differs")]
    Altered {
        /// The file.
        name: String,
        /// The digest algorithm.
        algorithm: &'static str,
    },
    /// A delta bundle.
    #[error("delta bundles (`patch.json`) are not accepted; publish the whole bundle")]
    Delta,
    /// A structured document cannot be read.
    #[error("`{name}`: {what}")]
    Document {
        /// The file.
        name: String,
        /// What is wrong, with its line.
        what: String,
    },
    /// YAML data.
    #[error(
        "`{name}`: YAML data is not accepted, because two readers can disagree on it; convert it to `data.json`"
    )]
    Yaml {
        /// The file.
        name: String,
    },
    /// The manifest says what it must not.
    #[error("`.manifest`: {what}")]
    Manifest {
        /// What is wrong.
        what: String,
    },
    /// Data outside the bundle's roots, or under a reserved root.
    #[error(
        "data at `{path}` is outside the bundle's roots ({roots}); add a root to `.manifest` or move the data"
    )]
    OutsideRoots {
        /// The data's path.
        path: String,
        /// The roots.
        roots: String,
    },
    /// Two data documents collide.
    #[error("`{name}`: data at `{path}` is defined twice with values that cannot be merged")]
    DataConflict {
        /// The file.
        name: String,
        /// The path.
        path: String,
    },
    /// An older bundle than the one in force.
    #[error(
        "the bundle's sequence number is {offered}, and the one in force has {in_force}; publish it again under a higher one"
    )]
    Rollback {
        /// The bundle's number; 0 when it names none.
        offered: u64,
        /// The number in force.
        in_force: u64,
    },
    /// A policy is not UTF-8.
    #[error("`{name}` is not UTF-8 text")]
    NotText {
        /// The file.
        name: String,
    },
    /// A Cedar schema under another name.
    #[error("`{name}`: a bundle's Cedar schema is `schema.cedarschema` at its root")]
    MisplacedSchema {
        /// The file.
        name: String,
    },
}

impl BundleError {
    /// The stable reason code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Archive { .. }
            | Self::Trailing
            | Self::Path { .. }
            | Self::Kind { .. }
            | Self::Duplicate { .. } => "policy.bundle.archive",
            Self::Limit { .. } => "policy.bundle.limit",
            Self::Unsigned => "policy.bundle.unsigned",
            Self::SignatureFormat { .. }
            | Self::SignatureInvalid { .. }
            | Self::NotCovered { .. }
            | Self::Missing { .. }
            | Self::Altered { .. } => "policy.bundle.signature",
            Self::Delta => "policy.bundle.delta",
            Self::Rollback { .. } => "policy.bundle.rollback",
            Self::Document { .. }
            | Self::Yaml { .. }
            | Self::Manifest { .. }
            | Self::OutsideRoots { .. }
            | Self::DataConflict { .. }
            | Self::NotText { .. }
            | Self::MisplacedSchema { .. } => "policy.bundle.content",
        }
    }
}
