//! How the types of builtins are written down.
use super::kind::{Known, Type};
use crate::Value;
use std::collections::BTreeMap;

/// Reads a signature; `None` if it is none.
pub(crate) fn read(text: &str) -> Option<Type> {
    let mut reader = Reader { rest: text };
    reader.take("(").then_some(())?;
    let args = reader.list(")")?;
    let result = if reader.take("->") { Some(reader.one_of()?) } else { None };
    reader.skip();
    reader.rest.is_empty().then(|| Type::function(args, result))
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, word: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn list(&mut self, end: &str) -> Option<Vec<Known>> {
        let mut types = Vec::new();
        while !self.take(end) {
            types.push(Some(self.one_of()?));
            self.take(",");
        }
        Some(types)
    }

    fn one_of(&mut self) -> Option<Type> {
        let first = self.one()?;
        let mut types = vec![first];
        while self.take("|") {
            types.push(self.one()?);
        }
        if types.len() == 1 { types.pop() } else { Some(Type::one_of(types)) }
    }

    fn one(&mut self) -> Option<Type> {
        const NAMED: [(&str, Type); 5] = [
            ("null", Type::Null),
            ("boolean", Type::Boolean),
            ("number", Type::Number),
            ("string", Type::String),
            ("any", Type::Any),
        ];
        if let Some((_, found)) = NAMED.into_iter().find(|(name, _)| self.take(name)) {
            return Some(found);
        }
        if self.take("set<") {
            let of = self.one_of()?;
            return self.take(">").then(|| Type::set(Some(of)));
        }
        if self.take("[") {
            return self.array();
        }
        if self.take("{") { self.object() } else { None }
    }

    fn array(&mut self) -> Option<Type> {
        let mut items = Vec::new();
        let mut rest = None;
        while !self.take("]") {
            if self.take("..") {
                rest = Some(self.one_of()?);
            } else {
                items.push(Some(self.one_of()?));
            }
            self.take(",");
        }
        Some(Type::array(items, rest))
    }

    fn object(&mut self) -> Option<Type> {
        let mut members = BTreeMap::new();
        let mut rest = None;
        while !self.take("}") {
            if self.take("..") {
                let key = self.one_of()?;
                self.take(":").then_some(())?;
                rest = Some((Some(key), Some(self.one_of()?)));
            } else {
                self.take("\"").then_some(())?;
                let (name, after) = self.rest.split_once('"')?;
                self.rest = after;
                self.take(":").then_some(())?;
                members.insert(Value::from(name), Some(self.one_of()?));
            }
            self.take(",");
        }
        Some(Type::object(members, rest))
    }
}
