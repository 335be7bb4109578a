//! Why a set of verified bundles is not taken into force.

/// Why a set of bundles cannot be loaded. The set is whole or refused: the one in force stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A policy does not parse.
    #[error("{place}: {what}")]
    Syntax {
        /// `bundle/file`, with the line where the language gives one.
        place: String,
        /// What the parser says.
        what: String,
    },
    /// A policy uses what cannot be run faithfully here.
    #[error("{place}: {what}; {mend}")]
    Refused {
        /// `bundle/file:line`.
        place: String,
        /// What is refused.
        what: String,
        /// How to write it instead.
        mend: String,
    },
    /// The entry point is missing.
    #[error("no bundle defines the entry point `{entry}`; {hint}")]
    NoEntry {
        /// The configured path.
        entry: String,
        /// What is there.
        hint: String,
    },
    /// The bundles do not fit the configured language.
    #[error("bundle `{bundle}`: {what}")]
    Language {
        /// The bundle.
        bundle: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Two bundles own the same data.
    #[error("bundles `{first}` and `{second}` overlap: root `{first_root}` and root `{second_root}`")]
    Overlap {
        /// One bundle.
        first: String,
        /// The other.
        second: String,
        /// A root of the first.
        first_root: String,
        /// A root of the second.
        second_root: String,
    },
    /// A package outside the bundle's roots.
    #[error("{place}: package `{package}` is outside the bundle's roots; add a root to `.manifest`")]
    OutsideRoots {
        /// `bundle/file`.
        place: String,
        /// The package.
        package: String,
    },
    /// A rule and a data document claim the same path.
    #[error("rule `{path}` stands where bundle `{bundle}` has data; rename one of them")]
    RuleOverData {
        /// The path.
        path: String,
        /// The bundle with the data.
        bundle: String,
    },
    /// A Cedar schema or entity store is invalid.
    #[error("{place}: {what}")]
    Cedar {
        /// `bundle/file`.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// No bundle at all.
    #[error("no policy bundle is given")]
    Nothing,
    /// The engine failed inside while loading.
    #[error("the policy engine failed inside while loading; report it with the bundle")]
    EnginePanic,
}

impl LoadError {
    /// The stable reason code.
    pub fn code(&self) -> &'static str {
        "policy.bundle.policy"
    }
}
