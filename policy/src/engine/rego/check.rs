//! What is refused at load: everything whose meaning here would not be OPA's, or that a decision must not do.
use super::ast::{Chain, Node, variable, walk_module, walk_rule};
use super::builtins;
use super::scope::{Scope, head_of, is_function, leading_fields};
use crate::document::Document;
use crate::{LoadError, PolicyBundle};
use regorus::unstable::{Expr, Module, Ref, Rule, RuleHead};
use std::collections::{BTreeMap, BTreeSet};

/// The functions of the whole policy set by their full path, with the functions they call and their place.
#[derive(Debug, Default)]
pub(super) struct Functions {
    calls: BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
    places: BTreeMap<Vec<String>, String>,
}

impl Functions {
    /// Notes a module's functions.
    pub(super) fn add(&mut self, place: &str, module: &Module, scope: &Scope) {
        for rule in module.policy.iter().filter(|rule| is_function(rule)) {
            let mut path = scope.package.clone();
            path.extend(leading_fields(&Chain::of(head_of(rule))));
            self.places.entry(path.clone()).or_insert_with(|| format!("{place}:{}", rule.span().line));
            let calls = self.calls.entry(path).or_default();
            walk_rule(rule, &mut |node| {
                if let Node::Call { function, .. } = node {
                    calls.insert(scope.resolve(&leading_fields(&function)));
                }
            });
        }
    }

    /// Recursion would end in the engine's stack, which no timer guards.
    pub(super) fn refuse_recursion(&self) -> Result<(), LoadError> {
        let mut done: BTreeSet<&Vec<String>> = BTreeSet::new();
        for start in self.calls.keys() {
            let mut open = vec![(start, false)];
            let mut path: Vec<&Vec<String>> = Vec::new();
            while let Some((function, leaving)) = open.pop() {
                if leaving {
                    path.pop();
                    done.insert(function);
                    continue;
                }
                if path.contains(&function) {
                    return Err(LoadError::Refused {
                        place: self.places.get(function).cloned().unwrap_or_default(),
                        what: format!("function `{}` calls itself", function.join(".")),
                        mend: "Rego has no recursion: use a comprehension, `walk`, or `graph.reachable`",
                    });
                }
                let Some(called) = self.calls.get(function).filter(|_| !done.contains(function)) else {
                    continue;
                };
                path.push(function);
                open.push((function, true));
                open.extend(called.iter().filter(|c| self.calls.contains_key(*c)).map(|c| (c, false)));
            }
        }
        Ok(())
    }
}

/// The most rules and functions that lead to each other: the engine's stack grows with each.
const DEPENDENCIES_MAX: usize = 48;

/// Which rule refers to which, by full paths.
#[derive(Debug, Default)]
pub(super) struct Dependencies(BTreeMap<Vec<String>, BTreeSet<Vec<String>>>);

impl Dependencies {
    /// Notes what a module's rules refer to.
    pub(super) fn add(&mut self, module: &Module, scope: &Scope) {
        for rule in &module.policy {
            let mut path = scope.package.clone();
            path.extend(leading_fields(&Chain::of(head_of(rule))));
            let uses = self.0.entry(path).or_default();
            walk_rule(rule, &mut |node| match node {
                Node::Chain(chain) | Node::Call { function: chain, .. } => {
                    uses.insert(scope.resolve(&leading_fields(&chain)));
                }
                Node::Statement(_) => {}
            });
        }
    }

    /// Refuses rules that lead to each other through too many others.
    pub(super) fn refuse_depth(&self) -> Result<(), LoadError> {
        let mut depths: BTreeMap<&Vec<String>, usize> = BTreeMap::new();
        for start in self.0.keys() {
            let mut open = vec![(start, false)];
            while let Some((rule, leaving)) = open.pop() {
                let below: Vec<_> = self.below(rule).collect();
                if leaving {
                    let deepest =
                        below.iter().filter_map(|used| depths.get(used)).max().copied().unwrap_or(0);
                    depths.insert(rule, deepest.saturating_add(1));
                } else if !depths.contains_key(rule) {
                    // Noted before its parts are known, so that a circle ends here; the engine reports circles.
                    depths.insert(rule, 0);
                    open.push((rule, true));
                    open.extend(below.into_iter().map(|used| (used, false)));
                }
            }
        }
        match depths.iter().find(|(_, depth)| **depth > DEPENDENCIES_MAX) {
            Some((rule, _)) => Err(LoadError::Refused {
                place: rule.join("."),
                what: format!("it leads through more than {DEPENDENCIES_MAX} rules"),
                mend: "let fewer rules build on each other",
            }),
            None => Ok(()),
        }
    }

    /// The rules that a rule's references can mean: the one named, those below it, and the one that it selects from.
    fn below<'s>(&'s self, rule: &'s Vec<String>) -> impl Iterator<Item = &'s Vec<String>> {
        self.0.get(rule).into_iter().flatten().flat_map(move |used| {
            let within =
                self.0.range(used.clone()..).map(|(path, _)| path).take_while(|path| path.starts_with(used));
            let above = (1..used.len()).filter_map(|length| {
                let prefix = used.get(..length)?.to_vec();
                self.0.get_key_value(&prefix).map(|(path, _)| path)
            });
            within.chain(above).filter(move |path| *path != rule)
        })
    }
}

/// Keywords that OPA still tries out; `not` among them changes what negation means.
const EXPERIMENTAL: [&str; 3] = ["and", "not", "or"];

/// Names that mean the same in every policy.
const RESERVED: [&str; 2] = ["input", "data"];

/// Refuses imports of experimental keywords.
pub(super) fn refuse_imports(place: &str, module: &Module) -> Result<(), LoadError> {
    for import in &module.imports {
        let path = leading_fields(&Chain::of(&import.refr));
        let alias =
            import.r#as.as_ref().map(|alias| alias.text().to_owned()).or_else(|| path.last().cloned());
        // `import input` says nothing new; any other import of these names would make them mean something else.
        if let Some(alias) =
            alias.filter(|alias| RESERVED.contains(&alias.as_str()) && path != [alias.as_str()])
        {
            return Err(LoadError::Refused {
                place: format!("{place}:{}", import.span.line),
                what: format!("an import shadows `{alias}`"),
                mend: "import it under another name",
            });
        }
        let [future, keywords, name] = path.as_slice() else { continue };
        if future == "future" && keywords == "keywords" && EXPERIMENTAL.contains(&name.as_str()) {
            return Err(LoadError::Refused {
                place: format!("{place}:{}", import.span.line),
                what: format!("the experimental keyword `{name}` is imported"),
                mend: "write the rule without it",
            });
        }
    }
    Ok(())
}

/// Refuses rules and parameters that are called `input` or `data`, as OPA does: whoever reads them would take
/// them for what they are everywhere else.
pub(super) fn refuse_names(place: &str, module: &Module) -> Result<(), LoadError> {
    for rule in &module.policy {
        let head = head_of(rule);
        let parameters = match rule.as_ref() {
            Rule::Spec { head: RuleHead::Func { args, .. }, .. } | Rule::Default { args, .. } => {
                args.as_slice()
            }
            Rule::Spec { head: RuleHead::Compr { .. } | RuleHead::Set { .. }, .. } => &[],
        };
        let parameters = parameters.iter().filter_map(|parameter| variable(parameter));
        let name = leading_fields(&Chain::of(head)).into_iter().next();
        let mut names = name.into_iter().chain(parameters.map(str::to_owned));
        if let Some(name) = names.find(|name| RESERVED.contains(&name.as_str())) {
            return Err(LoadError::Refused {
                place: format!("{place}:{}", head.span().line),
                what: format!("a rule or a parameter shadows `{name}`"),
                mend: "give it another name",
            });
        }
    }
    Ok(())
}

/// Checks every call of a module.
pub(super) fn refuse_calls(
    place: &str,
    module: &Module,
    scope: &Scope,
    functions: &Functions,
) -> Result<(), LoadError> {
    let mut outcome = Ok(());
    walk_module(module, &mut |node| {
        if let Node::Call { function, params, span } = node
            && outcome.is_ok()
        {
            let path = scope.resolve(&leading_fields(&function));
            if !functions.calls.contains_key(&path) {
                outcome = refuse_builtin(&path.join("."), params).map_err(|(what, mend)| {
                    LoadError::Refused { place: format!("{place}:{}", span.line), what, mend }
                });
            }
        }
    });
    outcome
}

fn refuse_builtin(name: &str, params: &[Ref<Expr>]) -> Result<(), (String, &'static str)> {
    if let Some((_, mend)) = builtins::REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err((format!("builtin `{name}` is refused"), mend));
    }
    if !builtins::is_known(name) {
        return Err((format!("function `{name}` is not known"), "define it, or correct its name"));
    }
    if name == "walk" && params.len() < 2 {
        let what = "`walk` with one argument gives nothing in this engine".to_owned();
        return Err((what, "write `walk(value, [path, found])`"));
    }
    match builtins::own_arity(name) {
        Some(arity) if arity != params.len() => {
            let what = format!("`{name}` takes {arity} arguments and gets {}", params.len());
            Err((what, "assign its result with `:=`"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The engine would let a rule and a data document share a path, and OPA refuses it.
pub(super) fn refuse_rules_over_data(
    bundles: &[(&str, &PolicyBundle)],
    rules: &BTreeSet<Vec<String>>,
) -> Result<(), LoadError> {
    for (bundle, data) in bundles.iter().map(|(name, bundle)| (*name, &bundle.data)) {
        for rule in rules {
            let mut at = Some(data);
            let mut collides = false;
            for part in rule.iter().skip(1) {
                let members = at.and_then(Document::as_object);
                collides = at.is_some() && members.is_none();
                at = members.and_then(|members| members.get(part));
                if at.is_none() {
                    break;
                }
            }
            if collides || at.is_some() {
                return Err(LoadError::RuleOverData { path: rule.join("."), bundle: bundle.to_owned() });
            }
        }
    }
    Ok(())
}

/// The full paths of all rules, with whether each is a function.
pub(super) fn rule_paths(module: &Module, scope: &Scope) -> Vec<(Vec<String>, bool)> {
    let path = |rule: &_| {
        let mut path = scope.package.clone();
        path.extend(leading_fields(&Chain::of(head_of(rule))));
        path
    };
    module.policy.iter().map(|rule| (path(rule), is_function(rule))).collect()
}
