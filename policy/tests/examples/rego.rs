//! Small changes to a policy in Rego, formatted as `opa fmt` does: a definition, a branch or a condition dropped, a condition
//! turned round, a comparison, a constant or an answer changed.
use super::source::{Kind, Mutant, Part, Source, instead};
use std::ops::Range;

pub(crate) fn mutants(text: &str) -> Vec<Mutant> {
    let source = Source::of(text, "#");
    let rules: Vec<Range<usize>> = rules(&source);
    let mut mutants = source.of_tokens(|index| rules.iter().any(|rule| rule.contains(&index)));
    for rule in &rules {
        mutants.push(source.replaced(rule.clone(), ""));
        mutants.extend(branches(&source, rule).into_iter().map(|branch| source.replaced(branch, "")));
        for index in rule.clone() {
            mutants.extend(words(&source, index));
            if let Some(body) = bodies(&source, rule, index) {
                mutants.extend(conditions(&source, &body));
            }
        }
    }
    mutants
}

/// What is defined, `package` and imports left out.
fn rules(source: &Source<'_>) -> Vec<Range<usize>> {
    let begins = |index: usize| source.tokens[index].leftmost && source.tokens[index].kind == Kind::Word;
    let parts = |index: usize| if begins(index) { Part::Before } else { Part::No };
    let mut rules = source.split(0..source.tokens.len(), parts);
    rules.retain(|rule| !matches!(source.text_of(rule.start), "package" | "import"));
    rules
}

fn branches(source: &Source<'_>, rule: &Range<usize>) -> Vec<Range<usize>> {
    let is_else = |index: usize| source.is(index, "else") && source.tokens[index].depth == 0;
    let parts = |index: usize| if is_else(index) { Part::Before } else { Part::No };
    source.split(rule.clone(), parts).into_iter().skip(1).collect()
}

/// Words and texts that only Rego has.
fn words(source: &Source<'_>, index: usize) -> Vec<Mutant> {
    let text = source.text_of(index);
    let by = match source.tokens[index].kind {
        Kind::Word if text == "not" => vec![String::new()],
        Kind::Word => instead(text, &[("startswith", &["contains"]), ("endswith", &["contains"])]),
        Kind::Sign => instead(text, &[("+", &["-"]), ("-", &["+"]), ("*", &["+"]), ("/", &["*"])]),
        Kind::Raw => patterns(text),
        Kind::Number | Kind::Text => Vec::new(),
    };
    by.iter().map(|by| source.replaced(index..index + 1, by)).collect()
}

/// Other regular expressions: one character left out, one digit another.
fn patterns(text: &str) -> Vec<String> {
    let changed = |(at, char): (usize, char)| {
        let (before, after) = (&text[..at], &text[at + char.len_utf8()..]);
        let digit = char.to_digit(10).map(|digit| format!("{before}{}{after}", (digit + 1) % 10));
        let dropped = (char != '`').then(|| format!("{before}{after}"));
        dropped.into_iter().chain(digit)
    };
    text.char_indices().flat_map(changed).collect()
}

/// The conditions that begin after a token, if they do.
fn bodies(source: &Source<'_>, rule: &Range<usize>, index: usize) -> Option<Range<usize>> {
    let depth = source.tokens[index].depth;
    match source.text_of(index) {
        "if" if source.is(index + 1, "{") => Some(index + 2..source.closing(index + 1)),
        "if" => {
            let ends = |at: &usize| source.is(*at, "else") || source.tokens[*at].first;
            Some(index + 1..(index + 2..rule.end).find(ends).unwrap_or(rule.end))
        }
        "|" => {
            let ends = |at: &usize| source.tokens[*at].depth < depth;
            Some(index + 1..(index + 1..rule.end).find(ends).unwrap_or(rule.end))
        }
        _ => None,
    }
}

fn conditions(source: &Source<'_>, body: &Range<usize>) -> Vec<Mutant> {
    let depth = source.tokens[body.start].depth;
    let parts = |index: usize| match &source.tokens[index] {
        token if token.depth == depth && source.is(index, ";") => Part::Here,
        token if token.depth == depth && token.first && token.kind != Kind::Sign => Part::Before,
        // A pattern on the left of an assignment.
        token if token.depth == depth && token.first && source.is(index, "[") => Part::Before,
        _ => Part::No,
    };
    let mut mutants = Vec::new();
    for condition in source.split(body.clone(), parts) {
        mutants.push(source.replaced(condition.clone(), "true"));
        let first = source.text_of(condition.start);
        let assigns = condition.clone().any(|at| source.tokens[at].depth == depth && source.is(at, ":="));
        if !assigns && !matches!(first, "some" | "every" | "not") {
            let old = &source.text
                [source.tokens[condition.start].at.start..source.tokens[condition.end - 1].at.end];
            mutants.push(source.replaced(condition, &format!("not {old}")));
        }
    }
    mutants
}

#[test]
fn definitions_branches_conditions_and_constants_are_changed() {
    let text = "package p\n\nimport input.a\n\n# not a condition == 1\nallow if {\n\tsome x in a\n\tx >= 1\n} else := \"b\" if not c\n\n\
        d contains e if {\n\te := {f | f := a[_]; f != `g`}\n\tstartswith(\n\t\te,\n\t\t\"h\",\n\t)\n}\n";
    let told: Vec<String> = mutants(text).into_iter().map(|mutant| mutant.what).collect();
    let changes = [
        "8: in `x >= 1` `>=` becomes `>`",
        "8: in `x >= 1` `>=` becomes `<`",
        "8: in `x >= 1` `1` becomes `2`",
        "8: in `x >= 1` `1` becomes `0`",
        r#"9: in `} else := "b" if not c` `"b"` becomes `"b~"`"#,
        "12: in `e := {f | f := a[_]; f != `g`}` `!=` becomes `==`",
        r#"15: in `"h",` `"h"` becomes `"h~"`"#,
        r#"6: `allow if { some x in a x >= 1 } else := "b" if not c` becomes ``"#,
        r#"9: `else := "b" if not c` becomes ``"#,
        "7: `some x in a` becomes `true`",
        "8: `x >= 1` becomes `true`",
        "8: `x >= 1` becomes `not x >= 1`",
        r#"9: in `} else := "b" if not c` `not c` becomes `true`"#,
        "9: `not` becomes ``",
        r#"11: `d contains e if { e := {f | f := a[_]; f != `g`} startswith( e, "h", ) }` becomes ``"#,
        "12: `e := {f | f := a[_]; f != `g`}` becomes `true`",
        r#"13: in `startswith(` `startswith( e, "h", )` becomes `true`"#,
        r#"13: in `startswith(` `startswith( e, "h", )` becomes `not startswith( e, "h", )`"#,
        "12: in `e := {f | f := a[_]; f != `g`}` `f := a[_]` becomes `true`",
        "12: in `e := {f | f := a[_]; f != `g`}` `f != `g`` becomes `true`",
        "12: in `e := {f | f := a[_]; f != `g`}` `f != `g`` becomes `not f != `g``",
        "12: in `e := {f | f := a[_]; f != `g`}` ``g`` becomes ````",
        "13: in `startswith(` `startswith` becomes `contains`",
    ];
    for change in changes {
        assert!(told.iter().any(|what| what == change), "{change} is not among\n{}", told.join("\n"));
    }
    assert!(!told.iter().any(|what| what.starts_with("5: ") || what.starts_with("3: ")), "{told:?}");
}
