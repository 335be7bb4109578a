//! Makes a case smaller while it shows the same.
use super::Case;
use crate::Value;

/// The smallest case found that still `shows` what it is about.
pub(super) fn reduced(case: &Case, shows: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut best = case.clone();
    for index in 0..case.inputs.len() {
        let one = Case { inputs: vec![case.inputs[index].clone()], ..best.clone() };
        if shows(&one) {
            best = one;
            break;
        }
    }
    for module in (0..best.modules.len()).rev() {
        let mut fewer = best.clone();
        fewer.modules.remove(module);
        if shows(&fewer) {
            best = fewer;
        }
    }
    let cuts: [fn(&str) -> Vec<String>; 3] = [rules, lines, expressions];
    loop {
        let before: usize = best.modules.iter().map(String::len).sum();
        for cut in cuts {
            for module in 0..best.modules.len() {
                without_pieces(&mut best, module, cut, shows);
            }
        }
        if best.modules.iter().map(String::len).sum::<usize>() == before {
            break;
        }
    }
    best.data = smaller(&best.data, &mut |text| shows(&Case { data: text.to_owned(), ..best.clone() }));
    for index in 0..best.inputs.len() {
        let Some(input) = best.inputs[index].clone() else { continue };
        let small = smaller(&input, &mut |text| {
            let mut other = best.clone();
            other.inputs[index] = Some(text.to_owned());
            shows(&other)
        });
        best.inputs[index] = Some(small);
    }
    best
}

/// A document with fewer members.
fn smaller(text: &str, shows: &mut dyn FnMut(&str) -> bool) -> String {
    let mut best = Value::from_json(text).unwrap();
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let Some(at) = path.iter().try_fold(&best, |at, key| at.get(key)) else { continue };
        let keys: Vec<Value> = match at {
            Value::Object(members) => members.keys().cloned().collect(),
            Value::Array(items) => (0..items.len()).map(Value::from).collect(),
            _ => continue,
        };
        for key in keys.into_iter().rev() {
            let without = without(&best, &path, &key);
            if shows(&without.to_json()) {
                best = without;
            } else {
                open.push(path.iter().chain([&key]).cloned().collect());
            }
        }
    }
    best.to_json()
}

fn without(value: &Value, path: &[Value], key: &Value) -> Value {
    let next = path.first().unwrap_or(key);
    let keep = |name: &Value, member: &Value| match path.split_first() {
        _ if name != next => Some(member.clone()),
        Some((_, rest)) => Some(without(member, rest, key)),
        None => None,
    };
    match value {
        Value::Object(members) => Value::object(
            members.iter().filter_map(|(name, member)| Some((name.clone(), keep(name, member)?))),
        ),
        Value::Array(items) => {
            Value::array(items.iter().enumerate().filter_map(|(index, item)| keep(&Value::from(index), item)))
        }
        other => other.clone(),
    }
}

fn without_pieces(
    best: &mut Case,
    module: usize,
    cut: fn(&str) -> Vec<String>,
    shows: &mut dyn FnMut(&Case) -> bool,
) {
    let mut pieces = cut(&best.modules[module]);
    let mut index = pieces.len();
    while index > 0 {
        index -= 1;
        let taken = pieces.remove(index);
        let mut fewer = best.clone();
        fewer.modules[module] = pieces.concat();
        if shows(&fewer) {
            *best = fewer;
        } else {
            pieces.insert(index, taken);
        }
    }
}

/// The pieces that begin with a line that is not indented and opens something.
fn rules(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for line in text.split_inclusive('\n') {
        let begins = !line.starts_with(['\t', '}', '\n']);
        if begins {
            pieces.push(String::new());
        }
        pieces.last_mut().unwrap().push_str(line);
    }
    pieces
}

fn lines(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

fn expressions(text: &str) -> Vec<String> {
    text.split_inclusive("; ").flat_map(|piece| piece.split_inclusive("| ")).map(str::to_owned).collect()
}
