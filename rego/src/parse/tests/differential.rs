//! Real OPA and this parser take and refuse the same texts, and make the same of those that they take.
use super::sources::SOURCES;
use super::*;
use std::collections::BTreeMap;
use std::process::Command;

/// How many texts are tried in one version.
const TEXTS: usize = 300;

/// What we refuse though OPA's parser takes it, by what the error says, and why.
const REFUSED: &[(&str, &str)] = &[
    ("a function is called by its name", "OPA's compiler refuses it: there is no such function"),
    ("the target of `with` must be", "the tree has names only; OPA takes variables and numbers"),
    ("a rule's name cannot go on behind its parameters", "OPA's compiler panics"),
    ("the name of a package must be", "`_` would be a package that cannot be named"),
    ("a rule's name must begin with a name", "OPA's compiler panics"),
    ("experimental", "not supported"),
    ("the keywords that can be imported are", "OPA imports all keywords at `future.keywords.in.x`"),
    ("nest at most", "OPA nests deeper"),
];

/// SplitMix64, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// Cuts a text where tokens may begin: words, strings, space, and all other characters by themselves.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        let mut piece = first.to_string();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match first {
            '"' => {
                while let Some(c) = chars.next() {
                    piece.push(c);
                    match c {
                        '\\' => piece.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ':' | '=' | '!' | '<' | '>' => piece.extend(chars.next_if_eq(&'=')),
            _ if word(first) => {
                while let Some(c) = chars.next_if(|c| word(*c)) {
                    piece.push(c);
                }
            }
            _ => {}
        }
        pieces.push(piece);
    }
    pieces
}

const NEW: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    ":",
    ".",
    "|",
    "&",
    "+",
    "-",
    "*",
    "=",
    ":=",
    "==",
    "\n",
    " ",
    "_",
    "x",
    "1",
    "0.5",
    "\"s\"",
    "`r`",
    "$\"a{",
    "}\"",
    "if",
    "in",
    "some",
    "every",
    "not",
    "with",
    "as",
    "else",
    "contains",
    "default",
    "null",
    "true",
    "input",
    "data",
    "set()",
    "import",
    "package",
    "#",
    " if ",
    " in ",
    " not ",
    " contains ",
    "[1]",
    ".x",
    "(x)",
    "{ true }",
];

/// Deletes, doubles, swaps, replaces and inserts pieces of a text.
fn mutated(source: &str, random: &mut Random) -> String {
    let mut pieces = pieces(source);
    for _ in 0..=random.below(3) {
        let at = random.below(pieces.len());
        let other = random.below(pieces.len());
        let new = NEW[random.below(NEW.len())].to_owned();
        match random.below(6) {
            0 if pieces.len() > 1 => drop(pieces.remove(at)),
            1 => pieces.insert(at, pieces[at].clone()),
            2 => pieces.swap(at, other),
            3 => pieces.insert(at, pieces[other].clone()),
            4 => pieces.insert(at, new),
            _ => pieces[at] = new,
        }
    }
    pieces.concat()
}

/// The sources, each as it is, and texts that were made from them, each with a prefix in turn.
pub(super) fn texts(seed: u64, prefixes: &[&str], count: usize) -> Vec<String> {
    let mut random = Random(seed);
    let originals = SOURCES.iter().map(|source| (*source).to_owned());
    let mutants: Vec<String> =
        (SOURCES.len()..count).map(|_| mutated(SOURCES[random.below(SOURCES.len())], &mut random)).collect();
    let all = originals.chain(mutants).enumerate();
    all.map(|(index, text)| format!("package t\n{}\n{text}\n", prefixes[index % prefixes.len()])).collect()
}

fn opa() -> Option<std::ffi::OsString> {
    std::env::var_os("POSTERN_OPA")
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(crate::builtins::testing::new_folder(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn run(arguments: &[&str], version: Version, path: &std::path::Path) -> serde_json::Value {
    let mut command = Command::new(opa().unwrap());
    command.args(arguments);
    if version == Version::V0 {
        command.arg("--v0-compatible");
    }
    let output = command.arg(path).output().unwrap();
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)))
}

/// What OPA's parser says about the texts that it refuses, all in one run. A text that is certainly wrong keeps it from
/// compiling them.
fn refused_by_opa(texts: &[String], version: Version, name: &str) -> BTreeMap<usize, String> {
    let folder = Folder::new(name);
    for (index, text) in texts.iter().map(String::as_str).chain(["wrong"]).enumerate() {
        std::fs::write(folder.0.join(format!("{index}.rego")), text).unwrap();
    }
    let result = run(&["check", "--format", "json"], version, &folder.0);
    let mut refused = BTreeMap::<usize, String>::new();
    for error in result["errors"].as_array().unwrap() {
        let path =
            std::path::Path::new(error.pointer("/location/file").and_then(|file| file.as_str()).unwrap());
        let index = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        *refused.entry(index).or_default() += error["message"].as_str().unwrap();
    }
    assert!(refused.contains_key(&texts.len()), "OPA did not report what is certainly wrong: {result}");
    refused
}

/// Whether OPA takes the text only because it skips what follows `if` without looking whether it is a brace.
fn is_skipped_brace(text: &str, version: Version) -> bool {
    let (tokens, _) = lex::tokens(text, 0);
    tokens.windows(2).filter(|pair| text.get(pair[0].start..pair[0].end) == Some("if")).any(|pair| {
        let delimiters = match pair[1].kind {
            Kind::String | Kind::RawString => (1, 1),
            Kind::Template { .. } => (2, 1),
            _ => (0, 0),
        };
        let mut text = text.to_owned();
        text.replace_range(pair[1].start - delimiters.0..pair[1].end + delimiters.1, "{");
        module(&text, 0, version).is_ok()
    })
}

/// Checks that OPA takes the same of the texts, and makes the same rules of them.
pub(super) fn agree(texts: &[String], version: Version, name: &str) {
    if opa().is_none() {
        return;
    }
    let refused = refused_by_opa(texts, version, name);
    let mut wrong = Vec::new();
    let mut taken = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match (module(text, 0, version), refused.get(&index)) {
            // Which builtins we have is not the parser's matter.
            (Ok(_), Some(why)) if why.contains("conflicts with built-in function") => {}
            (Ok(_), Some(why)) => wrong.push(format!("OPA refuses: {why}\n{text}")),
            (Err(error), None)
                if !REFUSED.iter().any(|(part, _)| error.what.contains(part))
                    && !is_skipped_brace(text, version) =>
            {
                wrong.push(format!("OPA takes, we say {error}\n{text}"));
            }
            (Ok(_), None) => taken.push(text),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), texts.len(), wrong.join("\n"));
    // Those with one import, or none, are put into one module, so that OPA is started once for them.
    let mut starts: Vec<&str> = taken.iter().filter_map(|text| start(text)).collect();
    starts.sort_unstable();
    starts.dedup();
    for start in starts {
        let alike =
            taken.iter().filter_map(|text| text.strip_prefix(start)).filter(|text| !text.contains("import"));
        let joined = alike.fold(start.to_owned(), |joined, text| {
            let text = format!("between := 1\n{text}\n");
            if can_be_joined(&format!("{start}{text}between := 1"), version) {
                joined + &text
            } else {
                joined
            }
        });
        if joined != start {
            same_rules(&joined, version, name);
        }
    }
}

/// The first line of a text, and the second if it is an import.
fn start(text: &str) -> Option<&str> {
    let first = text.find('\n')? + 1;
    if !text.get(first..)?.starts_with("import") {
        return text.get(..first);
    }
    text.get(..first + text.get(first..)?.find('\n')? + 1)
}

/// Whether a text is good between others as well, and holds no `.5`, which OPA takes but cannot print.
fn can_be_joined(text: &str, version: Version) -> bool {
    let (tokens, _) = lex::tokens(text, 0);
    let fraction = tokens.windows(2).any(|pair| (pair[0].kind, pair[1].kind) == (Kind::Dot, Kind::Number));
    !fraction && module(text, 0, version).is_ok()
}

/// All good texts in one module, so that OPA is started once.
fn same_rules(text: &str, version: Version, name: &str) {
    let folder = Folder::new(&format!("{name}-joined"));
    let path = folder.0.join("joined.rego");
    std::fs::write(&path, text).unwrap();
    let theirs = run(&["parse", "--format", "json"], version, &path);
    assert!(theirs.get("errors").is_none(), "{theirs}");
    let theirs = shape::of_opa(&theirs);
    let ours = shape::of_module(&module(text, 0, version).unwrap());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn opa_takes_and_reads_the_same_texts_of_v1() {
    agree(&texts(1, &[""], TEXTS), Version::V1, "v1");
}

#[test]
fn opa_takes_and_reads_the_same_texts_of_v0() {
    let prefixes = ["", "import future.keywords.every", "import rego.v1", "import future.keywords.if"];
    agree(&texts(2, &prefixes, TEXTS), Version::V0, "v0");
}
