//! Which definitions of a rule can hold, by the conditions that compare a field of the input, or of an argument, with
//! constants. A definition that is left out has a condition that does not hold: leaving it out changes no answer, and
//! ten thousand definitions cost what the few that can hold cost.
use crate::Value;
use crate::compile::Admission;
use crate::ir::{Definition, Operand, RefHead, Stmt, StmtKind, Target};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Fewer definitions than this are tried one by one.
const DEFINITIONS_MIN: usize = 4;

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Field {
    /// `None` is the input, else the number of an argument.
    argument: Option<usize>,
    path: Vec<Value>,
}

/// The index of a group's definitions.
#[derive(Debug, Default)]
pub(crate) enum Index {
    /// Too few definitions, or none of them has a condition that tells it from the others.
    #[default]
    All,
    /// With the definitions that are tried in spite of a condition that does not hold, as OPA tries them.
    By(Split, Vec<(usize, Admission)>),
}

/// Definitions told apart by fields: each by the first of those that it has a condition on.
#[derive(Debug)]
pub(crate) struct Split {
    fields: Vec<(Field, HashMap<Value, Part>)>,
    /// Definitions without a condition on any of the fields.
    rest: Vec<usize>,
}

/// Some of the definitions, told apart further.
#[derive(Debug, Default)]
struct Part {
    definitions: Vec<usize>,
    split: Option<Box<Split>>,
}

/// The definitions that can hold, in their order.
#[derive(Debug)]
pub(crate) enum Candidates {
    All,
    Some(Vec<usize>),
}

/// A definition's conditions: for each field the constants that it may be.
type Conditions = BTreeMap<Field, Vec<Value>>;

impl Index {
    pub(crate) fn of(definitions: &[Definition]) -> Self {
        if definitions.len() < DEFINITIONS_MIN {
            return Self::All;
        }
        let conditions: Vec<Conditions> = definitions.iter().map(conditions).collect();
        let all: Vec<usize> = (0..definitions.len()).collect();
        match Splitter::new(&conditions).split(&all, &mut Vec::new()) {
            Some(split) => Self::By(split, tried_in_spite(definitions, &conditions)),
            None => Self::All,
        }
    }

    pub(crate) fn candidates(&self, input: Option<&Value>, args: &[Value]) -> Candidates {
        match self {
            Self::All => Candidates::All,
            Self::By(split, others) => {
                let mut found = Vec::new();
                split.collect(input, args, &mut found);
                let admitted = others.iter().filter(|(_, admission)| admission.admits(input, args));
                found.extend(admitted.map(|(definition, _)| *definition));
                found.sort_unstable();
                found.dedup();
                Candidates::Some(found)
            }
        }
    }
}

impl Index {
    /// How many of so many definitions are candidates whatever is asked.
    pub(crate) fn always_tried(&self, definitions: usize) -> usize {
        match self {
            Self::All => definitions,
            Self::By(split, _) => split.always_tried(),
        }
    }
}

impl Candidates {
    pub(crate) fn of(self, definitions: &[Definition]) -> impl Iterator<Item = &Definition> {
        let (all, some) = match self {
            Self::All => (definitions, Vec::new()),
            Self::Some(found) => (definitions.get(..0).unwrap_or_default(), found),
        };
        all.iter().chain(some.into_iter().filter_map(|index| definitions.get(index)))
    }
}

/// How many fields one after the other tell definitions apart: it is done by recursion.
const DEPTH_MAX: usize = 16;
/// How often a value of a condition is put into a table: a definition stands below each value that it may have, and there
/// below each value that the next field may have.
const PLACES_MAX: usize = 64;

struct Splitter<'c> {
    conditions: &'c [Conditions],
    /// Places that are left.
    places: usize,
}

impl<'c> Splitter<'c> {
    fn new(conditions: &'c [Conditions]) -> Self {
        let values: usize = conditions.iter().flat_map(BTreeMap::values).map(Vec::len).sum();
        Self { conditions, places: values.saturating_mul(PLACES_MAX) }
    }

    /// Splits by the field that the most definitions look at, but for those that were `used` above, and what that leaves by
    /// the next one.
    fn split(&mut self, definitions: &[usize], used: &mut Vec<&'c Field>) -> Option<Split> {
        let conditions = self.conditions;
        let mut by_field: BTreeMap<&Field, Vec<usize>> = BTreeMap::new();
        for definition in definitions {
            for field in conditions.get(*definition)?.keys().filter(|field| !used.contains(field)) {
                by_field.entry(field).or_default().push(*definition);
            }
        }
        let mut counts: BTreeMap<&Field, usize> =
            by_field.iter().map(|(field, definitions)| (*field, definitions.len())).collect();
        let mut most: BTreeSet<(usize, &Field)> =
            counts.iter().map(|(field, count)| (*count, *field)).collect();
        let mut rest: BTreeSet<usize> = definitions.iter().copied().collect();
        let mut fields = Vec::new();
        while rest.len() >= DEFINITIONS_MIN || fields.is_empty() {
            let Some((_, field)) = most.pop_last().filter(|(count, _)| *count > 1) else { break };
            let chosen: Vec<usize> = by_field.remove(field)?;
            let chosen: Vec<usize> =
                chosen.into_iter().filter(|definition| rest.contains(definition)).collect();
            let Some(by_value) = self.by_value(field, &chosen, used) else { break };
            fields.push((field.clone(), by_value));
            for definition in chosen {
                rest.remove(&definition);
                for other in conditions.get(definition)?.keys() {
                    let Some(count) = counts.get_mut(other) else { continue };
                    if most.remove(&(*count, other)) {
                        *count = count.saturating_sub(1);
                        most.insert((*count, other));
                    }
                }
            }
        }
        if fields.is_empty() { None } else { Some(Split { fields, rest: rest.into_iter().collect() }) }
    }

    /// `None` if there are too many places.
    fn by_value(
        &mut self,
        field: &'c Field,
        definitions: &[usize],
        used: &mut Vec<&'c Field>,
    ) -> Option<HashMap<Value, Part>> {
        let mut by_value: BTreeMap<&Value, Vec<usize>> = BTreeMap::new();
        for definition in definitions {
            let values = self.conditions.get(*definition)?.get(field)?;
            self.places = self.places.checked_sub(values.len())?;
            for value in values {
                by_value.entry(value).or_default().push(*definition);
            }
        }
        used.push(field);
        let mut part = |definitions: Vec<usize>| {
            let ends = definitions.len() < DEFINITIONS_MIN || used.len() >= DEPTH_MAX;
            let split = if ends { None } else { self.split(&definitions, used) };
            Part { definitions, split: split.map(Box::new) }
        };
        let parts = by_value.into_iter().map(|(value, definitions)| (value.clone(), part(definitions)));
        let parts = parts.collect();
        used.pop();
        Some(parts)
    }
}

impl Split {
    fn always_tried(&self) -> usize {
        self.rest.len()
    }

    fn collect(&self, input: Option<&Value>, args: &[Value], found: &mut Vec<usize>) {
        for (field, by_value) in &self.fields {
            let root = match field.argument {
                None => input,
                Some(argument) => args.get(argument),
            };
            let value = field.path.iter().try_fold(root, |at, key| Some(at?.get(key))).flatten();
            if let Some(part) = value.and_then(|value| by_value.get(value)) {
                part.collect(input, args, found);
            }
            for part in value.map(|value| inside(by_value, value)).unwrap_or_default() {
                part.collect(input, args, found);
            }
        }
        found.extend(&self.rest);
    }
}

/// How many items of a collection are looked up: more could be too many, and any of them may be there.
const INSIDE_MAX: usize = 64;

/// A collection is looked for by what is in it, too, as OPA does it: then no definition holds, but one may end in an error.
fn inside<'p>(by_value: &'p HashMap<Value, Part>, value: &Value) -> Vec<&'p Part> {
    let items: Vec<&Value> = match value {
        Value::Array(items) => items.iter().take(INSIDE_MAX).collect(),
        Value::Set(items) => items.iter().take(INSIDE_MAX).collect(),
        Value::Object(members) => members.iter().map(|(_, item)| item).take(INSIDE_MAX).collect(),
        _ => return Vec::new(),
    };
    if items.len() == INSIDE_MAX {
        return by_value.values().collect();
    }
    let distinct: BTreeSet<&Value> = items.into_iter().collect();
    distinct.into_iter().filter_map(|item| by_value.get(item)).collect()
}

impl Part {
    fn collect(&self, input: Option<&Value>, args: &[Value], found: &mut Vec<usize>) {
        match &self.split {
            Some(split) => split.collect(input, args, found),
            None => found.extend(&self.definitions),
        }
    }
}

/// What stands before a condition can end in an error, and OPA, whose index tells fewer definitions apart, meets it.
fn tried_in_spite(definitions: &[Definition], conditions: &[Conditions]) -> Vec<(usize, Admission)> {
    let loud = |definition: &Definition| definition.body.iter().any(|stmt| !is_quiet(stmt));
    if !definitions.iter().any(loud) {
        return Vec::new();
    }
    let all = Admission::of(definitions).into_iter().enumerate().zip(definitions.iter().zip(conditions));
    let others = all.filter(|((_, admission), (definition, conditions))| {
        let asked =
            |(field, values): (&Field, &Vec<Value>)| admission.asks(field.argument, &field.path, values);
        loud(definition) && !conditions.iter().all(asked)
    });
    others.map(|(found, _)| found).collect()
}

/// Whether an expression holds or does not, and nothing else.
fn is_quiet(stmt: &Stmt) -> bool {
    match &stmt.kind {
        StmtKind::Holds(operand) => is_quiet_operand(operand),
        StmtKind::Unify(a, b) => is_quiet_operand(a) && is_quiet_operand(b),
        StmtKind::Call { target: Target::Builtin(builtin), args, output: None } => {
            builtin.name == "internal.member_2" && args.iter().all(is_quiet_operand)
        }
        _ => false,
    }
}

fn is_quiet_operand(operand: &Operand) -> bool {
    match operand {
        Operand::Const(_) | Operand::Slot(_) => true,
        Operand::Array(items) | Operand::Set(items) => items.iter().all(is_quiet_operand),
        Operand::Object(members) => {
            members.iter().all(|(key, value)| is_quiet_operand(key) && is_quiet_operand(value))
        }
        Operand::Ref(reference) => {
            matches!(reference.head, RefHead::Input | RefHead::Base | RefHead::Slot(_))
                && reference.path.iter().all(is_quiet_operand)
        }
        Operand::Comprehension(_) => false,
    }
}

/// The conditions that must hold for a definition, as far as they are equations of a field with a constant, or say that
/// a field is one of several constants. A definition with an `else` always counts: its branches may hold.
fn conditions(definition: &Definition) -> Conditions {
    let mut found = Conditions::new();
    if definition.otherwise.is_some() {
        return found;
    }
    let mut fields: BTreeMap<u32, Field> = BTreeMap::new();
    for (index, parameter) in definition.parameters.iter().enumerate() {
        let field = Field { argument: Some(index), path: Vec::new() };
        match parameter {
            Operand::Const(value) => {
                found.insert(field, vec![value.clone()]);
            }
            Operand::Slot(slot) => {
                fields.entry(*slot).or_insert(field);
            }
            _ => {}
        }
    }
    for stmt in &definition.body {
        condition(stmt, &mut fields, &mut found);
    }
    found
}

fn condition(stmt: &Stmt, fields: &mut BTreeMap<u32, Field>, found: &mut Conditions) {
    match &stmt.kind {
        StmtKind::Unify(Operand::Slot(slot), other) | StmtKind::Unify(other, Operand::Slot(slot))
            if !fields.contains_key(slot) =>
        {
            if let Some(field) = field_of(other, fields) {
                fields.insert(*slot, field);
            }
        }
        StmtKind::Unify(a, Operand::Const(value)) | StmtKind::Unify(Operand::Const(value), a) => {
            if let Some(field) = field_of(a, fields) {
                found.entry(field).or_insert_with(|| vec![value.clone()]);
            }
        }
        StmtKind::Call { target: Target::Builtin(builtin), args, output: None }
            if builtin.name == "internal.member_2" =>
        {
            if let [member, Operand::Const(Value::Set(_) | Value::Array(_))] = args.as_ref()
                && let Some(field) = field_of(member, fields)
                && let Some(Operand::Const(among)) = args.get(1)
            {
                let values = match among {
                    Value::Set(set) => set.iter().cloned().collect(),
                    Value::Array(items) => items.to_vec(),
                    _ => return,
                };
                found.entry(field).or_insert(values);
            }
        }
        _ => {}
    }
}

/// A field is not looked for deeper than that.
const PATH_MAX: usize = 64;

fn field_of(operand: &Operand, fields: &BTreeMap<u32, Field>) -> Option<Field> {
    match operand {
        Operand::Slot(slot) => fields.get(slot).cloned(),
        Operand::Ref(reference) => {
            let mut field = match reference.head {
                // Names may be given to parts of what has a name, one after the other.
                RefHead::Slot(slot) if fields.get(&slot)?.path.len() >= PATH_MAX => return None,
                RefHead::Input => Field { argument: None, path: Vec::new() },
                RefHead::Slot(slot) => fields.get(&slot)?.clone(),
                RefHead::Data | RefHead::Base | RefHead::Group(..) => return None,
            };
            for part in &reference.path {
                let Operand::Const(key) = part else { return None };
                field.path.push(key.clone());
            }
            Some(field)
        }
        _ => None,
    }
}
