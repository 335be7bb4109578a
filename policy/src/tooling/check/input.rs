//! Reads of the input: what is not there, and what is there only elsewhere.
use super::codes::{HEADER_CASE, NOT_SEEN, UNKNOWN_INPUT};
use super::scope::{At, Part, Path, Root, function};
use super::shape::{self, Missing};
use super::walk::Visit;
use super::{Found, Gather};
use postern_rego::Value;
use postern_rego::ast::{Call, Expr, ExprKind, Loc, Term, TermKind};

pub(super) struct Reads<'g> {
    pub(super) found: &'g mut Gather,
}

impl<'m> Visit<'m> for Reads<'_> {
    fn term(&mut self, at: &At<'_, 'm>, term: &'m Term) {
        if !at.input_replaced && matches!(term.kind, TermKind::Ref(_)) {
            self.reference(at, term, &[]);
        }
    }

    fn call(&mut self, at: &At<'_, 'm>, call: &'m Call) {
        // `object.get(input, ["a", "b"], …)` reads like `input.a.b`.
        if at.input_replaced || function(call) != "object.get" {
            return;
        }
        let [object, key, _] = call.args.as_slice() else { return };
        let more = match at.constant(key) {
            Some(Value::Array(items)) => items.to_vec(),
            Some(value) => vec![value],
            None => return,
        };
        let parts: Vec<Part<'m>> = more.into_iter().map(|value| Part::Known(value, key.loc)).collect();
        self.reference(at, object, &parts);
    }

    fn expr(&mut self, at: &At<'_, 'm>, expr: &'m Expr) {
        // A name alone, such as an import of the field.
        if let (ExprKind::Term(term), false) = (&expr.kind, at.input_replaced)
            && matches!(term.kind, TermKind::Var(_))
        {
            self.reference(at, term, &[]);
        }
    }
}

impl Reads<'_> {
    fn reference<'m>(&mut self, at: &At<'_, 'm>, term: &'m Term, more: &[Part<'m>]) {
        let Some(mut path) = at.path(term).filter(|path| path.root == Root::Input) else { return };
        path.parts.extend_from_slice(more);
        self.path(&path, term.loc);
    }

    fn path(&mut self, path: &Path<'_>, whole: Loc) {
        let values = path.values();
        let place = |at: usize| match path.parts.get(at) {
            Some(Part::Known(_, loc)) => *loc,
            Some(Part::Open(term)) => term.loc,
            None => whole,
        };
        if let Err(Missing { at, mend }) = shape::input().at(&values) {
            if let Some((parts, instead)) = shape::not_seen(&values) {
                let what = format!("`{}` is never filled here", shown(&values, parts));
                return self.found.push(&NOT_SEEN, place(parts.saturating_sub(1)), Found::new(what, instead));
            }
            let what = format!("`{}` is never there", shown(&values, at.saturating_add(1)));
            return self.found.push(&UNKNOWN_INPUT, place(at), Found::new(what, mend));
        }
        let headers = ["attributes", "request", "http", "headers"].map(|name| Some(Value::from(name)));
        if let (true, Some(Some(Value::String(name)))) =
            (values.starts_with(&headers), values.get(headers.len()))
            && name.chars().any(char::is_uppercase)
        {
            let what = format!("the header `{name}` is never there: names are in lower case");
            let mend = format!("write `{}`", name.to_lowercase());
            self.found.push(&HEADER_CASE, place(headers.len()), Found::new(what, mend));
        }
    }
}

/// The first parts of a path of the input, as it is written.
pub(super) fn shown(path: &[Option<Value>], parts: usize) -> String {
    let mut text = "input".to_owned();
    for part in path.iter().take(parts) {
        match part {
            Some(Value::String(name))
                if name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_') =>
            {
                text.push_str(&format!(".{name}"));
            }
            Some(value) => text.push_str(&format!("[{value}]")),
            None => text.push_str("[_]"),
        }
    }
    text
}
