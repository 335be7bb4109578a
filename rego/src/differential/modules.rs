//! Rules and modules.
use super::Case;
use super::documents;
use super::terms::{Kind, Known, Maker};
use crate::ast::Version;
use crate::builtins::testing::Dice;
use std::fmt::Write;

/// The case of a number.
pub(crate) fn case(seed: u64) -> Case {
    let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let version = if dice.roll(7) == 0 { Version::V0 } else { Version::V1 };
    let data = documents::data(&mut dice);
    let inputs = (0..3).map(|_| documents::input(&mut dice)).collect();
    let strict = dice.roll(5) == 0;
    let mut maker = Maker {
        dice,
        version,
        package: "lib",
        rules: Vec::new(),
        vars: Vec::new(),
        imports: Vec::new(),
        closed: false,
    };
    let mut modules = Vec::new();
    for (package, rules) in [("lib", 2), ("t.sub", 2), ("t", 4), ("q", 2)] {
        if package == "t" || maker.dice.roll(2) == 0 {
            let count = 1 + maker.dice.below(rules);
            modules.push(maker.module(package, count));
        }
    }
    let repaired = maker.dice.roll(8) != 0;
    let case = Case { modules, version, data, inputs, strict };
    if repaired { compiling(case) } else { case }
}

/// Without what we refuse: most of what is made at random is refused for a line.
fn compiling(mut case: Case) -> Case {
    while let Err(error) = case.load() {
        let row = usize::try_from(error.loc.row).unwrap();
        match case.without_line(usize::from(error.loc.module), row) {
            Some(fewer) => case = fewer,
            None => break,
        }
    }
    case
}

impl Maker {
    fn module(&mut self, package: &'static str, rules: usize) -> String {
        self.package = package;
        self.imports.clear();
        let mut text = format!("package {package}\n\n");
        if self.version == Version::V0 {
            text.push_str("import future.keywords.in\nimport future.keywords.every\n");
        }
        if self.chance(3) {
            text.push_str("import input.user\n");
            self.imports.push("user".to_owned());
        }
        if self.chance(4) {
            text.push_str("import data.d.users as dir\n");
            self.imports.push("dir".to_owned());
        }
        if package != "lib" && self.rules.iter().any(|rule| rule.package == "lib") && self.chance(2) {
            text.push_str("import data.lib\n");
            self.imports.push("lib".to_owned());
        }
        for index in 0..rules {
            let (rule, text_of) = self.rule(index);
            text.push('\n');
            text.push_str(&text_of);
            self.rules.push(rule);
        }
        text
    }

    fn rule(&mut self, index: usize) -> (Known, String) {
        let package = self.package;
        let known = |name: String, kind| Known { package, name, kind };
        match self.dice.below(14) {
            0..4 => (known(format!("p{index}"), Kind::Complete), self.complete(&format!("p{index}"))),
            4..6 => (known(format!("p{index}"), Kind::Complete), self.family(&format!("p{index}"), None)),
            6..8 => (known(format!("s{index}"), Kind::Set), self.set_rule(&format!("s{index}"))),
            8..11 => (known(format!("o{index}"), Kind::Object), self.object_rule(&format!("o{index}"))),
            11 => (known(format!("f{index}"), Kind::Function(2)), self.family(&format!("f{index}"), Some(2))),
            _ => {
                let arity = 1 + self.dice.below(2);
                (
                    known(format!("f{index}"), Kind::Function(arity)),
                    self.function(&format!("f{index}"), arity),
                )
            }
        }
    }

    /// ` if { … }` as the version writes it, with a line an expression.
    fn block(&mut self, body: &[String]) -> String {
        let open = if self.version == Version::V0 { " {" } else { " if {" };
        let mut text = open.to_owned();
        for line in body {
            write!(text, "\n\t{line}").unwrap();
        }
        text.push_str("\n}");
        text
    }

    fn random_body(&mut self) -> Vec<String> {
        let depth = 1 + self.dice.below(2);
        let count = 1 + self.dice.below(3);
        self.body(depth, count)
    }

    /// `else` branches.
    fn branches(&mut self, text: &mut String, parameters: &[String]) {
        while self.chance(3) {
            self.vars = parameters.to_vec();
            let body = self.random_body();
            let value = self.head_value();
            let block = self.block(&body);
            write!(text, " else := {value}{block}").unwrap();
        }
    }

    fn head_value(&mut self) -> String {
        self.closed = true;
        let value = self.head_term();
        self.closed = false;
        value
    }

    fn head_term(&mut self) -> String {
        match self.dice.below(5) {
            0 | 1 => "true".to_owned(),
            2 => self.scalar(),
            3 => self.var(),
            _ => self.term(1),
        }
    }

    fn complete(&mut self, name: &str) -> String {
        let mut text = String::new();
        if self.chance(3) {
            let value = if self.chance(8) { "{x | some x in [1, 2]}".to_owned() } else { self.scalar() };
            writeln!(text, "default {name} := {value}").unwrap();
        }
        for _ in 0..=self.dice.below(2) {
            self.vars.clear();
            let body = self.random_body();
            let value = self.head_value();
            let assign = if self.chance(4) { "=" } else { ":=" };
            let head = if value == "true" { String::new() } else { format!(" {assign} {value}") };
            write!(text, "{name}{head}{}", self.block(&body)).unwrap();
            self.branches(&mut text, &[]);
            text.push('\n');
        }
        text
    }

    fn set_rule(&mut self, name: &str) -> String {
        let mut text = String::new();
        for _ in 0..=self.dice.below(2) {
            self.vars.clear();
            let body = self.random_body();
            let element = if self.chance(2) { self.var() } else { self.head_value() };
            let head = match self.version {
                Version::V0 => format!("{name}[{element}]"),
                Version::V1 => format!("{name} contains {element}"),
            };
            writeln!(text, "{head}{}", self.block(&body)).unwrap();
        }
        text
    }

    fn object_rule(&mut self, name: &str) -> String {
        let mut text = String::new();
        let shape = self.dice.below(6);
        for _ in 0..=self.dice.below(3) {
            self.vars.clear();
            let body = self.random_body();
            let mut key = || if self.dice.roll(2) == 0 { self.var() } else { self.scalar() };
            let (key, other) = (key(), key());
            let value = self.head_value();
            let shape = if self.chance(4) { self.dice.below(8) } else { shape };
            let head = match shape {
                0..3 => format!("{name}[{key}] := {value}"),
                3 => format!("{name}[{key}][{other}] := {value}"),
                4 => format!("{name}.a := {value}"),
                5 if self.version == Version::V1 => format!("{name}[{key}] contains {value}"),
                6 => format!("{name}.a[{key}] := {value}"),
                7 => format!("{name}[{key}].b := {value}"),
                _ => format!("{name}.a.b := {value}"),
            };
            writeln!(text, "{head}{}", self.block(&body)).unwrap();
        }
        text
    }

    fn parameter(&mut self) -> String {
        match self.dice.below(9) {
            0..5 => self.new_var(),
            5 => self.scalar(),
            6 => "_".to_owned(),
            _ => self.pattern(),
        }
    }

    fn function(&mut self, name: &str, arity: usize) -> String {
        let mut text = String::new();
        if self.chance(4) {
            let parameters = ["_", "_"][..arity].join(", ");
            writeln!(text, "default {name}({parameters}) := {}", self.scalar()).unwrap();
        }
        for _ in 0..=self.dice.below(2) {
            self.vars.clear();
            let parameters: Vec<String> = (0..arity).map(|_| self.parameter()).collect();
            let bound = self.vars.clone();
            let body = self.random_body();
            let value = self.head_value();
            let head = format!("{name}({}) := {value}", parameters.join(", "));
            write!(text, "{head}{}", self.block(&body)).unwrap();
            self.branches(&mut text, &bound);
            text.push('\n');
        }
        text
    }

    /// Definitions that are told apart by what they compare with constants.
    fn family(&mut self, name: &str, arity: Option<usize>) -> String {
        let mut text = String::new();
        let constant = self.chance(2);
        if self.chance(2) {
            let parameters = if arity.is_some() { "(_, _)" } else { "" };
            writeln!(text, "default {name}{parameters} := {}", self.scalar()).unwrap();
        }
        for index in 0..4 + self.dice.below(4) {
            self.vars.clear();
            let mut head = name.to_owned();
            if arity.is_some() {
                let first = if self.chance(2) { self.scalar() } else { self.new_var() };
                let second = if self.chance(3) { self.scalar() } else { self.new_var() };
                write!(head, "({first}, {second})").unwrap();
            }
            let bound = self.vars.clone();
            let count = 1 + self.dice.below(3);
            let body: Vec<String> = (0..count).map(|_| self.condition()).collect();
            let value = if constant { "true".to_owned() } else { format!("\"{index}\"") };
            write!(text, "{head} := {value}{}", self.block(&body)).unwrap();
            if self.chance(2) {
                self.branches(&mut text, &bound);
            }
            text.push('\n');
        }
        text
    }

    /// What an index can look at.
    fn condition(&mut self) -> String {
        let field = if !self.vars.is_empty() && self.chance(3) {
            self.var()
        } else {
            let fields =
                &["method", "method", "path", "user.role", "user.name", "path[0]", "s", "n", "flag", "nil"];
            format!("input.{}", self.dice.one(fields))
        };
        match self.dice.below(12) {
            0..4 => format!("{field} == {}", self.scalar()),
            4 => format!("{} == {field}", self.scalar()),
            5 => format!("{field} = {}", self.scalar()),
            6 => format!("{field} in {{{}, {}}}", self.scalar(), self.scalar()),
            7 => format!("{field} in [{}, {}]", self.scalar(), self.scalar()),
            8 => {
                let name = self.new_var();
                format!("{name} := {field}; {name} == {}", self.scalar())
            }
            9 => format!("{field} = [{}, {}]", self.scalar(), self.new_var()),
            10 => format!(
                "glob.match(\"{}\", [\"/\"], {field})",
                self.dice.one(&["a", "*", "x/*", "{a,b}", "**"])
            ),
            _ => format!("not {field} == {}", self.scalar()),
        }
    }
}
