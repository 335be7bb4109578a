//! Renders a template.
use super::functions;
use super::parse::{Branch, Node, Operand, Pipeline};
use super::{DEPTH_MAX, too_deep};
use crate::Value;
use crate::builtins::BuiltinError;
use crate::builtins::meter::Meter;
use crate::builtins::sprintf::{Arg, printed};

/// A value in a template. Strings and booleans are data wherever they come from; numbers of the data are not the numbers
/// of the template, but strings of another type.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// What a missing member is, and what `null` becomes at the end of a command.
    Nothing,
    Data(Value),
    Int(i64),
    Byte(u8),
    Float(f64),
}

impl Item {
    pub(super) fn text(text: String) -> Self {
        Self::Data(Value::from(text))
    }

    pub(super) fn bool(value: bool) -> Self {
        Self::Data(Value::Bool(value))
    }

    /// Whether it counts as true: whatever is neither nothing, nor zero, nor empty.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Nothing | Self::Data(Value::Null) => false,
            Self::Data(Value::Bool(value)) => *value,
            Self::Data(Value::String(text)) => !text.is_empty(),
            Self::Data(Value::Array(items)) => !items.is_empty(),
            Self::Data(Value::Object(members)) => !members.is_empty(),
            Self::Data(Value::Number(_) | Value::Set(_)) => true,
            Self::Int(int) => *int != 0,
            Self::Byte(byte) => *byte != 0,
            Self::Float(float) => *float != 0.0,
        }
    }

    /// As an argument of `printf` and its like.
    pub(super) fn printable(&self, meter: &mut Meter<'_>) -> Result<Arg, BuiltinError> {
        match self {
            Self::Nothing => Ok(Arg::Nil),
            Self::Data(value) => argument(meter, value, 0),
            Self::Int(int) => Ok(Arg::Word(*int)),
            Self::Byte(byte) => Ok(Arg::Byte(*byte)),
            Self::Float(float) => Ok(Arg::Float(*float)),
        }
    }
}

fn argument(meter: &mut Meter<'_>, value: &Value, depth: usize) -> Result<Arg, BuiltinError> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    meter.spend(16)?;
    let below = depth.saturating_add(1);
    Ok(match value {
        Value::Null => Arg::Nil,
        Value::Bool(value) => Arg::Bool(*value),
        Value::Number(number) => Arg::Json(number.to_string()),
        Value::String(text) => {
            meter.spend(text.len())?;
            Arg::Text(text.to_string())
        }
        Value::Array(items) => {
            Arg::List(items.iter().map(|item| argument(meter, item, below)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let member = |(key, value): &(Value, Value)| {
                Ok((key.as_str().unwrap_or_default().to_owned(), argument(meter, value, below)?))
            };
            Arg::Map(members.iter().map(member).collect::<Result<_, BuiltinError>>()?)
        }
        Value::Set(_) => return Err(failed("a set has no JSON")),
    })
}

pub(super) fn failed(why: impl Into<String>) -> BuiltinError {
    BuiltinError::Failed(format!("template: {}", why.into()))
}

/// How a node ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Renderer<'m, 'c> {
    pub(super) meter: &'m mut Meter<'c>,
    out: String,
    variables: Vec<(String, Item)>,
}

/// The text of a template.
pub(super) fn rendered(nodes: &[Node], data: &Value, meter: &mut Meter<'_>) -> Result<String, BuiltinError> {
    let dot = Item::Data(data.clone());
    let mut renderer = Renderer { meter, out: String::new(), variables: vec![("$".to_owned(), dot.clone())] };
    renderer.list(&dot, nodes)?;
    Ok(renderer.out)
}

impl Renderer<'_, '_> {
    fn list(&mut self, dot: &Item, nodes: &[Node]) -> Result<Flow, BuiltinError> {
        for node in nodes {
            let flow = self.node(dot, node)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Item, node: &Node) -> Result<Flow, BuiltinError> {
        // A node is about the work of an expression.
        self.meter.spend(64)?;
        match node {
            Node::Text(text) => self.meter.append(&mut self.out, text)?,
            Node::Action(pipeline) => {
                let item = self.pipeline(dot, pipeline)?;
                if pipeline.variables.is_empty() {
                    let text = match item {
                        Item::Nothing => "<no value>".to_owned(),
                        item => {
                            let argument = item.printable(self.meter)?;
                            printed(self.meter, &[argument], false)?
                        }
                    };
                    self.meter.append(&mut self.out, &text)?;
                }
            }
            Node::If(branch) => return self.branch(dot, branch, false),
            Node::With(branch) => return self.branch(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn branch(&mut self, dot: &Item, branch: &Branch, sets_dot: bool) -> Result<Flow, BuiltinError> {
        let known = self.variables.len();
        let item = self.pipeline(dot, &branch.pipeline)?;
        let flow = match (item.truth(), sets_dot) {
            (true, true) => self.list(&item, &branch.then)?,
            (true, false) => self.list(dot, &branch.then)?,
            (false, _) => self.list(dot, &branch.otherwise)?,
        };
        self.variables.truncate(known);
        Ok(flow)
    }

    fn range(&mut self, dot: &Item, branch: &Branch) -> Result<Flow, BuiltinError> {
        let known = self.variables.len();
        let over = self.pipeline(dot, &branch.pipeline)?;
        let mut empty = true;
        let mut each = |renderer: &mut Self, index: Item, element: Item| {
            empty = false;
            renderer.iteration(branch, index, &element)
        };
        match &over {
            Item::Nothing => {}
            Item::Data(Value::Array(items)) => {
                for (index, item) in (0i64..).zip(items.iter()) {
                    if each(self, Item::Int(index), Item::Data(item.clone()))? == Flow::Break {
                        break;
                    }
                }
            }
            Item::Data(Value::Object(members)) => {
                for (key, value) in members {
                    if each(self, Item::Data(key.clone()), Item::Data(value.clone()))? == Flow::Break {
                        break;
                    }
                }
            }
            Item::Int(_) | Item::Byte(_) => {
                if branch.pipeline.variables.len() > 1 {
                    return Err(failed("can't iterate over a number with more than one variable"));
                }
                let (end, byte) = match over {
                    Item::Byte(byte) => (i64::from(byte), true),
                    Item::Int(int) => (int, false),
                    _ => (0, false),
                };
                for value in 0..end {
                    let element = if byte {
                        u8::try_from(value).map_or(Item::Nothing, Item::Byte)
                    } else {
                        Item::Int(value)
                    };
                    if each(self, Item::Nothing, element)? == Flow::Break {
                        break;
                    }
                }
            }
            _ => return Err(failed("range can't iterate over this value")),
        }
        let flow = if empty { self.list(dot, &branch.otherwise)? } else { Flow::Next };
        self.variables.truncate(known);
        Ok(flow)
    }

    fn iteration(&mut self, branch: &Branch, index: Item, element: &Item) -> Result<Flow, BuiltinError> {
        let known = self.variables.len();
        let names = &branch.pipeline.variables;
        // Of two variables the second is the element.
        let places = if names.len() > 1 { vec![index, element.clone()] } else { vec![element.clone()] };
        for (place, (name, item)) in names.iter().zip(places).enumerate() {
            if branch.pipeline.assigns {
                self.assign(name, item)?;
            } else {
                let at = known.saturating_sub(names.len()).saturating_add(place);
                if let Some(variable) = self.variables.get_mut(at) {
                    variable.1 = item;
                }
            }
        }
        let flow = self.list(element, &branch.then)?;
        self.variables.truncate(known);
        Ok(flow)
    }

    fn assign(&mut self, name: &str, item: Item) -> Result<(), BuiltinError> {
        match self.variables.iter_mut().rev().find(|(have, _)| have == name) {
            Some(variable) => {
                variable.1 = item;
                Ok(())
            }
            None => Err(failed(format!("undefined variable: {name}"))),
        }
    }

    fn pipeline(&mut self, dot: &Item, pipeline: &Pipeline) -> Result<Item, BuiltinError> {
        let mut last: Option<Item> = None;
        for command in &pipeline.commands {
            self.meter.spend(16)?;
            last = Some(match self.command(dot, command, last)? {
                Item::Data(Value::Null) => Item::Nothing,
                item => item,
            });
        }
        let item = last.unwrap_or(Item::Nothing);
        for name in &pipeline.variables {
            if pipeline.assigns {
                self.assign(name, item.clone())?;
            } else {
                self.variables.push((name.clone(), item.clone()));
            }
        }
        Ok(item)
    }

    /// A command; `last` is the result of the one before, which is its last argument.
    fn command(&mut self, dot: &Item, command: &[Operand], last: Option<Item>) -> Result<Item, BuiltinError> {
        let Some((first, rest)) = command.split_first() else { return Ok(Item::Nothing) };
        if let Operand::Function(name) = first {
            return functions::call(self, dot, name, rest, last);
        }
        let arguments = !rest.is_empty() || last.is_some();
        match first {
            Operand::Field(fields) => fields_of(dot.clone(), fields, arguments),
            Operand::Chain(of, fields) => {
                let of = self.operand(dot, of)?;
                fields_of(of, fields, arguments)
            }
            Operand::Variable(name, fields) if !fields.is_empty() => {
                fields_of(self.variable(name)?, fields, arguments)
            }
            _ if arguments => Err(failed("can't give argument to non-function")),
            Operand::Nil => Err(failed("nil is not a command")),
            other => self.operand(dot, other),
        }
    }

    fn variable(&self, name: &str) -> Result<Item, BuiltinError> {
        let found = self.variables.iter().rev().find(|(have, _)| have == name);
        found.map(|(_, item)| item.clone()).ok_or_else(|| failed(format!("undefined variable: {name}")))
    }

    /// The value of an operand.
    pub(super) fn operand(&mut self, dot: &Item, operand: &Operand) -> Result<Item, BuiltinError> {
        Ok(match operand {
            Operand::Dot => dot.clone(),
            Operand::Nil => Item::Nothing,
            Operand::Bool(value) => Item::bool(*value),
            Operand::Text(text) => Item::text(text.clone()),
            Operand::Int(int) => Item::Int(*int),
            Operand::TooLarge => return Err(failed("a constant overflows int")),
            Operand::Float(float) => Item::Float(*float),
            Operand::Field(fields) => fields_of(dot.clone(), fields, false)?,
            Operand::Variable(name, fields) => fields_of(self.variable(name)?, fields, false)?,
            Operand::Function(name) => functions::call(self, dot, name, &[], None)?,
            Operand::Chain(of, fields) => {
                let of = self.operand(dot, of)?;
                fields_of(of, fields, false)?
            }
            Operand::Pipeline(pipeline) => self.pipeline(dot, pipeline)?,
        })
    }
}

/// A member of a member and so on. Nothing has all members, and they are nothing; only objects else have any.
fn fields_of(of: Item, fields: &[String], arguments: bool) -> Result<Item, BuiltinError> {
    let mut item = of;
    for (index, field) in fields.iter().enumerate() {
        let last = index.saturating_add(1) == fields.len();
        item = match item {
            Item::Nothing => Item::Nothing,
            Item::Data(Value::Object(_)) if last && arguments => {
                return Err(failed(format!("{field} is not a method but has arguments")));
            }
            Item::Data(Value::Object(members)) => {
                members.member(field).map_or(Item::Nothing, |value| Item::Data(value.clone()))
            }
            _ => return Err(failed(format!("can't evaluate field {field}"))),
        };
    }
    Ok(item)
}
