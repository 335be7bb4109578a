//! What `postern policy check` may say: one row a kind of finding. `docs/policy-lints.md` is the same table for people,
//! and a test holds the two together.

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy does not load, or does not mean what it says.
    Error,
    /// It loads, and there is hardly a reason to want it so.
    Warning,
    /// Something to know.
    Note,
}

impl Severity {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The stable name.
    pub id: &'static str,
    /// What it weighs.
    pub severity: Severity,
    /// What it is about.
    pub title: &'static str,
    /// How it is mended, in general.
    pub mend: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal $severity:ident $title:literal, $mend:literal;)*) => {
        $(
            #[doc = $title]
            pub(super) const $name: Code =
                Code { id: $id, severity: Severity::$severity, title: $title, mend: $mend };
        )*
        /// All kinds.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    SYNTAX = "P0001" Error "the file is not in the language", "write it as the message says";
    UNSAFE = "P0002" Error "a variable gets no value", "bind it in a condition that is not negated, or write `_`";
    RECURSION = "P0003" Error "rules ask each other in a circle", "break the circle: one of them must not ask the other";
    COMPILE = "P0004" Error "names, definitions or calls do not fit together", "write it as the message says";
    BUNDLE = "P0005" Error "a file of the bundle is not as it must be", "write it as the message says";
    PLACEMENT = "P0006" Error "a rule stands where it must not", "move it, or name its root in `.manifest`";
    ENTRY = "P0007" Error "the entry point is not there", "name a rule that there is";
    LANGUAGE = "P0008" Error "a file is in the other language", "keep Rego and Cedar in bundles of their own";
    REFUSED = "P0009" Error "a decision must not call this", "take the value from the request or from the bundle's data";
    CEDAR = "P0010" Error "the policy does not fit the schema", "see `schema/postern.cedarschema`";
    CEDAR_BUNDLE = "P0011" Error "entities, schema or annotations are not as they must be", "write it as the message says";
    UNKNOWN_INPUT = "P0101" Error "a field that `input` does not have", "see `postern schema query`";
    NOT_SEEN = "P0102" Error "a field that this enforcement point cannot fill", "ask for what it can see";
    HEADER_CASE = "P0103" Warning "a header name that is not in lower case", "write it in lower case: no other spelling is ever there";
    CONTRADICTION = "P0201" Warning "conditions that exclude each other", "split the rule, or write `in {…}`";
    CONSTANT_FALSE = "P0202" Warning "a condition that never holds", "remove the rule, or mend the condition";
    NEVER_EQUAL = "P0203" Warning "a comparison with what the field never is", "compare with a value that it can have";
    UNUSED_RULE = "P0204" Warning "a rule that the entry point never asks", "remove it, or ask it";
    IMPOSSIBLE = "P0205" Warning "a Cedar policy that never applies", "remove it, or mend its conditions";
    CLOCK = "P0301" Note "the decision depends on its moment", "`input.postern.now_ns` is the same moment, and shows in tests";
    NEGATED_BUILTIN = "P0302" Note "a negation that also holds where the call fails", "check the type first, or set `policy.builtin_errors: deny`";
    NESTED = "P0401" Warning "one collection is gone through for each item of another", "look one of them up: make it an object by the key that is compared";
    ARRAY_LOOKUP = "P0402" Warning "an array of the data is searched", "make it an object by the key that is compared, or a set";
    NO_INDEX = "P0403" Warning "many definitions are tried one by one", "put what differs into the data, or compare a field of the input with a constant in each";
    UNUSED_IMPORT = "P0501" Warning "an import that is not used", "remove it";
    UNUSED_ARGUMENT = "P0502" Warning "an argument that is not used", "write `_`";
    UNUSED_LOCAL = "P0503" Warning "a variable that is not used", "remove it, or write `_`";
    CEDAR_ADVICE = "P0504" Warning "Cedar's validator warns", "write it as the message says";
}
