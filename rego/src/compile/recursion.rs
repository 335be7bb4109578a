//! A rule may not depend on itself.
use super::error::CompileError;
use crate::ast::Loc;
use crate::ir::{
    Change, Definition, GroupId, Mocked, Operand, Program, RefHead, Reference, Replacement, Stmt, StmtKind,
    Target,
};
use crate::reads::led_to;
use std::collections::BTreeSet;

/// How deep rules may depend on rules: the evaluator's stack is bounded by it.
const DEPTH_MAX: usize = 100;

pub(super) fn refuse(program: &Program) -> Result<(), CompileError> {
    let edges: Vec<BTreeSet<GroupId>> = program
        .groups
        .iter()
        .map(|group| {
            let mut found = Found { program, groups: BTreeSet::new() };
            group
                .definitions
                .iter()
                .chain(&group.default)
                .for_each(|definition| found.definition(definition));
            found.groups
        })
        .collect();
    let mut depths = vec![None; edges.len()];
    for group in 0..edges.len() {
        visit(program, &edges, group, &mut Vec::new(), &mut depths)?;
    }
    Ok(())
}

fn visit(
    program: &Program,
    edges: &[BTreeSet<GroupId>],
    group: GroupId,
    path: &mut Vec<GroupId>,
    depths: &mut [Option<usize>],
) -> Result<usize, CompileError> {
    if let Some(Some(depth)) = depths.get(group) {
        return Ok(*depth);
    }
    let loc =
        program.groups.get(group).and_then(|g| g.definitions.first()).map(|d| d.loc).unwrap_or_default();
    if path.contains(&group) {
        let mut what = String::from("rule is recursive: ");
        for id in path.iter().skip_while(|id| **id != group).chain([&group]) {
            let path = program.groups.get(*id).map(|g| g.path.as_slice()).unwrap_or_default();
            if !what.ends_with(' ') {
                what.push_str(" -> ");
            }
            what.push_str("data");
            for part in path {
                what.push('.');
                what.push_str(&part.as_str().map_or_else(|| part.to_string(), str::to_owned));
            }
        }
        return Err(CompileError { loc, code: "rego_recursion_error", what });
    }
    if path.len() > DEPTH_MAX {
        return Err(too_deep(loc));
    }
    path.push(group);
    let mut depth = 0_usize;
    for next in edges.get(group).into_iter().flatten() {
        depth = depth.max(visit(program, edges, *next, path, depths)?.saturating_add(1));
    }
    path.pop();
    if depth > DEPTH_MAX {
        return Err(too_deep(loc));
    }
    if let Some(slot) = depths.get_mut(group) {
        *slot = Some(depth);
    }
    Ok(depth)
}

fn too_deep(loc: Loc) -> CompileError {
    CompileError::new(
        loc,
        format!("rules depend on rules more than {DEPTH_MAX} deep; let fewer build on each other"),
    )
}

/// The groups that something refers to.
struct Found<'p> {
    program: &'p Program,
    groups: BTreeSet<GroupId>,
}

impl Found<'_> {
    fn definition(&mut self, definition: &Definition) {
        let operands = definition.tail.iter().chain(&definition.parameters).chain(&definition.key);
        operands.chain([&definition.value]).for_each(|operand| self.operand(operand));
        self.body(&definition.body);
        if let Some(otherwise) = &definition.otherwise {
            self.definition(otherwise);
        }
    }

    fn body(&mut self, body: &[Stmt]) {
        body.iter().for_each(|stmt| self.stmt(stmt));
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Holds(operand) => self.operand(operand),
            StmtKind::Unify(a, b) => {
                self.operand(a);
                self.operand(b);
            }
            StmtKind::Call { target, args, output } => {
                self.target(*target);
                args.iter().chain(output).for_each(|operand| self.operand(operand));
            }
            StmtKind::Not(inner) => self.stmt(inner),
            StmtKind::Every { domain, body, .. } => {
                self.operand(domain);
                self.body(body);
            }
            StmtKind::With { changes, inner } => {
                changes.iter().for_each(|change| self.change(change));
                self.stmt(inner);
            }
        }
    }

    /// A rule depends on what it replaces, too.
    fn change(&mut self, change: &Change) {
        if let Change::Mock(Mocked::Function(group), _) = change {
            self.groups.insert(*group);
        }
        match change {
            Change::Data(path, value) => {
                let path: Vec<Operand> = path.iter().cloned().map(Operand::Const).collect();
                self.below(&path);
                self.operand(value);
            }
            Change::Input(_, value) | Change::Mock(_, Replacement::Value(value)) => self.operand(value),
            Change::Mock(_, Replacement::Function(target)) => self.target(*target),
        }
    }

    fn below(&mut self, path: &[Operand]) {
        let mut found = Vec::new();
        led_to(&self.program.root, path, true, &mut found);
        self.groups.extend(found);
    }

    fn target(&mut self, target: Target) {
        if let Target::Function(group) = target {
            self.groups.insert(group);
        }
    }

    fn operand(&mut self, operand: &Operand) {
        match operand {
            Operand::Const(_) | Operand::Slot(_) => {}
            Operand::Array(items) | Operand::Set(items) => items.iter().for_each(|item| self.operand(item)),
            Operand::Object(members) => {
                for (key, value) in members {
                    self.operand(key);
                    self.operand(value);
                }
            }
            Operand::Ref(reference) => self.reference(reference),
            Operand::Comprehension(comprehension) => {
                comprehension
                    .key
                    .iter()
                    .chain([&comprehension.value])
                    .for_each(|operand| self.operand(operand));
                self.body(&comprehension.body);
            }
        }
    }

    fn reference(&mut self, reference: &Reference) {
        reference.path.iter().for_each(|part| self.operand(part));
        match reference.head {
            RefHead::Group(group, _) => {
                self.groups.insert(group);
            }
            RefHead::Data => self.below(&reference.path),
            RefHead::Input | RefHead::Base | RefHead::Slot(_) => {}
        }
    }
}
