//! The `graph` builtins, and `opa.runtime`.
use super::{Builtin, BuiltinError, Context, Outcome, arg, object};
use crate::{Object, Value};
use std::collections::BTreeSet;

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("graph.reachable", 2, reachable),
    Builtin::pure("graph.reachable_paths", 2, reachable_paths),
    Builtin { name: "opa.runtime", arity: 0, nondeterministic: true, call: runtime },
];

/// The longest path that is followed: the search goes as deep as its paths are long.
const MAX_PATH: usize = 1024;

fn runtime(context: &mut Context, _: &[Value]) -> Outcome {
    Ok(Some(context.runtime.clone()))
}

/// What an array or a set of vertices holds; of anything else nothing.
fn vertices(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Set(items) => items.iter().as_slice(),
        _ => &[],
    }
}

fn start(args: &[Value]) -> Result<&[Value], BuiltinError> {
    match arg(args, 1)? {
        start @ (Value::Array(_) | Value::Set(_)) => Ok(vertices(start)),
        other => {
            Err(BuiltinError::Type(format!("operand 2 must be {{array, set}} but got {}", other.type_name())))
        }
    }
}

fn reachable(context: &mut Context, args: &[Value]) -> Outcome {
    let graph = object(args, 0)?;
    let mut waiting: Vec<&Value> = start(args)?.iter().collect();
    context.charge_items(waiting.len())?;
    let mut reached = BTreeSet::new();
    while let Some(vertex) = waiting.pop() {
        context.charge(1)?;
        // A vertex without an entry is none of the graph.
        let Some(edges) = graph.get(vertex) else { continue };
        if reached.insert(vertex) {
            context.charge_items(vertices(edges).len())?;
            waiting.extend(vertices(edges));
        }
    }
    Ok(Some(Value::set(reached.into_iter().cloned())))
}

fn reachable_paths(context: &mut Context, args: &[Value]) -> Outcome {
    let graph = object(args, 0)?;
    let mut search = Search { context, graph, found: BTreeSet::new(), path: Vec::new() };
    for root in start(args)? {
        let Some(edges) = graph.get(root) else { continue };
        search.path.push(root);
        if vertices(edges).is_empty() {
            search.commit()?;
        }
        // OPA does not look here whether an edge leads back to the root itself: the path then begins with it twice.
        for next in vertices(edges) {
            search.follow(next)?;
        }
        search.path.pop();
    }
    Ok(Some(Value::set(search.found)))
}

struct Search<'a> {
    context: &'a mut Context,
    graph: &'a Object,
    found: BTreeSet<Value>,
    path: Vec<&'a Value>,
}

impl<'a> Search<'a> {
    /// Follows every way on from a vertex. A path ends where there is no way on: at a vertex without edges, before one
    /// that is none of the graph, before one that it has met.
    fn follow(&mut self, vertex: &'a Value) -> Result<(), BuiltinError> {
        self.context.charge(1)?;
        let Some(edges) = self.graph.get(vertex) else { return self.commit() };
        if self.path.len() >= MAX_PATH {
            return Err(BuiltinError::Budget(format!("a path of the graph is longer than {MAX_PATH}")));
        }
        self.path.push(vertex);
        if vertices(edges).is_empty() {
            self.commit()?;
        }
        for next in vertices(edges) {
            self.context.charge_items(self.path.len())?;
            if self.path.contains(&next) {
                self.commit()?;
            } else {
                self.follow(next)?;
            }
        }
        self.path.pop();
        Ok(())
    }

    fn commit(&mut self) -> Result<(), BuiltinError> {
        self.context.charge_items(self.path.len())?;
        self.found.insert(Value::array(self.path.iter().map(|vertex| (*vertex).clone())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Want, check, context};

    #[test]
    fn what_can_be_reached_is_found() {
        check(&[
            ("graph.reachable", r#"[{}, {"$set": ["a"]}]"#, Want::Value(r#"{"$set": []}"#)),
            (
                "graph.reachable",
                r#"[{"a": {"$set": ["b"]}, "b": ["c"], "c": {"$set": ["a"]}}, ["a"]]"#,
                Want::Value(r#"{"$set": ["a", "b", "c"]}"#),
            ),
            (
                "graph.reachable",
                r#"[{"a": ["b", "z"], "b": [], "e": ["f"], "f": ["e"]}, {"$set": ["b", "e"]}]"#,
                Want::Value(r#"{"$set": ["b", "e", "f"]}"#),
            ),
            (
                "graph.reachable",
                r#"[{"a": null, "b": "a", "c": {"x": "a"}}, ["a", "b", "c", "d"]]"#,
                Want::Value(r#"{"$set": ["a", "b", "c"]}"#),
            ),
            ("graph.reachable", r#"[1, [1]]"#, Want::TypeError),
            ("graph.reachable", r#"[{"a": []}, "a"]"#, Want::TypeError),
        ]);
    }

    #[test]
    fn paths_end_where_there_is_no_way_on() {
        check(&[
            ("graph.reachable_paths", r#"[{}, ["a"]]"#, Want::Value(r#"{"$set": []}"#)),
            (
                "graph.reachable_paths",
                r#"[{"a": ["b"], "b": ["c"], "c": ["a"]}, ["a"]]"#,
                Want::Value(r#"{"$set": [["a", "b", "c"]]}"#),
            ),
            (
                "graph.reachable_paths",
                r#"[{"a": ["b", "c"], "b": ["c"], "c": []}, {"$set": ["a"]}]"#,
                Want::Value(r#"{"$set": [["a", "b", "c"], ["a", "c"]]}"#),
            ),
            (
                "graph.reachable_paths",
                r#"[{"a": ["b"], "b": ["nonexistent"]}, {"$set": ["a", "b"]}]"#,
                Want::Value(r#"{"$set": [["a", "b"], ["b"]]}"#),
            ),
            ("graph.reachable_paths", r#"[{"a": null}, ["a"]]"#, Want::Value(r#"{"$set": [["a"]]}"#)),
            ("graph.reachable_paths", r#"[{"x": ["x"]}, ["x"]]"#, Want::Value(r#"{"$set": [["x", "x"]]}"#)),
            (
                "graph.reachable_paths",
                r#"[{"x": ["x", "y"], "y": ["y", "x"]}, ["x"]]"#,
                Want::Value(r#"{"$set": [["x", "x"], ["x", "x", "y"], ["x", "y"]]}"#),
            ),
            ("graph.reachable_paths", r#"[1, [1]]"#, Want::TypeError),
            ("graph.reachable_paths", r#"[{"a": []}, "a"]"#, Want::TypeError),
        ]);
    }

    #[test]
    fn a_graph_with_too_many_paths_ends_the_decision() {
        let all: Vec<String> = (0..40).map(|vertex| vertex.to_string()).collect();
        let graph: Vec<String> =
            all.iter().map(|vertex| format!("\"{vertex}\": [\"{}\"]", all.join("\", \""))).collect();
        let args = format!("[{{{}}}, [\"0\"]]", graph.join(", "));
        check(&[("graph.reachable_paths", args.leak(), Want::Budget)]);
    }

    #[test]
    fn the_runtime_is_what_the_context_says() {
        let mut context = context();
        context.runtime = crate::Value::from("here");
        assert_eq!(super::runtime(&mut context, &[]), Ok(Some(crate::Value::from("here"))));
    }
}
