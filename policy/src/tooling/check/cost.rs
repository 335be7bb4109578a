//! What takes longer the more data there is: collections gone through for each item of another, arrays that are searched.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of terms and values are of concern; one that is added is not until it is"
)]
use super::codes::{ARRAY_LOOKUP, NESTED};
use super::scope::{At, Frame, Part, Path, Root, function, variables};
use super::walk::Visit;
use super::{Found, Gather};
use postern_rego::Value;
use postern_rego::ast::{Body, Call, Expr, ExprKind, Loc, Str, Term, TermKind};
use std::collections::BTreeSet;

/// An array of the data this long is searched quickly enough.
const ARRAY_MAX: usize = 16;

/// Closures in bodies that are longer are not held against what is around them, which would take too long.
const AROUND_MAX: usize = 500;

pub(super) struct Cost<'g> {
    pub(super) found: &'g mut Gather,
    /// The bundle's data.
    pub(super) data: &'g Value,
}

/// A collection that is gone through.
struct Iteration<'m> {
    loc: Loc,
    /// What it is called.
    name: String,
    /// The variables that decide which collection it is.
    needs: BTreeSet<Str>,
    /// The variables that take its items and keys.
    gives: BTreeSet<Str>,
    items: Option<&'m Term>,
    /// How long it is, where it is an array of the data.
    array: Option<usize>,
    root: Root,
}

/// A collection, as far as it can be told.
struct Collection {
    name: String,
    needs: BTreeSet<Str>,
    array: Option<usize>,
    root: Root,
}

impl<'m> Visit<'m> for Cost<'_> {
    fn body(&mut self, at: &At<'_, 'm>, body: &'m Body) {
        let all = self.of_body(at, body);
        let around = self.around(at, body);
        let mut before: BTreeSet<&Str> = around.iter().flat_map(|outer| &outer.gives).collect();
        for (index, one) in all.iter().enumerate() {
            let outer = around.iter().chain(all.iter().take(index)).find(|outer| outer.multiplies(one));
            // What is found by a variable of the outer one is a lookup.
            let independent = one.needs.iter().all(|name| !before.contains(name));
            if let (Some(outer), true) = (outer, independent) {
                let what = format!("`{}` is gone through for each item of `{}`", one.name, outer.name);
                self.found.push(&NESTED, one.loc, Found::plain(what, &NESTED));
            }
            before.extend(&one.gives);
        }
        for one in &all {
            if let Some(length) = one.array.filter(|length| *length > ARRAY_MAX)
                && is_compared(at, body, one)
            {
                let what = format!("`{}`, an array of {length}, is searched for one item", one.name);
                self.found.push(&ARRAY_LOOKUP, one.loc, Found::plain(what, &ARRAY_LOOKUP));
            }
        }
    }

    fn call(&mut self, at: &At<'_, 'm>, call: &'m Call) {
        let ("internal.member_2", [_, domain]) = (function(call).as_str(), call.args.as_slice()) else {
            return;
        };
        if let Some(Collection { name, array: Some(length), .. }) = self.collection(at, domain)
            && length > ARRAY_MAX
        {
            let what = format!("`{name}`, an array of {length}, is searched for one item");
            self.found.push(&ARRAY_LOOKUP, domain.loc, Found::plain(what, &ARRAY_LOOKUP));
        }
    }
}

impl Iteration<'_> {
    /// Whether both together take as long as the one times the other.
    fn multiplies(&self, other: &Self) -> bool {
        let rooted = |one: &Self| matches!(one.root, Root::Input | Root::Data);
        let again = self.name == other.name && self.needs == other.needs && self.root == Root::Input;
        rooted(self) && rooted(other) && !again
    }
}

impl Cost<'_> {
    fn of_body<'m>(&self, at: &At<'_, 'm>, body: &'m [Expr]) -> Vec<Iteration<'m>> {
        let (mut all, mut bound) = (Vec::new(), BTreeSet::new());
        for expr in body.iter().filter(|expr| !expr.negated) {
            self.iterations(at, expr, &mut bound, &mut all);
        }
        all
    }

    /// What is gone through around a closure that depends on its items: each of them asks the closure again.
    fn around<'m>(&self, at: &At<'_, 'm>, body: &'m Body) -> Vec<Iteration<'m>> {
        let (own, mut found) = (Frame::of_body(body), Vec::new());
        if at.frames.iter().any(|frame| frame.body.len() > AROUND_MAX) {
            return found;
        }
        for (depth, frame) in at.frames.iter().enumerate().take(at.frames.len().saturating_sub(1)) {
            let mut outer = at.clone();
            outer.frames.truncate(depth.saturating_add(1));
            found.extend(self.of_body(&outer, frame.body));
            if let Some((domain, gives)) = &frame.every
                && let Some(Collection { name, needs, array, root }) = self.collection(&outer, domain)
            {
                let gives = gives.clone();
                found.push(Iteration { loc: domain.loc, name, needs, gives, items: None, array, root });
            }
        }
        found.retain(|outer| outer.gives.iter().any(|name| name.as_ref() != "_" && own.mentions(name)));
        found
    }

    fn iterations<'m>(
        &self,
        at: &At<'_, 'm>,
        expr: &'m Expr,
        bound: &mut BTreeSet<Str>,
        all: &mut Vec<Iteration<'m>>,
    ) {
        match &expr.kind {
            ExprKind::SomeIn { key, value, domain } => {
                self.inside(at, domain, bound, all);
                if let Some(Collection { name, needs, array, root }) = self.collection(at, domain) {
                    let mut gives = BTreeSet::new();
                    key.iter().chain([value]).for_each(|term| variables(term, &mut gives));
                    bound.extend(gives.iter().filter(|name| name.as_ref() != "_").cloned());
                    all.push(Iteration {
                        loc: domain.loc,
                        name,
                        needs,
                        gives,
                        items: Some(value),
                        array,
                        root,
                    });
                }
            }
            ExprKind::Call(call) => {
                let assigned =
                    if matches!(function(call).as_str(), "assign" | "eq") { call.args.first() } else { None };
                let before = all.len();
                call.args.iter().for_each(|arg| self.inside(at, arg, bound, all));
                if let (Some(assigned), Some(one)) =
                    (assigned, all.get_mut(before..).and_then(<[_]>::last_mut))
                {
                    variables(assigned, &mut one.gives);
                    one.items = Some(assigned);
                }
                if let Some(assigned) = assigned {
                    variables(assigned, bound);
                    // `=` gives a value to whichever side has none.
                    let names = call.args.iter().filter(|arg| matches!(arg.kind, TermKind::Var(_)));
                    names.for_each(|name| variables(name, bound));
                }
            }
            ExprKind::Term(term) => self.inside(at, term, bound, all),
            ExprKind::Every { .. } | ExprKind::Some(_) => {}
        }
    }

    /// References with variables that nothing has given a value yet, such as `data.a[_]` and `data.a[i]`.
    fn inside<'m>(
        &self,
        at: &At<'_, 'm>,
        term: &'m Term,
        bound: &mut BTreeSet<Str>,
        all: &mut Vec<Iteration<'m>>,
    ) {
        let parts = match &term.kind {
            TermKind::Ref(parts) => parts,
            TermKind::Array(items) | TermKind::Set(items) => {
                return items.iter().for_each(|item| self.inside(at, item, bound, all));
            }
            TermKind::Call(call) => return call.args.iter().for_each(|arg| self.inside(at, arg, bound, all)),
            _ => return,
        };
        let Some(path) = at.path(term) else { return };
        // What a name stands for was gone through where it got its value.
        let named = path.parts.len().saturating_sub(parts.len().saturating_sub(1));
        let open = path.parts.iter().skip(named).position(|part| match part {
            Part::Open(Term { kind: TermKind::Var(name), .. }) => {
                at.global(name).is_none() && !at.is_given(name) && !bound.contains(name)
            }
            Part::Open(_) | Part::Known(..) => false,
        });
        let Some(open) = open.map(|open| open.saturating_add(named)) else { return };
        let mut head = path.clone();
        head.parts.truncate(open);
        let Collection { name, needs, array, root } = self.of_path(&head);
        let mut gives = BTreeSet::new();
        parts.iter().skip(1).for_each(|part| variables(part, &mut gives));
        bound.extend(gives.iter().filter(|name| name.as_ref() != "_").cloned());
        all.push(Iteration { loc: term.loc, name, needs, gives, items: None, array, root });
    }

    /// A collection that a reference leads to.
    fn collection<'m>(&self, at: &At<'_, 'm>, domain: &'m Term) -> Option<Collection> {
        Some(self.of_path(&at.path(domain)?))
    }

    fn of_path(&self, path: &Path<'_>) -> Collection {
        let (mut name, mut needs) = match &path.root {
            Root::Input => ("input".to_owned(), BTreeSet::new()),
            Root::Data => ("data".to_owned(), BTreeSet::new()),
            Root::Local(name) => (name.to_string(), BTreeSet::from([name.clone()])),
        };
        for part in &path.parts {
            match part {
                Part::Known(Value::String(part), _) => name.push_str(&format!(".{part}")),
                Part::Known(value, _) => name.push_str(&format!("[{value}]")),
                Part::Open(term) => {
                    variables(term, &mut needs);
                    name.push_str("[…]");
                }
            }
        }
        let known = path.known();
        let whole = path.root == Root::Data && known.len() == path.parts.len();
        let found = known.iter().try_fold(self.data, |at, key| at.get(key)).filter(|_| whole);
        let array = found.and_then(Value::as_array).map(<[Value]>::len);
        Collection { name, needs, array, root: path.root.clone() }
    }
}

/// Whether an item of the collection, or a member of it, is held against something else by `==`.
fn is_compared<'m>(at: &At<'_, 'm>, body: &'m Body, one: &Iteration<'m>) -> bool {
    let Some(TermKind::Var(item)) = one.items.map(|item| &item.kind) else { return false };
    let of_item = |term: &Term| match &term.kind {
        TermKind::Var(name) => name == item,
        TermKind::Ref(parts) => {
            let first =
                parts.first().is_some_and(|first| matches!(&first.kind, TermKind::Var(name) if name == item));
            first && parts.iter().skip(1).all(|part| part.constant().is_some())
        }
        _ => false,
    };
    let mentions = |term: &Term| {
        let mut names = BTreeSet::new();
        variables(term, &mut names);
        names.contains(item)
    };
    body.iter().any(|expr| {
        let ExprKind::Call(call) = &expr.kind else { return false };
        let ([left, right], "eq" | "equal") = (call.args.as_slice(), function(call).as_str()) else {
            return false;
        };
        let other = |term: &'m Term| !mentions(term) && at.constant(term).is_none();
        !expr.negated && ((of_item(left) && other(right)) || (of_item(right) && other(left)))
    })
}
