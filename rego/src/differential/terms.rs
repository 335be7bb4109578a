//! Terms: what may stand on a side of an expression.
use super::documents::{self, STRINGS};
use crate::ast::Version;
use crate::builtins::testing::Dice;

/// What a rule is, for those that refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Complete,
    Set,
    Object,
    Function(usize),
}

/// A rule that others can refer to.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) package: &'static str,
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// Makes policies.
pub(super) struct Maker {
    pub(super) dice: Dice,
    pub(super) version: Version,
    pub(super) package: &'static str,
    pub(super) rules: Vec<Known>,
    /// The variables in scope.
    pub(super) vars: Vec<String>,
    /// Names that the module imports: what they stand for is data or input.
    pub(super) imports: Vec<String>,
    /// Whether new variables would have no value here.
    pub(super) closed: bool,
}

const INPUT: &[&str] = &[
    "method",
    "path",
    "user",
    "user.name",
    "user.role",
    "user.tags",
    "user.age",
    "items",
    "flag",
    "nil",
    "n",
    "s",
    "m",
    "m.a",
    "path[0]",
    "items[0].id",
    "missing",
    "m[\"1\"]",
];
const DATA: &[&str] = &[
    "d.users",
    "d.roles",
    "d.list",
    "d.m",
    "d.flag",
    "d.nil",
    "d.pairs",
    "d.users.a",
    "d.users.a.tags",
    "t.cfg",
    "t.cfg.a",
    "t.sub.base",
    "lib.k",
    "d.roles.admin",
    "d",
    "d.m.a",
];
const COLLECTIONS: &[&str] = &[
    "input.path",
    "input.user.tags",
    "input.items",
    "input.m",
    "input.user",
    "data.d.users",
    "data.d.roles",
    "data.d.list",
    "data.d.m",
    "data.d.pairs",
    "data.t.cfg",
    "data.t.sub.base",
    "input.items[_].tags",
    "data.d.roles[_]",
    "data.d.users[_].tags",
    "input",
];
const NAMES: &[&str] = &["x", "y", "z", "k", "v", "u", "w", "i", "j", "e", "g", "h", "l", "q0"];

/// Builtins with the kinds of their arguments: any, string, number, collection, object, array, set.
const BUILTINS: &[(&str, &str)] = &[
    ("count", "c"),
    ("sum", "c"),
    ("max", "c"),
    ("min", "c"),
    ("sort", "c"),
    ("concat", "sc"),
    ("startswith", "ss"),
    ("endswith", "ss"),
    ("contains", "ss"),
    ("lower", "s"),
    ("upper", "s"),
    ("split", "ss"),
    ("trim", "ss"),
    ("trim_prefix", "ss"),
    ("replace", "sss"),
    ("substring", "snn"),
    ("indexof", "ss"),
    ("to_number", "a"),
    ("format_int", "nn"),
    ("is_string", "a"),
    ("is_number", "a"),
    ("is_array", "a"),
    ("is_set", "a"),
    ("is_object", "a"),
    ("is_boolean", "a"),
    ("is_null", "a"),
    ("type_name", "a"),
    ("object.get", "oaa"),
    ("object.keys", "o"),
    ("object.union", "oo"),
    ("object.remove", "oc"),
    ("object.filter", "oc"),
    ("array.concat", "rr"),
    ("array.slice", "rnn"),
    ("array.reverse", "r"),
    ("union", "e"),
    ("intersection", "e"),
    ("json.marshal", "a"),
    ("abs", "n"),
    ("ceil", "n"),
    ("floor", "n"),
    ("round", "n"),
    ("numbers.range", "nn"),
    ("object.subset", "oo"),
    ("strings.any_prefix_match", "sc"),
    ("base64.encode", "s"),
    ("json.unmarshal", "s"),
    ("sprintf", "fr"),
    ("glob.match", "sgs"),
    ("regex.match", "ps"),
    ("product", "c"),
    ("trim_space", "s"),
    ("strings.count", "ss"),
    ("object.union_n", "r"),
    ("array.flatten", "r"),
    ("net.cidr_contains", "ss"),
];

impl Maker {
    pub(super) fn chance(&mut self, of: u64) -> bool {
        self.dice.roll(of) == 0
    }

    pub(super) fn scalar(&mut self) -> String {
        documents::scalar(&mut self.dice)
    }

    pub(super) fn string(&mut self) -> String {
        format!("\"{}\"", self.dice.one(STRINGS))
    }

    /// A variable that may be new; it is in scope from here on.
    pub(super) fn new_var(&mut self) -> String {
        for _ in 0..4 {
            let name = self.dice.one(NAMES).to_owned();
            if !self.vars.contains(&name) {
                self.vars.push(name.clone());
                return name;
            }
        }
        let name = if self.chance(30) { "p0".to_owned() } else { self.dice.one(NAMES).to_owned() };
        self.vars.push(name.clone());
        name
    }

    /// A variable in scope; a scalar where there is none.
    pub(super) fn var(&mut self) -> String {
        if self.vars.is_empty() {
            return self.scalar();
        }
        let index = self.dice.below(self.vars.len());
        self.vars[index].clone()
    }

    fn part(&mut self, depth: usize) -> String {
        match self.dice.below(16) {
            0..4 => format!(".{}", self.dice.one(&["a", "b", "c", "name", "role", "tags", "id"])),
            4 => format!(
                "[{}]",
                self.dice.one(&["0", "1", "\"1\"", "\"a\"", "null", "true", "1.5", "[1]", "\"\""])
            ),
            5..9 => format!("[{}]", self.var()),
            9..12 if self.closed && !self.chance(15) => format!("[{}]", self.var()),
            9 | 10 => format!("[{}]", self.new_var()),
            11 => "[_]".to_owned(),
            12 if depth > 0 => format!("[{}]", self.reference(depth - 1)),
            13 if depth > 0 => format!("[{}]", self.term(depth - 1)),
            _ => String::new(),
        }
    }

    /// A reference to a rule that is no function, and at times what is below it.
    pub(super) fn rule_ref(&mut self, depth: usize) -> String {
        let documents: Vec<Known> =
            self.rules.iter().filter(|rule| !matches!(rule.kind, Kind::Function(_))).cloned().collect();
        if documents.is_empty() {
            return self.input_ref();
        }
        let rule = self.dice.pick(&documents).clone();
        let name = self.name_of(&rule);
        match rule.kind {
            Kind::Complete if !self.chance(4) => name,
            Kind::Set if self.chance(2) => format!("{name}[{}]", self.term(depth.min(1))),
            _ => format!(
                "{name}{}{}",
                self.part(depth),
                if self.chance(4) { self.part(depth) } else { String::new() }
            ),
        }
    }

    pub(super) fn name_of(&mut self, rule: &Known) -> String {
        if rule.package == self.package && !self.chance(8) {
            return rule.name.clone();
        }
        if self.imports.iter().any(|name| name == rule.package) && !self.chance(3) {
            return format!("{}.{}", rule.package, rule.name);
        }
        format!("data.{}.{}", rule.package, rule.name)
    }

    fn input_ref(&mut self) -> String {
        format!("input.{}", self.dice.one(INPUT))
    }

    /// A reference.
    pub(super) fn reference(&mut self, depth: usize) -> String {
        let base = match self.dice.below(14) {
            0..5 => self.input_ref(),
            5..8 => format!("data.{}", self.dice.one(DATA)),
            8..11 => return self.rule_ref(depth),
            11 => {
                let imports = self.imports.clone();
                if imports.is_empty() { self.input_ref() } else { self.dice.pick(&imports).clone() }
            }
            12 if self.package == "q" => {
                let place = self
                    .dice
                    .one(&["data.t", "data.t.sub", "data.lib", "data.t[_]", "data.lib[_]"])
                    .to_owned();
                return format!("{place}{}", self.part(depth));
            }
            _ => match self.vars.is_empty() {
                true => self.input_ref(),
                false => self.var(),
            },
        };
        let parts = [6, 3, 2, 1][self.dice.below(4)];
        let first = if self.dice.roll(10) < parts { self.part(depth) } else { String::new() };
        let second = if !first.is_empty() && self.chance(4) { self.part(depth) } else { String::new() };
        format!("{base}{first}{second}")
    }

    /// Something to look through.
    pub(super) fn collection(&mut self, depth: usize) -> String {
        match self.dice.below(12) {
            0..6 => self.dice.one(COLLECTIONS).to_owned(),
            6 | 7 => self.rule_ref(depth),
            8 => self.list(depth),
            9 => self.set(depth),
            10 if depth > 0 => self.comprehension(depth - 1),
            _ => self.reference(depth),
        }
    }

    fn items(&mut self, depth: usize) -> String {
        let items: Vec<String> =
            (0..self.dice.below(4)).map(|_| self.term(depth.saturating_sub(1))).collect();
        items.join(", ")
    }

    fn list(&mut self, depth: usize) -> String {
        format!("[{}]", self.items(depth))
    }

    fn set(&mut self, depth: usize) -> String {
        let items = self.items(depth);
        if items.is_empty() { "set()".to_owned() } else { format!("{{{items}}}") }
    }

    fn object(&mut self, depth: usize) -> String {
        let keys: &[&str] = &["\"a\"", "\"b\"", "\"c\"", "1", "true", "[1]", "null"];
        let mut members = Vec::new();
        for _ in 0..self.dice.below(4) {
            let key = if self.chance(3) { self.term(0) } else { self.dice.one(keys).to_owned() };
            members.push(format!("{key}: {}", self.term(depth.saturating_sub(1))));
        }
        format!("{{{}}}", members.join(", "))
    }

    /// Any term.
    pub(super) fn term(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.dice.below(8) {
                0..3 => self.scalar(),
                3..6 => self.var(),
                _ => self.reference(0),
            };
        }
        match self.dice.below(24) {
            0..4 => self.scalar(),
            4..8 => self.var(),
            8..13 => self.reference(depth - 1),
            13 => self.list(depth),
            14 => self.object(depth),
            15 => self.set(depth),
            16 | 17 => self.comprehension(depth - 1),
            18 | 19 => self.call(depth - 1),
            20 => self.user_call(depth - 1),
            21 => self.arithmetic(depth - 1),
            22 if self.version == Version::V1 && self.chance(2) => self.template(depth - 1),
            22 => format!("({} {} {})", self.term(0), self.dice.one(&["==", "!=", "<", ">="]), self.term(0)),
            _ => format!("({} in {})", self.term(0), self.collection(depth - 1)),
        }
    }

    fn template(&mut self, depth: usize) -> String {
        format!("$\"t {{{}}} {{{}}}\"", self.term(depth.min(1)), self.reference(0))
    }

    fn arithmetic(&mut self, depth: usize) -> String {
        match self.dice.below(4) {
            0 => format!(
                "({} {} {})",
                self.collection(depth),
                self.dice.one(&["-", "&", "|"]),
                self.collection(depth)
            ),
            _ => {
                let operator = self.dice.one(&["+", "-", "*", "/", "%"]);
                format!("({} {operator} {})", self.argument('n', depth), self.argument('n', depth))
            }
        }
    }

    fn argument(&mut self, kind: char, depth: usize) -> String {
        if self.chance(3) {
            return self.reference(depth);
        }
        match kind {
            's' => self.string(),
            'n' => match self.dice.below(4) {
                0 => format!("count({})", self.collection(0)),
                1 => self.dice.one(documents::NUMBERS).to_owned(),
                2 => self.dice.one(&["0", "1", "2", "-1", "10"]).to_owned(),
                _ => self.var(),
            },
            'c' => self.collection(depth),
            'o' => self.object(depth),
            'r' => self.list(depth),
            'e' => format!("{{{}, {}}}", self.set(depth), self.set(depth)),
            'f' => {
                format!("\"{}\"", self.dice.one(&["%v", "%s|%v", "%d", "x", "%v %v", "%q", "%05d", "%.2f"]))
            }
            'g' => self.dice.one(&["[]", "[\"/\"]", "null", "[\".\"]"]).to_owned(),
            'p' => format!("\"{}\"", self.dice.one(&["^a", "[a-z]+", "b$", ".", "^GET|POST$", "("])),
            _ => self.term(depth),
        }
    }

    /// A call of a builtin.
    pub(super) fn call(&mut self, depth: usize) -> String {
        let (name, kinds) = *self.dice.pick(BUILTINS);
        let args: Vec<String> = kinds.chars().map(|kind| self.argument(kind, depth)).collect();
        format!("{name}({})", args.join(", "))
    }

    /// A call of a function of the policy.
    pub(super) fn user_call(&mut self, depth: usize) -> String {
        let functions: Vec<Known> =
            self.rules.iter().filter(|rule| matches!(rule.kind, Kind::Function(_))).cloned().collect();
        if functions.is_empty() {
            return self.call(depth);
        }
        let function = self.dice.pick(&functions).clone();
        let Kind::Function(arity) = function.kind else { return self.call(depth) };
        let name = self.name_of(&function);
        let arity = if self.chance(60) { arity + 1 } else { arity };
        let args: Vec<String> = (0..arity).map(|_| self.term(depth)).collect();
        format!("{name}({})", args.join(", "))
    }

    /// A comprehension.
    pub(super) fn comprehension(&mut self, depth: usize) -> String {
        let outer = self.vars.clone();
        let closed = std::mem::replace(&mut self.closed, false);
        let count = 1 + self.dice.below(2);
        let body = self.body(depth.min(1), count).join("; ");
        self.closed = true;
        let text = match self.dice.below(5) {
            0 | 1 => format!("[{} | {body}]", self.term(depth.min(1))),
            2 | 3 => format!("{{{} | {body}}}", self.term(depth.min(1))),
            _ => format!("{{{}: {} | {body}}}", self.term(0), self.term(depth.min(1))),
        };
        self.vars = outer;
        self.closed = closed;
        text
    }
}
