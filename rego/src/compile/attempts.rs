//! In which order the definitions of a rule are tried whose values are all the same: the first that holds is enough, so
//! the order decides which errors are met before it. OPA tries those first that its index cannot tell apart from others,
//! then level by level of the index: first those that a field does not matter to, then those that need it to be there,
//! then those that need it to be a certain value.
use crate::Value;
use crate::ast::Loc;
use crate::ir::{Definition, Operand, RefHead, Stmt, StmtKind, Target};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What the index looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Input(Vec<Value>),
    Data(Vec<Value>),
    Argument(usize),
}

/// What a definition needs a field to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    /// Anything, bound to this slot if it is a variable's.
    There(Option<u32>),
    /// One of the values that this stands for.
    Like(Value),
    /// What a pattern stands for.
    Pattern,
}

type Needs = Vec<(Field, Need)>;

/// How often a field is looked at, and where first.
type Fields = BTreeMap<Field, (usize, Loc)>;

/// What OPA's index asks before it lets a definition be tried.
#[derive(Debug)]
pub(crate) struct Admission(Vec<(Field, Vec<Need>)>);

impl Admission {
    /// Those of several definitions, `else` branches left out.
    pub(crate) fn of(definitions: &[Definition]) -> Vec<Self> {
        let mut fields = Fields::new();
        let all: Vec<Needs> = definitions.iter().map(|definition| needs(definition, &mut fields)).collect();
        let levels: BTreeMap<&Field, usize> =
            levels(&fields).into_iter().enumerate().map(|(level, field)| (field, level)).collect();
        all.iter().map(|needs| Self::by_level(needs, &levels)).collect()
    }

    fn by_level(needs: &Needs, levels: &BTreeMap<&Field, usize>) -> Self {
        let mut by_level: BTreeMap<usize, (Field, Vec<Need>)> = BTreeMap::new();
        for (field, need) in needs {
            let level = levels.get(field).copied().unwrap_or_default();
            by_level.entry(level).or_insert_with(|| (field.clone(), Vec::new())).1.push(need.clone());
        }
        let mut asked = Vec::with_capacity(by_level.len());
        for (field, needs) in by_level.into_values() {
            // Below a field that may be one of several values nothing is asked.
            let ends = needs.len() > 1 && !needs.iter().any(|need| matches!(need, Need::There(_)));
            asked.push((field, needs));
            if ends {
                break;
            }
        }
        Self(asked)
    }

    /// Whether it lets a field of the input, or of an argument, be nothing but these values.
    pub(crate) fn asks(&self, argument: Option<usize>, path: &[Value], values: &[Value]) -> bool {
        let wanted = match argument {
            None => Field::Input(path.to_vec()),
            Some(argument) if path.is_empty() => Field::Argument(argument),
            Some(_) => return false,
        };
        let needs = self.0.iter().find(|(field, _)| *field == wanted).map(|(_, needs)| needs);
        needs.is_some_and(|needs| {
            needs.iter().all(|need| matches!(need, Need::Like(value) if values.contains(value)))
        })
    }

    /// Whether the definition is tried, or may be.
    pub(crate) fn admits(&self, input: Option<&Value>, args: &[Value]) -> bool {
        self.0.iter().all(|(field, needs)| {
            let (root, path) = match field {
                Field::Input(path) => (input, path.as_slice()),
                Field::Argument(argument) => (args.get(*argument), [].as_slice()),
                Field::Data(_) => return true,
            };
            let found = path.iter().try_fold(root, |at, key| Some(at?.get(key))).flatten();
            found.is_some_and(|value| needs.iter().any(|need| need.may_be(value)))
        })
    }
}

impl Need {
    fn may_be(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Like(like), Value::Array(_) | Value::Set(_) | Value::Object(_)) => {
                // A collection is looked for by what is in it, too.
                value == like || is_scalar(like)
            }
            (Self::Like(like), value) => value == like,
            (Self::There(_) | Self::Pattern, _) => true,
        }
    }
}

/// The fields in the order in which the index looks at them.
fn levels(fields: &Fields) -> Vec<&Field> {
    let mut levels: Vec<(&Field, &(usize, Loc))> = fields.iter().collect();
    levels.sort_by_key(|(field, (count, loc))| (Reverse(*count), matches!(field, Field::Argument(_)), *loc));
    levels.into_iter().map(|(field, _)| field).collect()
}

/// The order, by places in the list.
pub(super) fn order(definitions: &[Definition]) -> Vec<usize> {
    let mut fields = Fields::new();
    let chains: Vec<Vec<Needs>> = definitions
        .iter()
        .map(|definition| chain(definition).map(|one| needs(one, &mut fields)).collect())
        .collect();
    let levels: BTreeMap<&Field, usize> =
        levels(&fields).into_iter().enumerate().map(|(level, field)| (field, level)).collect();
    let mut order: Vec<(Key, usize)> = chains
        .iter()
        .enumerate()
        .map(|(index, chain)| {
            (chain.iter().map(|needs| key(needs, &levels)).min().unwrap_or_default(), index)
        })
        .collect();
    order.sort();
    order.into_iter().map(|(_, index)| index).collect()
}

/// Where a definition is tried: at each level nothing comes before what must be there, and that before what must be of a
/// value. Only the levels of fields that matter to the definition are told, an earlier one for more than a later one; last
/// is how many levels are looked at.
type Key = (Vec<(Reverse<usize>, u8)>, usize);

fn key(needs: &Needs, levels: &BTreeMap<&Field, usize>) -> Key {
    let mut by_level: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
    for (field, need) in needs {
        let level = levels.get(field).copied().unwrap_or_default();
        let (count, there) = by_level.entry(level).or_default();
        *count = count.saturating_add(1);
        *there |= matches!(need, Need::There(_));
    }
    let mut told = Vec::with_capacity(by_level.len());
    for (level, (count, there)) in by_level {
        told.push((Reverse(level), if there { 1 } else { 2 }));
        if count > 1 && !there {
            return (told, level.saturating_add(1));
        }
    }
    let looked_at = if told.is_empty() { 0 } else { levels.len() };
    (told, looked_at)
}

/// A definition and its `else` branches.
fn chain(definition: &Definition) -> impl Iterator<Item = &Definition> {
    std::iter::successors(Some(definition), |one| one.otherwise.as_deref())
}

/// What a definition needs, field by field, in the order of its body.
fn needs(definition: &Definition, fields: &mut Fields) -> Needs {
    let mut parameters = BTreeMap::new();
    for (index, parameter) in definition.parameters.iter().enumerate() {
        if let Operand::Slot(slot) = parameter {
            parameters.entry(*slot).or_insert(index);
        }
    }
    let mut found = Found {
        parameters,
        needs: Needs::new(),
        held: BTreeMap::new(),
        bound: BTreeMap::new(),
        constants: BTreeMap::new(),
        fields,
    };
    definition.body.iter().for_each(|stmt| found.stmt(stmt));
    found.needs
}

struct Found<'f> {
    /// The arguments by the slots of their variables.
    parameters: BTreeMap<u32, usize>,
    needs: Needs,
    held: BTreeMap<Field, Held>,
    /// By slot: the places of the needs that bind it.
    bound: BTreeMap<u32, BTreeSet<usize>>,
    constants: BTreeMap<u32, Value>,
    fields: &'f mut Fields,
}

/// Where the needs of one field are among all of them.
#[derive(Default)]
struct Held {
    likes: BTreeMap<Value, usize>,
    pattern: Option<usize>,
    there: BTreeSet<usize>,
    there_by_slot: BTreeMap<Option<u32>, usize>,
}

impl Held {
    fn place(&self, need: &Need) -> Option<usize> {
        match need {
            Need::There(slot) => self.there_by_slot.get(slot).copied(),
            Need::Like(value) => self.likes.get(value).copied(),
            Need::Pattern => self.pattern,
        }
    }

    fn put(&mut self, need: &Need, at: usize) {
        match need {
            Need::There(slot) => {
                self.there.insert(at);
                self.there_by_slot.insert(*slot, at);
            }
            Need::Like(value) => {
                let first = self.likes.entry(value.clone()).or_insert(at);
                *first = at.min(*first);
            }
            Need::Pattern => self.pattern = Some(self.pattern.map_or(at, |first| at.min(first))),
        }
    }
}

impl Found<'_> {
    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Holds(operand) => {
                if let Some(field) = field(operand) {
                    self.insert(field, Need::There(None), stmt.loc);
                }
            }
            StmtKind::Unify(a, b) => {
                let _found = self.prefix(a, b, stmt.loc)
                    || self.prefix(b, a, stmt.loc)
                    || self.equation(a, b, stmt.loc)
                    || self.equation(b, a, stmt.loc);
            }
            StmtKind::Call { target: Target::Builtin(builtin), args, output: None } => {
                match (builtin.name, args.as_ref()) {
                    ("internal.member_2", [member, among]) => self.member(member, among, stmt.loc),
                    (
                        "glob.match",
                        [Operand::Const(glob), Operand::Const(Value::Array(_)), Operand::Slot(slot)],
                    ) => {
                        let plain = glob
                            .as_str()
                            .is_some_and(|glob| !glob.contains(['[', '?', '{']) && !glob.contains("**"));
                        if let (true, Some(field)) = (plain, self.resolve(*slot)) {
                            self.insert(field, Need::Pattern, stmt.loc);
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// `input.xs[_] = value`.
    fn prefix(&mut self, reference: &Operand, value: &Operand, loc: Loc) -> bool {
        let Operand::Ref(of) = reference else { return false };
        let Some((Operand::Slot(_), path)) = of.path.split_last() else { return false };
        let value = match value {
            Operand::Const(value) => value.clone(),
            Operand::Slot(slot) => match self.constants.get(slot) {
                Some(value) => value.clone(),
                None => return false,
            },
            _ => return false,
        };
        match field_of(of.head, path) {
            Some(field) if is_scalar(&value) => {
                self.insert(field, Need::Like(value), loc);
                true
            }
            _ => false,
        }
    }

    fn equation(&mut self, a: &Operand, b: &Operand, loc: Loc) -> bool {
        let need = match b {
            Operand::Const(value) if is_scalar(value) || flat(value) => Some(Need::Like(value.clone())),
            Operand::Array(items) if items.iter().all(is_flat) => Some(Need::Pattern),
            Operand::Slot(slot) => Some(Need::There(Some(*slot))),
            _ => None,
        };
        if let Operand::Slot(slot) = a {
            if let Operand::Const(value) = b {
                self.constants.insert(*slot, value.clone());
            }
            return match (need, self.resolve(*slot)) {
                (Some(need), Some(field)) => {
                    self.insert(field, need, loc);
                    true
                }
                _ => false,
            };
        }
        let need = match need {
            Some(Need::There(Some(slot))) => {
                self.constants.get(&slot).map_or(need, |value| Some(Need::Like(value.clone())))
            }
            need => need,
        };
        match (field(a), need) {
            (Some(field), Some(need)) => {
                self.insert(field, need, loc);
                true
            }
            _ => false,
        }
    }

    fn member(&mut self, member: &Operand, among: &Operand, loc: Loc) {
        if let Operand::Slot(slot) = member
            && let Some(field) = self.resolve(*slot)
        {
            let among = match among {
                Operand::Const(value) => Some(value.clone()),
                Operand::Slot(slot) => self.constants.get(slot).cloned(),
                _ => None,
            };
            let items: Vec<Value> = match among {
                Some(Value::Array(items)) => items.to_vec(),
                Some(Value::Set(items)) => items.iter().cloned().collect(),
                Some(Value::Object(members)) => members.iter().map(|(_, value)| value.clone()).collect(),
                _ => Vec::new(),
            };
            self.insert_all(&field, items, loc);
            return;
        }
        let need = match member {
            Operand::Const(value) if is_scalar(value) => Need::Like(value.clone()),
            Operand::Slot(slot) => {
                self.constants.get(slot).map_or(Need::There(Some(*slot)), |value| Need::Like(value.clone()))
            }
            _ => return,
        };
        if let Operand::Slot(slot) = among
            && let Some(field) = self.resolve(*slot)
        {
            self.insert(field, need, loc);
        }
    }

    /// The field that a slot was given the value of.
    fn resolve(&self, slot: u32) -> Option<Field> {
        let bound = self.bound.get(&slot).and_then(|places| self.needs.get(*places.first()?));
        bound
            .map(|(field, _)| field.clone())
            .or_else(|| self.parameters.get(&slot).copied().map(Field::Argument))
    }

    /// The same as to insert one after the other.
    fn insert_all(&mut self, field: &Field, items: Vec<Value>, loc: Loc) {
        let count = items.len();
        let (composite, plain): (Vec<Value>, Vec<Value>) =
            items.into_iter().partition(|item| matches!(item, Value::Object(_) | Value::Set(_)));
        let mut first = true;
        for item in plain {
            let need = Need::Like(item);
            if self.held.get(field).and_then(|held| held.place(&need)).is_some() {
                continue;
            }
            if std::mem::take(&mut first) {
                self.insert(field.clone(), need, loc);
            } else {
                self.push(field.clone(), need);
            }
        }
        if !composite.is_empty() {
            self.insert(field.clone(), Need::There(None), loc);
        }
        if let Some((have, _)) = self.fields.get_mut(field) {
            *have = have.saturating_add(count.saturating_sub(1));
        }
    }

    /// What is needed already is not needed again, and a value in place of whatever is there.
    fn insert(&mut self, field: Field, need: Need, loc: Loc) {
        let (count, _) = self.fields.entry(field.clone()).or_insert((0, loc));
        *count = count.saturating_add(1);
        let held = self.held.entry(field.clone()).or_default();
        let equal = held.place(&need);
        let replaced = held.there.first().copied().filter(|_| !matches!(need, Need::There(_)));
        match (equal, replaced) {
            (Some(equal), replaced) if replaced.is_none_or(|replaced| equal < replaced) => {}
            (_, Some(at)) => {
                held.there.remove(&at);
                held.put(&need, at);
                if let Some((_, old)) = self.needs.get_mut(at)
                    && let Need::There(slot) = std::mem::replace(old, need)
                {
                    held.there_by_slot.remove(&slot);
                    let places = slot.and_then(|slot| self.bound.get_mut(&slot));
                    places.into_iter().for_each(|places| _ = places.remove(&at));
                }
            }
            (_, None) => self.push(field, need),
        }
    }

    fn push(&mut self, field: Field, need: Need) {
        let at = self.needs.len();
        if let Need::There(Some(slot)) = need {
            self.bound.entry(slot).or_default().insert(at);
        }
        self.held.entry(field.clone()).or_default().put(&need, at);
        self.needs.push((field, need));
    }
}

fn field(operand: &Operand) -> Option<Field> {
    match operand {
        Operand::Ref(reference) => field_of(reference.head, &reference.path),
        _ => None,
    }
}

fn field_of(head: RefHead, path: &[Operand]) -> Option<Field> {
    let path = path.iter().map(|part| if let Operand::Const(key) = part { Some(key.clone()) } else { None });
    let path: Vec<Value> = path.collect::<Option<_>>()?;
    match head {
        RefHead::Input => Some(Field::Input(path)),
        RefHead::Base => Some(Field::Data(path)),
        RefHead::Data | RefHead::Group(..) | RefHead::Slot(_) => None,
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_) | Value::Set(_))
}

fn flat(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(is_scalar))
}

fn is_flat(operand: &Operand) -> bool {
    matches!(operand, Operand::Slot(_)) || matches!(operand, Operand::Const(value) if is_scalar(value))
}
