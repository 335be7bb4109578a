//! Bodies: expressions that must all hold.
use super::terms::{Kind, Maker};

const COMPARISONS: &[&str] = &["==", "==", "==", "!=", "<", "<=", ">", ">="];

impl Maker {
    /// Expressions, one an item; variables that they declare are in scope afterwards.
    pub(super) fn body(&mut self, depth: usize, count: usize) -> Vec<String> {
        let mut body: Vec<String> = (0..count).map(|_| self.expression(depth)).collect();
        if self.chance(6) && body.len() > 1 {
            // Safety must put it right.
            for index in (1..body.len()).rev() {
                let other = self.dice.below(index + 1);
                body.swap(index, other);
            }
        }
        body
    }

    pub(super) fn expression(&mut self, depth: usize) -> String {
        match self.dice.below(30) {
            0..3 => self.truth(depth),
            3..6 => self.assignment(depth),
            6..9 => self.equation(depth),
            9..14 => self.comparison(depth),
            14..19 => self.iteration(depth),
            19 | 20 => self.every(depth),
            21 | 22 => self.membership(depth),
            23..26 => self.negation(depth),
            26 | 27 => self.modified(depth),
            28 => self.walk(depth),
            _ => self.some(depth),
        }
    }

    fn truth(&mut self, depth: usize) -> String {
        match self.dice.below(5) {
            0 | 1 => self.reference(depth),
            2 => self.call(depth),
            3 => self.user_call(depth),
            _ => self.term(depth),
        }
    }

    fn assignment(&mut self, depth: usize) -> String {
        let value = self.term(depth);
        if self.chance(6) {
            let (one, other) = (self.new_var(), self.new_var());
            let target = match self.dice.below(3) {
                0 => format!("[{one}, {other}]"),
                1 => format!("[{one}, [{other}, _]]"),
                _ => format!("{{\"a\": {one}, \"id\": {other}}}"),
            };
            return format!("{target} := {value}");
        }
        format!("{} := {value}", self.new_var())
    }

    /// A pattern with new variables.
    pub(super) fn pattern(&mut self) -> String {
        match self.dice.below(8) {
            0..3 => self.new_var(),
            3 => format!("[{}, {}]", self.new_var(), self.new_var()),
            4 => format!("[{}, _]", self.new_var()),
            5 => format!("{{\"id\": {}}}", self.new_var()),
            6 => format!("{{\"a\": {}, \"b\": {}}}", self.new_var(), self.scalar()),
            _ => format!("[{}, [{}]]", self.scalar(), self.new_var()),
        }
    }

    fn equation(&mut self, depth: usize) -> String {
        let left = match self.dice.below(4) {
            0 => self.pattern(),
            1 | 2 => self.reference(depth),
            _ => self.new_var(),
        };
        let right = self.term(depth);
        if self.chance(2) { format!("{left} = {right}") } else { format!("{right} = {left}") }
    }

    fn comparison(&mut self, depth: usize) -> String {
        let operator = self.dice.one(COMPARISONS).to_owned();
        let left = self.reference(depth);
        let right = match self.dice.below(4) {
            0 | 1 => self.scalar(),
            _ => self.term(depth),
        };
        if self.chance(4) {
            format!("{right} {operator} {left}")
        } else {
            format!("{left} {operator} {right}")
        }
    }

    fn iteration(&mut self, depth: usize) -> String {
        let domain = self.collection(depth);
        match self.dice.below(6) {
            0..3 => format!("some {} in {domain}", self.pattern()),
            3 | 4 => {
                let key = if self.chance(5) { self.scalar() } else { self.new_var() };
                format!("some {key}, {} in {domain}", self.pattern())
            }
            _ => {
                let key = self.new_var();
                let value = self.new_var();
                format!("{value} := {domain}[{key}]")
            }
        }
    }

    fn some(&mut self, depth: usize) -> String {
        let key = self.new_var();
        format!("some {key}; {}[{key}] == {}", self.collection(depth), self.term(depth))
    }

    fn every(&mut self, depth: usize) -> String {
        let domain = self.collection(depth);
        let outer = self.vars.clone();
        let closed = std::mem::replace(&mut self.closed, false);
        let value = self.new_var();
        let about = format!("{value}{} {} {}", self.below(), self.dice.one(COMPARISONS), self.term(1));
        let (names, about) = if self.chance(2) {
            (value, about)
        } else {
            let key = self.new_var();
            let other = format!("{key} {} {}", self.dice.one(COMPARISONS), self.term(0));
            (format!("{key}, {value}"), if self.chance(8) { about } else { format!("{about}; {other}") })
        };
        let count = self.dice.below(2);
        let mut body = self.body(depth.saturating_sub(1), count);
        body.push(about);
        let body = body.join("; ");
        self.closed = closed;
        self.vars = outer;
        format!("every {names} in {domain} {{ {body} }}")
    }

    fn below(&mut self) -> &'static str {
        self.dice.one(&["", "", "", ".a", ".id", ".name", ".tags", "[0]"])
    }

    fn membership(&mut self, depth: usize) -> String {
        match self.dice.below(3) {
            0 => format!("{}, {} in {}", self.term(0), self.term(0), self.collection(depth)),
            _ => format!("{} in {}", self.term(depth.min(1)), self.collection(depth)),
        }
    }

    fn negation(&mut self, depth: usize) -> String {
        let outer = self.vars.clone();
        let closed = std::mem::replace(&mut self.closed, true);
        let inner = match self.dice.below(10) {
            0..3 => self.comparison(depth),
            3 => self.membership(depth),
            4 => self.call(depth),
            5 => self.user_call(depth),
            6 => format!("{} = {}", self.reference(depth), self.term(depth)),
            7 => self.modified(depth),
            _ => self.reference(depth),
        };
        self.vars = outer;
        self.closed = closed;
        format!("not {inner}")
    }

    /// An expression under another input, other data or other functions.
    fn modified(&mut self, depth: usize) -> String {
        let inner = match self.dice.below(8) {
            0..3 => self.rule_ref(depth),
            3 | 4 => self.comparison(depth),
            5 => self.user_call(depth),
            6 if !self.closed => format!("{} := {}", self.new_var(), self.rule_ref(depth)),
            7 if !self.closed => self.every(depth),
            _ => self.call(depth),
        };
        let mut text = inner;
        let closed = std::mem::replace(&mut self.closed, true);
        for _ in 0..=self.dice.below(2) {
            let (target, value) = self.modifier(depth);
            text = format!("{text} with {target} as {value}");
        }
        self.closed = closed;
        text
    }

    fn modifier(&mut self, depth: usize) -> (String, String) {
        let rules = self.rules.clone();
        match self.dice.below(10) {
            0 => ("input".to_owned(), self.term(depth)),
            1..4 => {
                let paths = &["method", "path", "user", "user.name", "flag", "m.a", "n", "s", "items"];
                (format!("input.{}", self.dice.one(paths)), self.term(depth.min(1)))
            }
            4 | 5 => {
                let paths =
                    &["d", "d.users", "d.list", "d.m.a", "t.cfg", "t.cfg.a", "t.sub", "lib.k", "t.new"];
                (format!("data.{}", self.dice.one(paths)), self.term(depth.min(1)))
            }
            6 | 7 if !rules.is_empty() => {
                let rule = self.dice.pick(&rules).clone();
                let name = self.name_of(&rule);
                match rule.kind {
                    Kind::Function(arity) if self.chance(2) => (name, self.replacement(arity)),
                    _ => (name, self.term(depth.min(1))),
                }
            }
            8 => {
                let (name, arity) = *self.dice.pick(&[
                    ("count", 1),
                    ("startswith", 2),
                    ("lower", 1),
                    ("object.get", 3),
                    ("sum", 1),
                ]);
                (name.to_owned(), if self.chance(2) { self.scalar() } else { self.replacement(arity) })
            }
            _ => (format!("input.{}", self.dice.one(&["a", "method"])), self.scalar()),
        }
    }

    /// The name of a function of as many arguments.
    fn replacement(&mut self, arity: usize) -> String {
        let mut names: Vec<String> = Vec::new();
        for rule in self.rules.clone() {
            if rule.kind == Kind::Function(arity) {
                names.push(self.name_of(&rule));
            }
        }
        let builtins: &[&str] = match arity {
            1 => &["count", "upper", "is_string", "sort"],
            2 => &["endswith", "contains", "array.concat"],
            _ => &["replace", "object.get"],
        };
        names.extend(builtins.iter().map(|name| (*name).to_owned()));
        self.dice.pick(&names).clone()
    }

    fn walk(&mut self, depth: usize) -> String {
        let of = self.collection(depth);
        match self.dice.below(3) {
            0 => format!("walk({of}, [{}, {}])", self.new_var(), self.new_var()),
            1 => format!("[{}, {}] := walk({of})", self.new_var(), self.new_var()),
            _ => format!("walk({of}, [_, {}])", self.new_var()),
        }
    }
}
