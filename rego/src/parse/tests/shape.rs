//! Trees as text, the same for ours and for what `opa parse` prints: rules by lines, terms as in Lisp.
use crate::ast::{Body, Call, Expr, ExprKind, Head, Module, Rule, Str, TemplatePart, Term, TermKind, With};
use serde_json::Value;

pub(super) fn of_module(module: &Module) -> Vec<String> {
    module.rules.iter().map(rule).collect()
}

pub(super) fn of_body(body: &Body) -> String {
    body.iter().map(expr).collect::<Vec<_>>().join("; ")
}

fn rule(rule: &Rule) -> String {
    let mut text = if rule.default { "default ".to_owned() } else { String::new() };
    text += &head(&rule.head);
    text += &format!(" if {}", of_body(&rule.body));
    if let Some(otherwise) = &rule.otherwise {
        text += &format!(" else {}", self::rule(otherwise));
    }
    text
}

fn head(head: &Head) -> String {
    let mut text = terms("", &head.reference);
    if let Some(args) = &head.args {
        text += " ";
        text += &terms("args", args);
    }
    if let Some(key) = &head.key {
        text += &format!(" contains {}", term(key));
    }
    if let Some(value) = &head.value {
        text += &format!(" := {}", term(value));
    }
    text
}

fn expr(expr: &Expr) -> String {
    let mut text = if expr.negated { "not ".to_owned() } else { String::new() };
    text += &match &expr.kind {
        ExprKind::Term(inner) => term(inner),
        ExprKind::Call(inner) => call(inner),
        ExprKind::Some(names) => {
            format!("some {}", names.iter().map(|(name, _)| &**name).collect::<Vec<_>>().join(" "))
        }
        ExprKind::SomeIn { key, value, domain } => {
            let key = key.as_ref().map(|key| term(key) + " ").unwrap_or_default();
            format!("some {key}{} in {}", term(value), term(domain))
        }
        ExprKind::Every { key, value, domain, body } => {
            let key = key.as_ref().map(|(key, _)| format!("{key} ")).unwrap_or_default();
            format!("every {key}{} in {} {{{}}}", value.0, term(domain), of_body(body))
        }
    };
    text + &withs(&expr.with)
}

fn withs(withs: &[With]) -> String {
    withs.iter().map(|with| format!(" with {} as {}", path(&with.target), term(&with.value))).collect()
}

fn path(parts: &[Str]) -> String {
    let [first, rest @ ..] = parts else { return String::new() };
    if rest.is_empty() {
        return first.to_string();
    }
    format!("({first}{})", rest.iter().map(|part| format!(" {part:?}")).collect::<String>())
}

fn call(call: &Call) -> String {
    terms(&format!("call {}", path(&call.function)), &call.args)
}

fn terms(name: &str, terms: &[Term]) -> String {
    list(name, terms.iter().map(term).collect())
}

fn list(name: &str, items: Vec<String>) -> String {
    let items = std::iter::once(name.to_owned()).filter(|name| !name.is_empty()).chain(items);
    format!("({})", items.collect::<Vec<_>>().join(" "))
}

/// Sets have no order and hold an item once.
fn set(mut items: Vec<String>) -> String {
    items.sort();
    items.dedup();
    list("set", items)
}

/// Objects have no order, and the last of several values of a key holds.
fn object(pairs: Vec<(String, String)>) -> String {
    let pairs: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
    list("object", pairs.into_iter().map(|(key, value)| format!("{key}:{value}")).collect())
}

fn term(term: &Term) -> String {
    match &term.kind {
        TermKind::Null => "null".to_owned(),
        TermKind::Bool(value) => value.to_string(),
        // As the other side's reader prints it.
        TermKind::Number(number) => serde_json::from_str::<Value>(&number.to_string()).unwrap().to_string(),
        TermKind::String(text) => format!("{text:?}"),
        TermKind::Var(name) => name.to_string(),
        TermKind::Ref(parts) => terms("", parts),
        TermKind::Array(items) => terms("array", items),
        TermKind::Set(items) => set(items.iter().map(self::term).collect()),
        TermKind::Object(pairs) => {
            object(pairs.iter().map(|(key, value)| (self::term(key), self::term(value))).collect())
        }
        TermKind::ArrayComprehension(head, body) => format!("[{} | {}]", self::term(head), of_body(body)),
        TermKind::SetComprehension(head, body) => format!("{{{} | {}}}", self::term(head), of_body(body)),
        TermKind::ObjectComprehension(key, value, body) => {
            format!("{{{}:{} | {}}}", self::term(key), self::term(value), of_body(body))
        }
        TermKind::Call(inner) => call(inner),
        TermKind::Template(parts) => list("template", parts.iter().map(part).collect()),
    }
}

fn part(part: &TemplatePart) -> String {
    match part {
        TemplatePart::Text(text) => format!("{text:?}"),
        TemplatePart::Term(inner) => term(inner),
        TemplatePart::With(inner, replaced) => term(inner) + &withs(replaced),
    }
}

/// The rules of a module in the JSON of `opa parse`.
pub(super) fn of_opa(module: &Value) -> Vec<String> {
    items(&module["rules"]).iter().map(opa_rule).collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn opa_rule(rule: &Value) -> String {
    let mut text = if rule["default"] == true { "default ".to_owned() } else { String::new() };
    let head = &rule["head"];
    text += &opa_terms("", items(&head["ref"]));
    if !items(&head["args"]).is_empty() {
        text += " ";
        text += &opa_terms("args", items(&head["args"]));
    }
    match (head.get("key"), head.get("value")) {
        // A rule of a single value has its key in its reference as well.
        (_, Some(value)) => text += &format!(" := {}", opa_term(value)),
        (Some(key), None) => text += &format!(" contains {}", opa_term(key)),
        (None, None) => {}
    }
    text += &format!(" if {}", opa_body(&rule["body"]));
    if let Some(otherwise) = rule.get("else") {
        text += &format!(" else {}", opa_rule(otherwise));
    }
    text
}

fn opa_body(body: &Value) -> String {
    items(body).iter().map(opa_expr).collect::<Vec<_>>().join("; ")
}

fn opa_expr(expr: &Value) -> String {
    let mut text = if expr["negated"] == true { "not ".to_owned() } else { String::new() };
    let terms = &expr["terms"];
    text += &if let Some(call) = terms.as_array() {
        opa_call(call)
    } else if let Some(symbols) = terms.get("symbols") {
        match items(symbols) {
            [only] if only["type"] == "call" => {
                let operands: Vec<_> = items(&only["value"]).iter().skip(1).map(opa_term).collect();
                let (domain, names) = operands.split_last().unwrap();
                format!("some {} in {domain}", names.join(" "))
            }
            names => format!("some {}", names.iter().map(opa_term).collect::<Vec<_>>().join(" ")),
        }
    } else if let Some(domain) = terms.get("domain") {
        let key = match &terms["key"] {
            Value::Null => String::new(),
            key => opa_term(key) + " ",
        };
        let body = opa_body(&terms["body"]);
        format!("every {key}{} in {} {{{body}}}", opa_term(&terms["value"]), opa_term(domain))
    } else {
        opa_term(terms)
    };
    text + &opa_withs(expr)
}

fn opa_withs(expr: &Value) -> String {
    let with = |with: &Value| format!(" with {} as {}", opa_term(&with["target"]), opa_term(&with["value"]));
    items(&expr["with"]).iter().map(with).collect()
}

fn opa_call(call: &[Value]) -> String {
    let (function, args) = call.split_first().unwrap();
    opa_terms(&format!("call {}", opa_term(function)), args)
}

fn opa_terms(name: &str, terms: &[Value]) -> String {
    list(name, terms.iter().map(opa_term).collect())
}

fn opa_term(term: &Value) -> String {
    let value = &term["value"];
    match term["type"].as_str().unwrap() {
        "null" => "null".to_owned(),
        "boolean" | "number" => value.to_string(),
        "string" => format!("{:?}", value.as_str().unwrap()),
        "var" if value.as_str().unwrap().starts_with('$') => "_".to_owned(),
        "var" => value.as_str().unwrap().to_owned(),
        "ref" => match items(value) {
            [only] => opa_term(only),
            parts => opa_terms("", parts),
        },
        "array" => opa_terms("array", items(value)),
        "set" => set(items(value).iter().map(opa_term).collect()),
        "object" => {
            object(items(value).iter().map(|pair| (opa_term(&pair[0]), opa_term(&pair[1]))).collect())
        }
        "arraycomprehension" => format!("[{} | {}]", opa_term(&value["term"]), opa_body(&value["body"])),
        "setcomprehension" => format!("{{{} | {}}}", opa_term(&value["term"]), opa_body(&value["body"])),
        "objectcomprehension" => {
            format!(
                "{{{}:{} | {}}}",
                opa_term(&value["key"]),
                opa_term(&value["value"]),
                opa_body(&value["body"])
            )
        }
        "call" => opa_call(items(value)),
        "templatestring" => list("template", items(&value["parts"]).iter().map(opa_part).collect()),
        other => panic!("{other}: {term}"),
    }
}

fn opa_part(part: &Value) -> String {
    match &part["type"] {
        Value::String(kind) if kind == "string" => format!("{:?}", part["value"].as_str().unwrap()),
        Value::Null => opa_expr(part),
        _ => opa_term(part),
    }
}
