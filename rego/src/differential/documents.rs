//! Inputs and data in which the literals of the policies occur, and in which every field may be missing or odd.
use crate::builtins::testing::Dice;

pub(super) const STRINGS: &[&str] = &[
    "a",
    "b",
    "c",
    "admin",
    "GET",
    "POST",
    "x/y",
    "",
    "1",
    "0",
    "true",
    "é😀",
    "A b",
    "spiffe://d/a",
    "10.0.0.1",
];
pub(super) const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "1.5",
    "10",
    "0.1",
    "100",
    "9007199254740993",
    "123456789012345678901234567890",
    "1e3",
];

pub(super) fn scalar(dice: &mut Dice) -> String {
    match dice.below(12) {
        0..6 => format!("\"{}\"", dice.one(STRINGS)),
        6..9 => dice.one(NUMBERS).to_owned(),
        9 => "true".to_owned(),
        10 => "false".to_owned(),
        _ => "null".to_owned(),
    }
}

fn string(dice: &mut Dice) -> String {
    if dice.roll(12) == 0 { value(dice, 1) } else { format!("\"{}\"", dice.one(STRINGS)) }
}

fn number(dice: &mut Dice) -> String {
    if dice.roll(10) == 0 { value(dice, 1) } else { dice.one(&NUMBERS[..6]).to_owned() }
}

/// Any value.
pub(super) fn value(dice: &mut Dice, depth: usize) -> String {
    match dice.below(if depth == 0 { 3 } else { 6 }) {
        0..3 => scalar(dice),
        3 | 4 => list(dice, |dice| value(dice, depth - 1)),
        _ => object(dice, &["a", "b", "c", "1", ""], |dice, _| value(dice, depth - 1)),
    }
}

fn list(dice: &mut Dice, item: impl Fn(&mut Dice) -> String) -> String {
    let items: Vec<String> = (0..dice.below(4)).map(|_| item(dice)).collect();
    format!("[{}]", items.join(", "))
}

/// An object in which each key may be missing.
fn object(dice: &mut Dice, keys: &[&str], member: impl Fn(&mut Dice, &str) -> String) -> String {
    let mut members = Vec::new();
    for key in keys {
        if dice.roll(7) != 0 {
            members.push(format!("\"{key}\": {}", member(dice, key)));
        }
    }
    format!("{{{}}}", members.join(", "))
}

fn user(dice: &mut Dice) -> String {
    object(dice, &["name", "role", "tags", "age"], |dice, key| match key {
        "name" | "role" => string(dice),
        "tags" => list(dice, string),
        _ => number(dice),
    })
}

pub(super) fn input(dice: &mut Dice) -> Option<String> {
    if dice.roll(25) == 0 {
        // To OPA's server an input that is null is none.
        return Some(value(dice, 1)).filter(|input| input != "null" && dice.roll(2) == 0);
    }
    let keys = ["method", "path", "user", "items", "flag", "nil", "n", "s", "m"];
    Some(object(dice, &keys, |dice, key| match key {
        "method" | "s" => string(dice),
        "path" => list(dice, string),
        "user" => user(dice),
        "items" => list(dice, |dice| {
            object(dice, &["id", "n", "tags"], |dice, key| match key {
                "id" => string(dice),
                "n" => number(dice),
                _ => list(dice, string),
            })
        }),
        "flag" => (if dice.roll(3) == 0 { "true" } else { "false" }).to_owned(),
        "nil" => "null".to_owned(),
        "n" => number(dice),
        _ => object(dice, &["a", "b", "c", "1", "0"], |dice, _| value(dice, 2)),
    }))
}

/// Data beside the rules and between them.
pub(super) fn data(dice: &mut Dice) -> String {
    let d = object(dice, &["users", "roles", "list", "m", "flag", "nil", "pairs"], |dice, key| match key {
        "users" => object(dice, &["a", "b", "c", "admin"], |dice, _| user(dice)),
        "roles" => object(dice, &["a", "b", "admin"], |dice, _| list(dice, string)),
        "list" => list(dice, string),
        "m" => object(dice, &["a", "b", "c", "1", "true"], |dice, _| value(dice, 2)),
        "flag" => "false".to_owned(),
        "nil" => "null".to_owned(),
        _ => list(dice, |dice| format!("[{}, {}]", string(dice), number(dice))),
    });
    let cfg = object(dice, &["a", "b", "c"], |dice, _| value(dice, 2));
    let sub = object(dice, &["base", "a"], |dice, _| value(dice, 2));
    format!(
        "{{\"d\": {d}, \"t\": {{\"cfg\": {cfg}, \"sub\": {sub}}}, \"lib\": {{\"k\": {}}}}}",
        value(dice, 2)
    )
}
