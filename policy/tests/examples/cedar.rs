//! Small changes to policies in Cedar: a policy, a clause or a condition dropped, a permit made a forbid, a scope widened, an
//! operator, a comparison or a constant changed.
use super::source::{Kind, Mutant, Part, Source, instead};
use std::ops::Range;

pub(crate) fn mutants(text: &str) -> Vec<Mutant> {
    let source = Source::of(text, "//");
    let mut mutants = source.of_tokens(|_| true);
    let ends = |index: usize| source.is(index, ";") && source.tokens[index].depth == 0;
    let parts = |index: usize| if ends(index) { Part::Here } else { Part::No };
    for policy in source.split(0..source.tokens.len(), parts) {
        // With its semicolon.
        mutants.push(source.replaced(policy.start..policy.end + 1, ""));
        for index in policy {
            mutants.extend(words(&source, index));
            let clause = matches!(source.text_of(index), "when" | "unless") && source.is(index + 1, "{");
            if clause {
                let close = source.closing(index + 1);
                mutants.push(source.replaced(index..close + 1, ""));
                operands(&source, index + 2..close, &mut mutants);
            }
        }
    }
    mutants
}

fn words(source: &Source<'_>, index: usize) -> Vec<Mutant> {
    let text = source.text_of(index);
    let one = |by: Vec<String>| by.iter().map(|by| source.replaced(index..index + 1, by)).collect();
    match source.tokens[index].kind {
        Kind::Word if matches!(text, "permit" | "forbid") && source.tokens[index].depth == 0 => {
            let other = if text == "permit" { "forbid" } else { "permit" };
            let mut mutants = vec![source.replaced(index..index + 1, other)];
            mutants.extend(scopes(source, index + 1));
            mutants
        }
        Kind::Word => one(instead(
            text,
            &[("when", &["unless"]), ("unless", &["when"]), ("containsAny", &["containsAll"])],
        )),
        Kind::Text if source.is(index.wrapping_sub(1), "like") => one(patterns(text)),
        Kind::Text if source.is(index.wrapping_sub(1), "(") => one(moments(text)),
        Kind::Sign => one(instead(text, &[("&&", &["||"]), ("||", &["&&"]), ("!", &[""])])),
        Kind::Text | Kind::Number | Kind::Raw => Vec::new(),
    }
}

/// The scope with one of its three parts left open. An action that a condition needs stays one of HTTP.
fn scopes(source: &Source<'_>, open: usize) -> Vec<Mutant> {
    let depth = source.tokens[open].depth + 1;
    let is_comma = |index: usize| source.is(index, ",") && source.tokens[index].depth == depth;
    let parts = |index: usize| if is_comma(index) { Part::Here } else { Part::No };
    let mut mutants = Vec::new();
    for part in source.split(open + 1..source.closing(open), parts).into_iter().filter(|part| part.len() > 1)
    {
        let variable = source.text_of(part.start);
        mutants.push(source.replaced(part.clone(), variable));
        if variable == "action" {
            mutants.push(source.replaced(part, "action in Action::\"http\""));
        }
    }
    mutants
}

/// Each operand dropped: of a conjunction it becomes true, of a disjunction false.
fn operands(source: &Source<'_>, range: Range<usize>, mutants: &mut Vec<Mutant>) {
    let depth = source.tokens[range.start].depth;
    let at = |sign: &str, index: usize| source.is(index, sign) && source.tokens[index].depth == depth;
    let or = range.clone().any(|index| at("||", index));
    let (sign, by) = if or { ("||", "false") } else { ("&&", "true") };
    let all = source.split(range, |index| if at(sign, index) { Part::Here } else { Part::No });
    for operand in &all {
        if all.len() > 1 {
            mutants.push(source.replaced(operand.clone(), by));
        }
        let whole = source.is(operand.start, "(") && source.closing(operand.start) == operand.end - 1;
        if whole {
            operands(source, operand.start + 1..operand.end - 1, mutants);
        } else if all.len() > 1 && or {
            operands(source, operand.clone(), mutants);
        }
    }
}

/// Patterns that match more.
fn patterns(text: &str) -> Vec<String> {
    let inner = &text[1..text.len() - 1];
    let wider = [format!("\"*{inner}\""), format!("\"{inner}*\"")];
    wider.into_iter().filter(|wider| !wider.contains("**")).collect()
}

/// A moment, a span or a network beside the one that is written: what is no such thing is refused at load.
fn moments(text: &str) -> Vec<String> {
    let digits = text.char_indices().filter_map(|(at, char)| Some((at, char.to_digit(10)?)));
    digits.map(|(at, digit)| format!("{}{}{}", &text[..at], (digit + 1) % 10, &text[at + 1..])).collect()
}

#[test]
fn policies_clauses_scopes_operands_and_constants_are_changed() {
    let text = "@id(\"a\")\npermit (principal in Group::\"g\", action == Action::\"GET\", resource)\n\
        when { context.depth >= 2 && (context.path like \"/b/*\" || !(context.path == \"/c\")) } // && d\n\
        unless { context.now < datetime(\"2026-01-01\") };\n\nforbid (principal, action, resource);\n";
    let told: Vec<String> = mutants(text).into_iter().map(|mutant| mutant.what).collect();
    let line = r#"in `when { context.depth >= 2 && (context.path like "/b/*" || !(context.path == "/c")) } // && d`"#;
    let scope = r#"in `permit (principal in Group::"g", action == Action::"GET", resource)`"#;
    let changes = [
        r#"1: in `@id("a")` `"a"` becomes `"a~"`"#.to_owned(),
        format!("2: {scope} `permit` becomes `forbid`"),
        format!(r#"2: {scope} `principal in Group::"g"` becomes `principal`"#),
        format!(r#"2: {scope} `action == Action::"GET"` becomes `action in Action::"http"`"#),
        format!("3: {line} `>=` becomes `>`"),
        format!("3: {line} `2` becomes `3`"),
        format!("3: {line} `&&` becomes `||`"),
        format!("3: {line} `!` becomes ``").replace(&format!("{line} "), ""),
        format!("3: {line} `when` becomes `unless`"),
        format!("3: {line} `context.depth >= 2` becomes `true`"),
        format!(r#"3: {line} `(context.path like "/b/*" || !(context.path == "/c"))` becomes `true`"#),
        format!(r#"3: {line} `context.path like "/b/*"` becomes `false`"#),
        format!(r#"3: {line} `!(context.path == "/c")` becomes `false`"#),
        format!(r#"3: {line} `"/b/*"` becomes `"*/b/*"`"#),
        r#"4: `unless { context.now < datetime("2026-01-01") }` becomes ``"#.to_owned(),
        r#"4: in `unless { context.now < datetime("2026-01-01") };` `"2026-01-01"` becomes `"2026-01-02"`"#
            .to_owned(),
        "6: in `forbid (principal, action, resource);` `forbid` becomes `permit`".to_owned(),
        "6: `forbid (principal, action, resource);` becomes ``".to_owned(),
    ];
    for change in changes {
        assert!(told.contains(&change), "{change} is not among\n{}", told.join("\n"));
    }
}
