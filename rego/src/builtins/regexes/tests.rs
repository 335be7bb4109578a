//! Rows of the `regex` builtins.
use crate::builtins::testing::{Dice, Want, agree, check};
use serde_json::json;

/// Checks rows of an expression, a text, and whether they match; `None` is an expression that is refused.
fn matches(rows: &[(&'static str, &str, Option<bool>)]) {
    let mut all = Vec::new();
    for (expression, subject, want) in rows {
        let args: &'static str = json!([expression, subject]).to_string().leak();
        all.push((
            "regex.match",
            args,
            match want {
                Some(true) => Want::Value("true"),
                Some(false) => Want::Value("false"),
                None => Want::Failed,
            },
        ));
        let alone: &'static str = json!([expression]).to_string().leak();
        all.push(("regex.is_valid", alone, Want::Value(if want.is_some() { "true" } else { "false" })));
    }
    check(&all);
}

#[test]
fn classes_are_ascii_as_in_re2() {
    matches(&[
        (r"^\w+$", "é", Some(false)),
        (r"^\w+$", "e", Some(true)),
        (r"^\d+$", "٣", Some(false)),
        (r"^[\d-]+$", "1-2", Some(true)),
        (r"^\W$", "é", Some(true)),
        (r"^[^\w]$", "é", Some(true)),
        (r"^[\W]$", "é", Some(true)),
        (r"^[\Da]+$", "éa", Some(true)),
        (r"^[^\D]$", "٣", Some(false)),
        (r"\bx\b", "éxé", Some(true)),
        (r"é\bx", "éx", Some(true)),
        (r"\Bé", "xé", Some(false)),
        (r"é\Bé", "éé", Some(true)),
        (r"^\B$", "", Some(true)),
        (r"^\s$", "\u{a0}", Some(false)),
        (r"^\s$", "\u{b}", Some(false)),
        (r"^[[:space:]]$", "\u{b}", Some(true)),
        (r"^\s$", " ", Some(true)),
        (r"^\S$", "\u{a0}", Some(true)),
        (r"^[[]$", "[", Some(true)),
        (r"^[]a]$", "]", Some(true)),
        (r"^[^]a]$", "b", Some(true)),
        (r"^[a&&b]$", "&", Some(true)),
        (r"^[a~~b]$", "~", Some(true)),
        (r"^[a--b]$", "-", None),
        (r"^[+--]$", ",", Some(true)),
        (r"^[a[b]c]$", "bc]", Some(true)),
        (r"^[a-]$", "-", Some(true)),
        (r"^[-a]$", "-", Some(true)),
        (r"^[a-c-e]+$", "b-e", Some(true)),
        (r"^[a-c-e]+$", "d", Some(false)),
        (r"^[\d-z]+$", "5-z", Some(true)),
        (r"[a-\d]", "", None),
        (r"[b-a]", "", None),
        (r"[\-a]", "-", Some(true)),
        (r"^[[:alpha:]]+$", "abc", Some(true)),
        (r"^[[:^alpha:][:word:]]+$", "1é_a", Some(true)),
        (r"^[[:alpha:]$", "", None),
        (r"[[:foo:]]", "", None),
        (r"[[:foo]", ":", Some(true)),
        (r"^[[:punct:]]+$", "!#/:@[`{~", Some(true)),
        ("[", "", None),
        ("[]", "", None),
        ("[^]", "", None),
        ("[a", "", None),
        (r"[\", "", None),
        (r"^[^a]$", "\n", Some(true)),
        (r"^[\x{d800}]$", "a", Some(false)),
        (r"^[^\x{d800}]$", "a", Some(true)),
        (r"^[\x{d000}-\x{f000}]$", "\u{e000}", Some(true)),
        (r"^[^\x00-\x{10FFFF}]?$", "", Some(true)),
    ]);
}

#[test]
fn unicode_groups_are_gos() {
    matches(&[
        (r"^\pN$", "٣", Some(true)),
        (r"^\PN$", "٣", Some(false)),
        (r"^\p{Greek}$", "α", Some(true)),
        (r"^\p{greek}$", "α", Some(true)),
        (r"^\p{^Greek}$", "α", Some(false)),
        (r"^\P{^Greek}$", "α", Some(true)),
        (r"^[\p{Lu}\p{Nd}]+$", "A1É", Some(true)),
        (r"^[^\p{Lu}]$", "a", Some(true)),
        (r"^\p{Letter}$", "é", Some(true)),
        (r"^\p{lower case-letter}$", "é", Some(true)),
        (r"^\p{Any}$", "\n", Some(true)),
        (r"^\P{Any}$", "a", Some(false)),
        (r"^\p{ASCII}$", "é", Some(false)),
        (r"^\p{Assigned}$", "\u{378}", Some(false)),
        (r"^\p{Cn}$", "\u{378}", Some(true)),
        (r"^\p{Cn}$", "\u{a7cb}", Some(true)),
        (r"^\p{Lu}$", "\u{a7cb}", Some(false)),
        (r"^\p{C}$", "\u{378}", Some(true)),
        (r"^\p{Mn}$", "\u{1171e}", Some(true)),
        (r"^\p{Mc}$", "\u{1171e}", Some(false)),
        (r"^\p{Cs}$", "a", Some(false)),
        (r"^\p{LC}$", "a", Some(true)),
        (r"(?i)^\p{Lu}$", "a", Some(true)),
        (r"(?i)^\P{Lu}$", "a", Some(false)),
        (r"(?i)^[^\p{Lu}]$", "a", Some(false)),
        (r"(?i)^\p{ASCII}$", "\u{212a}", Some(true)),
        (r"\p{Old_Italic}", "", None),
        (r"\p{OldItalic}", "", None),
        (r"\p{Emoji}", "", None),
        (r"\p{Alphabetic}", "", None),
        (r"\p{sc=Greek}", "", None),
        (r"\p{Script=Greek}", "", None),
        (r"\p{}", "", None),
        (r"\p{Greek", "", None),
        (r"\pG", "", None),
        (r"\p", "", None),
    ]);
}

#[test]
fn what_go_refuses_is_refused_and_what_it_takes_is_taken() {
    matches(&[
        ("", "", Some(true)),
        ("a|", "", Some(true)),
        ("()", "", Some(true)),
        ("(", "", None),
        (")", "", None),
        ("(?:", "", None),
        ("*", "", None),
        ("a|*", "", None),
        ("(*)", "", None),
        ("^*", "", Some(true)),
        ("$+", "", Some(true)),
        (r"\b?", "", Some(true)),
        ("a**", "", None),
        ("a+*", "", None),
        ("a*+", "", None),
        ("a*??", "", None),
        ("a{2}*", "", None),
        ("a*{2}", "", None),
        ("a*?", "", Some(true)),
        ("(?:a*)*", "", Some(true)),
        ("^(?:(?i)a*)*$", "aAa", Some(true)),
        (r"a*\Q\E*", "", Some(true)),
        ("^a(?i)*$", "aaa", Some(true)),
        ("(?i)*", "", None),
        ("^a{,2}$", "a{,2}", Some(true)),
        ("^a{$", "a{", Some(true)),
        ("^a{1$", "a{1", Some(true)),
        ("^a{1,$", "a{1,", Some(true)),
        ("^a{1,b}$", "a{1,b}", Some(true)),
        ("^a{01}$", "a{01}", Some(true)),
        ("^a{ 1}$", "a{ 1}", Some(true)),
        ("^{1}$", "", Some(true)),
        ("{1}", "", None),
        ("^a}]$", "a}]", Some(true)),
        ("a{1000}", "", Some(false)),
        ("a{1001}", "", None),
        ("a{1,1001}", "", None),
        ("a{99999999999999999999}", "", None),
        ("a{2,1}", "", None),
        ("(?:a{500}){2}", "", Some(false)),
        ("(?:a{501}){2}", "", None),
        ("((a{10}){10}){10}", "", Some(false)),
        ("((a{10}){10}){11}", "", None),
        ("((a{10}){10}){11,}", "", None),
        ("(?:(?:a{1000}){0}){1000}", "", Some(true)),
        ("(?:a*{0,}){1000}", "", None),
    ]);
}

#[test]
fn escapes_and_groups_are_those_of_go() {
    matches(&[
        (r"\", "", None),
        (r"^\Qa.b\E$", "a.b", Some(true)),
        (r"^\Qa.b\E$", "axb", Some(false)),
        (r"^\Qa.b", "a.b", Some(true)),
        (r"^\Qab\E+$", "abbb", Some(true)),
        (r"\E", "", None),
        (r"\Q\\E\E", "", None),
        (r"\C", "", None),
        (r"\z", "", Some(true)),
        (r"\Z", "", None),
        (r"a\A", "a", Some(false)),
        (r"\G", "", None),
        (r"\<", "<", Some(true)),
        (r"\_\-\!\@\ ", "_-!@ ", Some(true)),
        (r"\é", "", None),
        (r"\1", "", None),
        (r"^\12\0\07\377$", "\n\0\u{7}\u{ff}", Some(true)),
        (r"\8", "", None),
        (r"^\x41\x{42}\x{1F600}$", "AB😀", Some(true)),
        (r"\x", "", None),
        (r"\x4", "", None),
        (r"\x{}", "", None),
        (r"\x{110000}", "", None),
        (r"\x{4", "", None),
        (r"^\a\f\n\r\t\v$", "\u{7}\u{c}\n\r\t\u{b}", Some(true)),
        (r"\e", "", None),
        (r"\cA", "", None),
        (r"\u0041", "", None),
        (r"\h", "", None),
        (r"\R", "", None),
        (r"\K", "", None),
        (r"\N", "", None),
        (r"\X", "", None),
        (r"\b{start}", "a{start}", Some(true)),
        ("(?=a)", "", None),
        ("(?!a)", "", None),
        ("(?<=a)", "", None),
        ("(?<!a)", "", None),
        ("(?>a)", "", None),
        ("(?#a)", "", None),
        ("(?x) a", "", None),
        ("(?u)a", "", None),
        ("(?R)a", "", None),
        ("(?)a", "a", Some(true)),
        ("(?-)a", "", None),
        ("(?i-)a", "", None),
        ("(?i--s)a", "", None),
        ("(?i-s)A", "a", Some(true)),
        ("(?ii)A", "a", Some(true)),
        ("(?i", "", None),
        ("(?", "", None),
        ("(?<n>a)(?P<m>b)", "ab", Some(true)),
        ("(?<1>a)", "a", Some(true)),
        ("(?<n>a)(?<n>b)", "ab", Some(true)),
        ("(?<n-m>a)", "", None),
        ("(?<>a)", "", None),
        ("(?<n", "", None),
        ("(?P<n", "", None),
        ("(?P=n)", "", None),
        ("(?P>n)", "", None),
        ("(?'n'a)", "", None),
        ("(?&n)", "", None),
        ("^ a#b$", " a#b", Some(true)),
    ]);
}

#[test]
fn flags_hold_to_the_end_of_their_group() {
    matches(&[
        ("^((?i)a)b$", "Ab", Some(true)),
        ("^((?i)a)b$", "AB", Some(false)),
        ("^(?i:a)b$", "AB", Some(false)),
        ("(?i)a|b", "B", Some(true)),
        ("a|(?i)b|c", "C", Some(true)),
        ("(?i)^k$", "\u{212a}", Some(true)),
        ("(?i)^[a-z]$", "ſ", Some(true)),
        (r"(?i)^\w$", "ſ", Some(true)),
        (r"(?i)^\W$", "ſ", Some(false)),
        (r"(?i)^[^\w]$", "ſ", Some(false)),
        (r"^\w$", "ſ", Some(false)),
        (r"(?i)\bſ", "ſ", Some(false)),
        ("(?i)^σ$", "ς", Some(true)),
        ("(?i)^ß$", "ẞ", Some(true)),
        ("(?i)^ΐ$", "\u{1fd3}", Some(false)),
        ("(?i)^[ΐ]$", "\u{1fd3}", Some(false)),
        ("(?i)^[ΐ]$", "ΐ", Some(true)),
        ("(?i)^[ΐσ]$", "ς", Some(true)),
        ("(?i)^[^ΐσ]$", "\u{1fd3}", Some(true)),
        ("(?i)^[^ΐσ]$", "ΐ", Some(false)),
        ("(?i)^[^ΐσ]$", "ς", Some(false)),
        ("(?i)^[^ΐσ]$", "a", Some(true)),
        (r"(?i)^\p{Ll}$", "\u{a7dc}", Some(false)),
        ("(?i)^i$", "İ", Some(false)),
        ("(?i)^[^a]$", "A", Some(false)),
        ("a.b", "a\nb", Some(false)),
        ("(?s)a.b", "a\nb", Some(true)),
        ("(?s:a.)b.c", "a\nb\nc", Some(false)),
        ("^b", "a\nb", Some(false)),
        ("(?m)^b$", "a\nb\nc", Some(true)),
        ("(?m)b$", "b\r\n", Some(false)),
        ("b$", "b\n", Some(false)),
        ("(?m-m)^b", "a\nb", Some(false)),
    ]);
}

#[test]
fn matches_are_found_split_and_replaced_as_go_does() {
    check(&[
        ("regex.find_n", r#"["a*", "baac", -1]"#, Want::Value(r#"["", "aa", ""]"#)),
        ("regex.find_n", r#"["a*", "baac", 2]"#, Want::Value(r#"["", "aa"]"#)),
        ("regex.find_n", r#"["a", "aaa", 0]"#, Want::Value("[]")),
        ("regex.find_n", r#"["", "é", -1]"#, Want::Value(r#"["", ""]"#)),
        ("regex.find_n", r#"["b", "aaa", -1]"#, Want::Value("[]")),
        ("regex.find_n", r#"["a", "aaa", 1.5]"#, Want::TypeError),
        ("regex.find_n", r#"["(", "aaa", 1]"#, Want::Failed),
        ("regex.find_n", r#"["(", "aaa", "1"]"#, Want::TypeError),
        ("regex.find_n", r#"["a+?", "aaa", -1]"#, Want::Value(r#"["a", "a", "a"]"#)),
        ("regex.find_n", r#"["(?U)a+", "aaa", -1]"#, Want::Value(r#"["a", "a", "a"]"#)),
        ("regex.find_n", r#"["(?U)a+?", "aaa", -1]"#, Want::Value(r#"["aaa"]"#)),
        ("regex.find_n", r#"["\\b", "ab cd", -1]"#, Want::Value(r#"["", "", "", ""]"#)),
        ("regex.find_n", r#"["\\B", "éa", -1]"#, Want::Value(r#"[""]"#)),
        (
            "regex.find_all_string_submatch_n",
            r#"["(a)|(b)", "ab", -1]"#,
            Want::Value(r#"[["a", "a", ""], ["b", "", "b"]]"#),
        ),
        ("regex.find_all_string_submatch_n", r#"["(a|b*)*", "abba", -1]"#, Want::Value(r#"[["abba", "a"]]"#)),
        (
            "regex.find_all_string_submatch_n",
            r#"["(|a)*", "aa", -1]"#,
            Want::Value(r#"[["", ""], ["", ""], ["", ""]]"#),
        ),
        (
            "regex.find_all_string_submatch_n",
            r#"["(|a)+", "aa", -1]"#,
            Want::Value(r#"[["", ""], ["", ""], ["", ""]]"#),
        ),
        ("regex.find_all_string_submatch_n", r#"["(a*)+", "b", -1]"#, Want::Value(r#"[["", ""], ["", ""]]"#)),
        ("regex.find_all_string_submatch_n", r#"["(a){0}b", "ab", -1]"#, Want::Value(r#"[["b", ""]]"#)),
        ("regex.find_all_string_submatch_n", r#"["(?:(a)|b)*", "ab", -1]"#, Want::Value(r#"[["ab", "a"]]"#)),
        ("regex.find_all_string_submatch_n", r#"["x", "ab", -1]"#, Want::Value("[]")),
        ("regex.split", r#"[",", "a,b,,c,"]"#, Want::Value(r#"["a", "b", "", "c", ""]"#)),
        ("regex.split", r#"["a*", "baac"]"#, Want::Value(r#"["b", "c"]"#)),
        ("regex.split", r#"["", "abc"]"#, Want::Value(r#"["a", "b", "c"]"#)),
        ("regex.split", r#"["", ""]"#, Want::Value("[]")),
        ("regex.split", r#"["a", ""]"#, Want::Value(r#"[""]"#)),
        ("regex.split", r#"["a", "aaa"]"#, Want::Value(r#"["", "", "", ""]"#)),
        ("regex.split", r#"["(", "a"]"#, Want::Failed),
        ("regex.replace", r#"["foo", "^[a-z]", "F"]"#, Want::Value(r#""Foo""#)),
        ("regex.replace", r#"["abc", "", "-"]"#, Want::Value(r#""-a-b-c-""#)),
        ("regex.replace", r#"["baaac", "a*", "x"]"#, Want::Value(r#""xbxcx""#)),
        ("regex.replace", r#"["ab", "(a)(b)", "$2$1"]"#, Want::Value(r#""ba""#)),
        ("regex.replace", r#"["ab", "(a)(b)", "$2x"]"#, Want::Value(r#""""#)),
        ("regex.replace", r#"["ab", "(a)(b)", "${2}x"]"#, Want::Value(r#""bx""#)),
        ("regex.replace", r#"["ab", "(?P<n>a)(?<n1>b)", "$n1$n|$n-"]"#, Want::Value(r#""ba|a-""#)),
        ("regex.replace", r#"["b", "(?<n>a)|(?<n>b)", "<$n>"]"#, Want::Value(r#""<b>""#)),
        ("regex.replace", r#"["ab", "a", "$$1$"]"#, Want::Value(r#""$1$b""#)),
        ("regex.replace", r#"["ab", "a", "$0${0}$00$01$9$-${}${a${0"]"#, Want::Value(r#""aa$-${}${a${0b""#)),
        ("regex.replace", r#"["ab", "a", "$0é|${é}|$0\u0663|$0²"]"#, Want::Value(r#""|||a²b""#)),
        ("regex.replace", r#"["ab", "a", "$999999999$1000000000$0000"]"#, Want::Value(r#""b""#)),
        ("regex.replace", r#"["ab", "(?<_>a)", "$_${_}"]"#, Want::Value(r#""aab""#)),
        ("regex.replace", r#"["ab", "(", "x"]"#, Want::Failed),
        ("regex.replace", r#"["ab", "a", 1]"#, Want::TypeError),
        ("regex.match", r#"[1, "a"]"#, Want::TypeError),
        ("regex.match", r#"["(", 1]"#, Want::TypeError),
        ("regex.is_valid", "[1]", Want::Value("false")),
        ("regex.split", "[1, \"a\"]", Want::TypeError),
    ]);
}

#[test]
fn templates_hold_expressions_between_delimiters() {
    check(&[
        ("regex.template_match", r#"["urn:foo:{.*}", "urn:foo:bar:baz", "{", "}"]"#, Want::Value("true")),
        ("regex.template_match", r#"["urn.foo:<[0-9]{2,3}>", "urnxfoo:12", "<", ">"]"#, Want::Value("false")),
        (
            "regex.template_match",
            r#"["urn.foo:<[0-9]{2,3}>x<a|b>", "urn.foo:12xb", "<", ">"]"#,
            Want::Value("true"),
        ),
        ("regex.template_match", r#"["<[0-9]{2}>", "12", "{", "}"]"#, Want::Value("false")),
        ("regex.template_match", r#"["a{b{1,2}}c", "abbc", "{", "}"]"#, Want::Value("true")),
        ("regex.template_match", r#"["<a>", "xay", "<", ">"]"#, Want::Value("false")),
        ("regex.template_match", r#"["", "", "<", ">"]"#, Want::Value("true")),
        ("regex.template_match", r#"["<>", "", "<", ">"]"#, Want::Value("true")),
        ("regex.template_match", r#"["<a)(b>", "ab", "<", ">"]"#, Want::Failed),
        ("regex.template_match", r#"["<(>", "ab", "<", ">"]"#, Want::Failed),
        ("regex.template_match", r#"["<a", "ab", "<", ">"]"#, Want::Failed),
        ("regex.template_match", r#"["a>", "ab", "<", ">"]"#, Want::Failed),
        ("regex.template_match", r#"["|a|", "a", "|", "|"]"#, Want::Failed),
        ("regex.template_match", r#"["a", "a", "", ">"]"#, Want::Failed),
        ("regex.template_match", r#"["a", "a", "é", ">"]"#, Want::Failed),
        ("regex.template_match", r#"["a", "a", "<", ">>"]"#, Want::Failed),
        ("regex.template_match", r#"["a", "a", "", 1]"#, Want::TypeError),
        ("regex.template_match", r#"["a", 1, "<", ">"]"#, Want::TypeError),
    ]);
}

#[test]
fn globs_meet_where_the_library_says_so() {
    check(&[
        ("regex.globs_match", r#"["a.a.", ".b.b"]"#, Want::Value("true")),
        ("regex.globs_match", r#"["[a-z]+", "[0-9]*"]"#, Want::Value("false")),
        ("regex.globs_match", r#"["foo.*bar", "fooxbar"]"#, Want::Value("true")),
        ("regex.globs_match", r#"["[ab]+c", "[bc]+"]"#, Want::Value("true")),
        ("regex.globs_match", r#"["ab+", "abc"]"#, Want::Value("false")),
        ("regex.globs_match", r#"[".*", ""]"#, Want::Value("false")),
        ("regex.globs_match", r#"["", ""]"#, Want::Value("true")),
        ("regex.globs_match", r#"["[]", "."]"#, Want::Value("true")),
        ("regex.globs_match", r#"["[]", "[]"]"#, Want::Value("false")),
        ("regex.globs_match", r#"["\\.", "a"]"#, Want::Value("false")),
        ("regex.globs_match", r#"["[\\]]", "\\]"]"#, Want::Value("true")),
        ("regex.globs_match", r#"["[a-]", "a"]"#, Want::Failed),
        ("regex.globs_match", r#"["[-a]", "a"]"#, Want::Failed),
        ("regex.globs_match", r#"["[z-a]", "a"]"#, Want::Failed),
        ("regex.globs_match", r#"["[a", "a"]"#, Want::Failed),
        ("regex.globs_match", r#"["a]", "a"]"#, Want::Failed),
        ("regex.globs_match", r#"["*a", "a"]"#, Want::Failed),
        ("regex.globs_match", r#"["a**", "a"]"#, Want::Failed),
        ("regex.globs_match", r#"["a\\", "a"]"#, Want::Failed),
        ("regex.globs_match", r#"[1, "a"]"#, Want::TypeError),
    ]);
}

#[test]
fn what_costs_too_much_ends_the_decision() {
    check(&[
        ("regex.match", r#"["(?:\\pL{1000})", "a"]"#, Want::Budget),
        (
            "regex.match",
            r#"["(?:(?:a{100}){10}b|(?:[^b]{100}){10}){1}(?:.{1000}x){1}(?:.{1000}){1}(?:.{1000})(?:.{1000})(?:.{1000})", "a"]"#,
            Want::Budget,
        ),
        ("regex.is_valid", r#"["(?:\\pL{1000})"]"#, Want::Value("true")),
    ]);
    let stars = ".*a.*b".repeat(40);
    let others = ".*b.*a".repeat(40);
    let args = [crate::Value::from(format!("{stars}c")), crate::Value::from(format!("{others}d"))];
    let answer = super::intersect::globs_match(&mut crate::builtins::testing::context(), &args);
    assert!(
        matches!(answer, Ok(Some(crate::Value::Bool(false))) | Err(crate::builtins::BuiltinError::Budget(_))),
        "{answer:?}"
    );
}

/// An expression of a small grammar.
fn expression(dice: &mut Dice, depth: usize) -> String {
    let mut out = String::new();
    for _ in 0..=dice.below(3) {
        let atom = match dice.below(if depth > 2 { 6 } else { 10 }) {
            0..=2 => dice.one(&["a", "b", "ab", "é", "_", "1", " ", "\n", "k", "S"]).to_owned(),
            3 => {
                dice.one(&[".", r"\d", r"\w", r"\W", r"\s", r"\S", r"\D", r"\pL", r"\PL", r"\x62"]).to_owned()
            }
            4 => dice
                .one(&["[ab]", "[^a]", r"[\w-]", "[^[:alpha:]é]", "[a-cé]", r"[^\Wa]", r"[\s\S]"])
                .to_owned(),
            5 => dice.one(&["^", "$", r"\b", r"\B", r"\A", r"\z", "(?i)", "(?s)", "(?m)", "(?U)"]).to_owned(),
            6 => format!("(?:{})", expression(dice, depth + 1)),
            7 => format!("(?i:{})", expression(dice, depth + 1)),
            8 => format!("({}|{})", expression(dice, depth + 1), expression(dice, depth + 1)),
            _ => format!("({})", expression(dice, depth + 1)),
        };
        out.push_str(&atom);
        out.push_str(
            dice.one(&["", "", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}?", "{0}"]),
        );
    }
    if dice.below(4) == 0 {
        out.push('|');
        out.push_str(&expression(dice, depth + 1));
    }
    out
}

fn subject(dice: &mut Dice) -> String {
    (0..dice.below(9))
        .map(|_| dice.one(&["a", "b", "A", "é", "É", "_", "1", " ", "\n", "\u{212a}", "ſ", "-", "𝄞"]))
        .collect()
}

#[test]
fn random_expressions_mean_what_they_mean_to_opa() {
    let mut dice = Dice(7);
    let mut calls = Vec::new();
    for _ in 0..300 {
        let (expression, subject) = (expression(&mut dice, 0), subject(&mut dice));
        calls.push(("regex.match", json!([expression, subject]).to_string()));
        calls.push(("regex.find_all_string_submatch_n", json!([expression, subject, -1]).to_string()));
        calls.push(("regex.split", json!([expression, subject]).to_string()));
        calls.push(("regex.replace", json!([subject, expression, "<$1$2>"]).to_string()));
    }
    assert!(agree(&calls) > 900);
}

#[test]
fn random_texts_are_expressions_where_they_are_to_opa() {
    const PIECES: &[&str] = &[
        "a",
        "b",
        "(",
        "(",
        ")",
        ")",
        "[",
        "[",
        "]",
        "]",
        "{",
        "}",
        "*",
        "+",
        "?",
        "|",
        "^",
        "$",
        ".",
        "\\",
        "\\",
        "-",
        ",",
        ":",
        "1",
        "2",
        "d",
        "w",
        "p",
        "P",
        "z",
        "Q",
        "E",
        "x",
        "0",
        "(?",
        "(?:",
        "(?i",
        "(?P<",
        "<n>",
        "[:",
        "[:alpha:]",
        ":]",
        "{Lu}",
        "{1,2}",
        "{,2}",
        "&&",
        "~",
        "é",
        "\\b",
        "#",
        "=",
        "!",
        "/",
        " ",
        "C",
        "A",
        "{2}",
    ];
    let mut dice = Dice(11);
    let mut calls = Vec::new();
    for _ in 0..700 {
        let text: String = (0..=dice.below(7)).map(|_| dice.one(PIECES)).collect();
        calls.push(("regex.is_valid", json!([text]).to_string()));
        calls.push(("regex.find_n", json!([text, "ab(1]{2}-é\\", -1]).to_string()));
    }
    agree(&calls);
}

#[test]
fn random_globs_meet_where_they_do_for_opa() {
    let mut dice = Dice(13);
    let mut calls = Vec::new();
    let glob = |dice: &mut Dice| -> String {
        (0..=dice.below(4))
            .map(|_| {
                let token = dice.one(&["a", "b", ".", "[ab]", "[b-d]", "\\.", "c", "[]"]);
                format!("{token}{}", dice.one(&["", "", "*", "+"]))
            })
            .collect()
    };
    for _ in 0..500 {
        calls.push(("regex.globs_match", json!([glob(&mut dice), glob(&mut dice)]).to_string()));
    }
    assert!(agree(&calls) == calls.len());
}
