//! Policies with mistakes in their types, as somebody in a hurry writes them: both engines must find the same ones.
use super::opa::Opa;
use super::{Case, tests::say};
use crate::ast::Version;
use crate::builtins::testing::Dice;
use crate::builtins::{self, Builtin};
use crate::{Source, Value, problems};
use std::collections::BTreeMap;
use std::fmt::Write;

struct Maker {
    dice: Dice,
    /// The rules so far, as they are named from the module that is made.
    rules: Vec<String>,
    /// The functions so far, and how many arguments they take.
    functions: Vec<(String, usize)>,
    vars: Vec<String>,
    count: usize,
}

/// The builtins that are called: those whose declarations say most, and some that take anything.
const CALLED: &[&str] = &[
    "count",
    "sum",
    "upper",
    "concat",
    "split",
    "startswith",
    "array.concat",
    "object.get",
    "object.union",
    "json.patch",
    "net.cidr_contains_matches",
    "time.clock",
    "time.diff",
    "glob.match",
    "to_number",
    "plus",
    "minus",
    "and",
    "union",
    "io.jwt.decode",
    "format_int",
    "numbers.range",
    "sort",
    "max",
    "strings.any_prefix_match",
    "walk",
    "graph.reachable",
    "json.filter",
    "urlquery.encode_object",
    "type_name",
    "substring",
    "json.verify_schema",
];

impl Maker {
    fn chance(&mut self, of: usize) -> bool {
        self.dice.below(of) == 0
    }

    fn scalar(&mut self) -> String {
        (self.dice.one(&["1", "2", "\"a\"", "\"b\"", "true", "null", "2.5"])).to_owned()
    }

    fn literal(&mut self, depth: usize) -> String {
        match self.dice.below(9) {
            0 => format!("[{}, {}]", self.term(depth), self.term(depth)),
            1 => format!("[{}]", self.term(depth)),
            2 => format!("{{\"a\": {}, \"b\": {}}}", self.term(depth), self.term(depth)),
            3 => format!("{{{}: {}}}", self.scalar(), self.term(depth)),
            4 => format!("{{{}, {}}}", self.term(depth), self.scalar()),
            5 => (self.dice.one(&["[]", "{}", "set()", "{[1]: 2}", "{{1}: 2}"])).to_owned(),
            _ => self.scalar(),
        }
    }

    fn part(&mut self) -> String {
        match self.dice.below(9) {
            0..3 => (self.dice.one(&[".a", ".b"])).to_owned(),
            3 => (self.dice.one(&["[0]", "[1]", "[true]", "[null]", "[1.0]"])).to_owned(),
            4 => "[_]".to_owned(),
            5 if !self.vars.is_empty() => format!("[{}]", self.var()),
            6 => "[[1]]".to_owned(),
            7 => "[input.k]".to_owned(),
            _ => ".a".to_owned(),
        }
    }

    fn var(&mut self) -> String {
        let vars = self.vars.clone();
        self.dice.pick(&vars).clone()
    }

    fn reference(&mut self) -> String {
        let mut text = match self.dice.below(8) {
            0 => "input.x".to_owned(),
            1 => (self.dice.one(&["data.d", "data.t", "data.lib", "data"])).to_owned(),
            2 if !self.vars.is_empty() => self.var(),
            _ if !self.rules.is_empty() => {
                let rules = self.rules.clone();
                self.dice.pick(&rules).clone()
            }
            _ => "input".to_owned(),
        };
        for _ in 0..self.dice.below(3) {
            text.push_str(&self.part());
        }
        text
    }

    fn call(&mut self, depth: usize) -> String {
        let functions = self.functions.clone();
        let (name, arity) = if !functions.is_empty() && self.chance(3) {
            self.dice.pick(&functions).clone()
        } else {
            let name = (self.dice.one(CALLED)).to_owned();
            let arity = builtins::lookup(&name).map_or(1, |builtin: &Builtin| builtin.arity);
            (name, arity)
        };
        let args: Vec<String> = (0..arity).map(|_| self.term(depth)).collect();
        match (name.as_str(), args.as_slice()) {
            ("plus", [a, b]) => format!("({a} + {b})"),
            ("minus", [a, b]) => format!("({a} - {b})"),
            ("and", [a, b]) => format!("({a} & {b})"),
            _ => format!("{name}({})", args.join(", ")),
        }
    }

    fn comprehension(&mut self, depth: usize) -> String {
        let (outer, domain) = (self.vars.len(), self.term(depth));
        let (k, v) = (self.new_name(), self.new_name());
        let text = match self.dice.below(4) {
            0 => format!("[{v} | {v} := {domain}]"),
            1 => format!("{{{v} | some {v} in {domain}}}"),
            2 => {
                self.vars.push(v.clone());
                let inner = self.condition(depth);
                format!("[{v} | some {v} in {domain}; {inner}]")
            }
            _ => format!("{{{k}: {v} | some {k}, {v} in {domain}}}"),
        };
        self.vars.truncate(outer);
        text
    }

    fn term(&mut self, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else {
            return if self.chance(2) { self.scalar() } else { self.reference() };
        };
        match self.dice.below(10) {
            0..3 => self.literal(depth),
            3..6 => self.reference(),
            6 if !self.vars.is_empty() => self.var(),
            7 => self.call(depth),
            8 => self.comprehension(depth),
            _ => self.scalar(),
        }
    }

    fn new_name(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    fn new_var(&mut self) -> String {
        let name = self.new_name();
        self.vars.push(name.clone());
        name
    }

    /// A line that binds nothing.
    fn condition(&mut self, depth: usize) -> String {
        match self.dice.below(6) {
            0 => self.reference(),
            1 => self.call(depth),
            2 => format!("{} != {}", self.term(depth), self.term(depth)),
            3 => format!("{} in {}", self.term(depth), self.term(depth)),
            _ => format!("{} == {}", self.term(depth), self.term(depth)),
        }
    }

    fn line(&mut self) -> String {
        match self.dice.below(14) {
            0..3 => {
                let term = self.term(3);
                format!("{} := {term}", self.new_var())
            }
            3 => {
                let term = self.term(3);
                format!("[{}, {}] = {term}", self.new_var(), self.new_var())
            }
            4 => {
                let (term, key) = (self.term(3), self.scalar());
                format!("{{{key}: {}}} = {term}", self.new_var())
            }
            5 => {
                let term = self.term(3);
                format!("some {} in {term}", self.new_var())
            }
            6 => {
                let term = self.term(3);
                format!("some {}, {} in {term}", self.new_var(), self.new_var())
            }
            7 => format!("not {}", self.condition(2)),
            8 => {
                let (domain, outer) = (self.term(3), self.vars.len());
                let name = self.new_var();
                let inner = self.condition(2);
                self.vars.truncate(outer);
                format!("every {name} in {domain} {{ {name} != null; {inner} }}")
            }
            9 => {
                let condition = self.condition(2);
                format!("{condition} {}", self.with())
            }
            10 => {
                let term = self.reference();
                format!("{} = {term}", self.new_var())
            }
            _ => self.condition(3),
        }
    }

    fn with(&mut self) -> String {
        let functions = self.functions.clone();
        let target = match self.dice.below(4) {
            0 if !functions.is_empty() => self.dice.pick(&functions).0.clone(),
            1 | 2 => (self.dice.one(&["count", "upper", "concat", "io.jwt.decode", "split"])).to_owned(),
            _ => "input".to_owned(),
        };
        let value = match self.dice.below(3) {
            0 if !functions.is_empty() && target != "input" => self.dice.pick(&functions).0.clone(),
            1 if target != "input" => {
                (self.dice.one(&["count", "lower", "startswith", "type_name"])).to_owned()
            }
            // Of a rule in the place of a function more must be right than its type.
            _ if target != "input" => self.scalar(),
            _ => self.term(2),
        };
        format!("with {target} as {value}")
    }

    fn body(&mut self) -> String {
        let lines: Vec<String> = (0..=self.dice.below(2)).map(|_| self.line()).collect();
        format!(" if {{\n\t{}\n}}\n", lines.join("\n\t"))
    }

    fn rule(&mut self, package: &str, index: usize) -> String {
        self.vars.clear();
        let name = format!("r{index}");
        let mut text = String::new();
        let shape = self.dice.below(10);
        if shape >= 8 {
            let name = format!("f{index}");
            let arity = 1 + self.dice.below(2);
            for _ in 0..=self.dice.below(2) {
                self.vars.clear();
                let parameters: Vec<String> = (0..arity).map(|_| self.parameter()).collect();
                let body = self.body();
                let value = self.term(2);
                write!(text, "{name}({}) := {value}{body}", parameters.join(", ")).unwrap();
            }
            self.functions.push((format!("data.{package}.{name}"), arity));
            return text;
        }
        for _ in 0..=self.dice.below(2) {
            self.vars.clear();
            let body = if self.chance(3) { "\n".to_owned() } else { self.body() };
            let (key, value) = (self.term(1), self.term(3));
            match shape {
                0..3 => write!(text, "{name} := {value}{body}").unwrap(),
                3 => write!(text, "{name} contains {value}{body}").unwrap(),
                4 => write!(text, "{name}[{key}] := {value}{body}").unwrap(),
                5 => write!(text, "{name}.a[{key}] := {value}{body}{name}.b := {value}{body}").unwrap(),
                6 => write!(text, "{name}[{key}] contains {value}{body}").unwrap(),
                _ => {
                    let more = self.scalar();
                    let otherwise = if body == "\n" { "\n".to_owned() } else { format!(" else := {more}\n") };
                    write!(text, "{name} := {value}{}{otherwise}", body.trim_end_matches('\n')).unwrap();
                }
            }
        }
        let whole = self.chance(2);
        self.rules.push(if whole { format!("data.{package}.{name}") } else { name });
        text
    }

    fn parameter(&mut self) -> String {
        match self.dice.below(5) {
            0 => format!("[{}, {}]", self.new_var(), self.scalar()),
            1 => format!("{{\"a\": {}}}", self.new_var()),
            2 => self.scalar(),
            _ => self.new_var(),
        }
    }

    fn module(&mut self, package: &str) -> String {
        let mut text = format!("package {package}\n\n");
        for index in 0..1 + self.dice.below(3) {
            text.push_str(&self.rule(package, index));
        }
        self.rules.retain(|rule| rule.starts_with("data."));
        text
    }
}

fn case(seed: u64) -> Case {
    let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut maker = Maker { dice, rules: Vec::new(), functions: Vec::new(), vars: Vec::new(), count: 0 };
    let mut modules = Vec::new();
    if maker.chance(2) {
        modules.push(maker.module("lib"));
    }
    modules.push(maker.module("t"));
    Case { modules, version: Version::V1, data: "{}".to_owned(), inputs: Vec::new(), strict: false }
}

/// What is wrong, by file and place; of references only that it is, because OPA confuses their places.
type Told = Vec<String>;

fn ours(case: &Case) -> Told {
    let names: Vec<String> = (0..case.modules.len()).map(|index| format!("m{index}")).collect();
    let sources = case.modules.iter().zip(&names);
    let sources: Vec<Source<'_>> =
        sources.map(|(text, name)| Source { name, text, version: case.version }).collect();
    let told = problems(&sources).into_iter().map(|one| {
        let of_reference =
            one.what.starts_with("undefined ref") || one.what.contains("has no value by itself");
        let place = format!("{}:{}:{}", one.file, one.loc.row, one.loc.col);
        format!("{} {}", one.code, if of_reference { "~" } else { &place })
    });
    told.collect()
}

/// The same, and the number of the last module that OPA looked at.
fn theirs(answer: &str) -> (Told, usize) {
    let answer = Value::from_json(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    let mut last = 0;
    let told = answer.member("errors").and_then(Value::as_array).unwrap_or_default().iter().map(|error| {
        let text = |name: &str| error.member(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| error.member("location")?.member(name)?.as_i64();
        let location = error.member("location").and_then(|at| at.member("file"));
        let file = location.and_then(Value::as_str).unwrap_or_default();
        last = file.trim_start_matches('m').parse().unwrap_or(0).max(last);
        let message = text("message");
        let of_reference = message.starts_with("undefined ref") || message.contains("used as reference");
        let (row, col) = (number("row").unwrap_or_default(), number("col").unwrap_or_default());
        let place = format!("{file}:{row}:{col}");
        format!("{} {}", text("code"), if of_reference { "~" } else { &place })
    });
    let told = told.collect();
    (told, last)
}

/// What can be compared: OPA stops after so many errors, and tells one again for each `with` and each expression that it
/// made of one.
fn comparable(mut told: Told) -> Told {
    told.sort();
    told.dedup();
    told
}

const ERRORS_MAX: usize = 10;

fn difference(case: &Case, opa: &mut Opa) -> Option<String> {
    let Err(answer) = opa.load(case) else {
        opa.unload(case.modules.len());
        let ours = ours(case);
        return if ours.is_empty() { None } else { Some(format!("refused: {ours:?}")) };
    };
    let (theirs, last) = theirs(&answer);
    if theirs.is_empty() {
        // No module at all.
        return None;
    }
    // Modules come one by one, and what is wrong with one may be known after the next only.
    let mut found = None;
    for count in last + 1..=case.modules.len() {
        let mut seen = case.clone();
        seen.modules.truncate(count);
        let ours = ours(&seen);
        found = differ(&ours, &theirs, &answer);
        if found.is_none() {
            break;
        }
    }
    found
}

fn differ(ours: &Told, theirs: &Told, answer: &str) -> Option<String> {
    if ours.is_empty() {
        return Some(format!("taken: {theirs:?}"));
    }
    // Who finds something else first does not look at types.
    let of_types = |told: &Told| told.iter().all(|one| one.starts_with("rego_type_error"));
    if theirs.len() >= ERRORS_MAX || !of_types(theirs) || !of_types(ours) {
        return None;
    }
    let (ours, theirs) = (comparable(ours.clone()), comparable(theirs.clone()));
    let all_in = |few: &Told, many: &Told| few.iter().all(|one| many.contains(one));
    // After an undefined function OPA stops. After an undefined reference it has given the variables in it other names: when
    // it looks again it finds no mistake there, and takes what it is a part of for something else.
    let of_reference = |told: &Told| told.iter().any(|one| one.ends_with('~'));
    let explained = all_in(&theirs, &ours) && (of_reference(&ours) || answer.contains("undefined function"))
        || of_reference(&ours) && of_reference(&theirs);
    if ours == theirs || explained {
        return None;
    }
    Some(format!("other errors: ours {ours:?}, theirs {theirs:?}"))
}

#[test]
fn mistakes_of_types_are_those_that_opa_finds() {
    let seeds = std::env::var("POSTERN_REGO_TYPE_SEEDS").ok().map(|seeds| {
        let (from, to) = seeds.split_once("..").unwrap();
        from.parse().unwrap()..to.parse().unwrap()
    });
    let Some(mut opa) = Opa::start(Version::V1, "types") else {
        say("SKIPPED mistakes_of_types_are_those_that_opa_finds: POSTERN_OPA is not set");
        return;
    };
    let mut found = Vec::new();
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in seeds.unwrap_or(0..400) {
        let case = case(seed);
        let kind = if case.load().is_ok() { "loaded" } else { "refused" };
        *counted.entry(kind).or_default() += 1;
        if let Some(what) = difference(&case, &mut opa) {
            let class = what.split(':').next().unwrap_or_default().to_owned();
            let same = |case: &Case, opa: &mut Opa| {
                difference(case, opa).is_some_and(|what| what.starts_with(&class))
            };
            let small = super::reduce::reduced(&case, &mut |case| same(case, &mut opa));
            let what = difference(&small, &mut opa).unwrap_or(what);
            found.push(format!("== seed {seed}: {what}\n{}", small.modules.join("\n")));
            if found.len() >= 25 {
                break;
            }
        }
    }
    say(&format!("{counted:?}"));
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(counted.get("loaded").is_some_and(|count| *count > 20), "{counted:?}");
    assert!(counted.get("refused").is_some_and(|count| *count > 20), "{counted:?}");
}
