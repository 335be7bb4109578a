//! From bytes to [`ConfigFile`], within limits; what is wrong with the shape becomes one finding.

use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Options};

use super::file::ConfigFile;
use super::findings::{Finding, nearest, one_of};
use super::places::{Place, Places};

/// Largest configuration file, in bytes.
pub(super) const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Maps and lists within each other.
const DEPTH_MAX: usize = 24;
/// Keys, values, maps and lists together.
const NODES_MAX: usize = 100_000;

/// How YAML is read: without aliases, merge keys, tags and YAML 1.1's booleans, each of which lets a file
/// mean something else than it shows.
fn options() -> Options {
    let mut options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(FILE_BYTES_MAX),
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 4 * NODES_MAX,
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
            max_documents: 1,
            max_total_scalar_bytes: FILE_BYTES_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
        with_snippet: false,
    };
    options.legacy_octal_numbers = false;
    options
}

/// Reads a text; gives the places of its keys in any case, for as much of it as is YAML.
pub(super) fn parse(text: &str) -> (Result<ConfigFile, Finding>, Places) {
    if text.len() > FILE_BYTES_MAX {
        let what = format!("the file has {} bytes, at most {FILE_BYTES_MAX} are accepted", text.len());
        return (Err(Finding::error("", what, "split what is not configuration off")), Places::default());
    }
    // What is wrong is said by the reading below; this one only needs to get to its place.
    let mut lenient = options();
    lenient.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    lenient.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    let places = Places::read(text, lenient);
    let parsed = serde_saphyr::from_str_with_options(text, options());
    (parsed.map_err(|error| finding(&error, &places)), places)
}

fn finding(error: &Error, places: &Places) -> Finding {
    let error = error.without_snippet();
    let place = error
        .location()
        .filter(|location| location.line() > 0)
        .map(|location| Place { line: location.line(), column: location.column() });
    let (what, mend) = words(error);
    // A missing key is missed at the last one of its map: the map itself is the better place to show.
    let missing = matches!(error, Error::SerdeMissingField { .. });
    let map = place.filter(|_| missing).and_then(|place| places.map_at(place));
    let (key, place) = match map {
        Some(map) => (map, places.of(map).or(place)),
        None => (place.and_then(|place| places.path_at(place)).unwrap_or_default(), place),
    };
    Finding { place, ..Finding::error(key, what, mend) }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's enum is open; its own words are good enough for what is rare"
)]
fn words(error: &Error) -> (String, String) {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key `{field}`"), known(field, expected, "key"))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("unknown value `{variant}`"), known(variant, expected, "value"))
        }
        Error::SerdeMissingField { field, .. } => {
            (format!("the key `{field}` is missing"), format!("add `{field}: …` here"))
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            (format!("the key `{key}` stands here twice"), "keep one of the two".to_owned())
        }
        Error::InvalidBooleanStrict { .. } => {
            ("this is not a boolean".to_owned(), "write `true` or `false`".to_owned())
        }
        Error::UnknownAnchor { .. } => aliases(),
        Error::Budget { .. } => (
            format!("the file is beyond a limit: {}", without_place(&error.to_string())),
            format!(
                "write it without anchors and aliases, at most {DEPTH_MAX} levels deep and within {NODES_MAX} nodes"
            ),
        ),
        Error::MergeKeyNotAllowed { .. } => aliases(),
        Error::ExpectedMappingEndAfterEnumVariantValue { .. } => (
            "two alternatives are written where one can hold".to_owned(),
            "keep one key of this map".to_owned(),
        ),
        other => (
            format!("this does not read as expected: {}", without_place(&other.to_string())),
            "compare with docs/configuration.md, or let an editor check it against `postern schema config`"
                .to_owned(),
        ),
    }
}

/// The place stands elsewhere in the report.
fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

fn aliases() -> (String, String) {
    (
        "anchors, aliases and merge keys are not accepted".to_owned(),
        "write the value out: a file of this kind must mean what it shows".to_owned(),
    )
}

fn known(written: &str, expected: &[&str], kind: &str) -> String {
    match nearest(written, expected.iter().copied()) {
        Some(name) => format!("did you mean `{name}`? known here: {}", one_of(expected.iter().copied())),
        None if expected.is_empty() => format!("no {kind} is known here"),
        None => format!("known here: {}", one_of(expected.iter().copied())),
    }
}
