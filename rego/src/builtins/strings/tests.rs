//! Rows of the `strings` builtins.
use crate::builtins::testing::{Want, check};

#[test]
fn strings_are_searched_as_opa_does() {
    check(&[
        ("startswith", r#"["abc", "ab"]"#, Want::Value("true")),
        ("startswith", r#"["abc", "b"]"#, Want::Value("false")),
        ("startswith", r#"["abc", ""]"#, Want::Value("true")),
        ("startswith", r#"[1, "b"]"#, Want::TypeError),
        ("endswith", r#"["abc", "bc"]"#, Want::Value("true")),
        ("endswith", r#"["abc", "abcd"]"#, Want::Value("false")),
        ("endswith", r#"["abc", null]"#, Want::TypeError),
        ("contains", r#"["abc", "b"]"#, Want::Value("true")),
        ("contains", r#"["abc", ""]"#, Want::Value("true")),
        ("contains", r#"["", "a"]"#, Want::Value("false")),
        ("contains", r#"[["a"], "a"]"#, Want::TypeError),
        ("indexof", r#"["äbc", "c"]"#, Want::Value("2")),
        ("indexof", r#"["abc", "x"]"#, Want::Value("-1")),
        ("indexof", r#"["abc", ""]"#, Want::Failed),
        ("indexof", r#"["", "a"]"#, Want::Value("-1")),
        ("indexof", r#"["𝄞é", "é"]"#, Want::Value("1")),
        ("indexof_n", r#"["aaaa", "aa"]"#, Want::Value("[0, 1, 2]")),
        ("indexof_n", r#"["äbäbäbä", "äbä"]"#, Want::Value("[0, 2, 4]")),
        ("indexof_n", r#"["abaababaab", "abaab"]"#, Want::Value("[0, 5]")),
        ("indexof_n", r#"["abc", "x"]"#, Want::Value("[]")),
        ("indexof_n", r#"["abc", ""]"#, Want::Failed),
        ("strings.count", r#"["aaaa", "aa"]"#, Want::Value("2")),
        ("strings.count", r#"["äb", ""]"#, Want::Value("3")),
        ("strings.count", r#"["", ""]"#, Want::Value("1")),
        ("strings.count", r#"["", "a"]"#, Want::Value("0")),
    ]);
}

#[test]
fn any_of_several_may_begin_or_end() {
    check(&[
        ("strings.any_prefix_match", r#"["abc", "ab"]"#, Want::Value("true")),
        ("strings.any_prefix_match", r#"[["xyz", "abc"], ["q", "ab"]]"#, Want::Value("true")),
        ("strings.any_prefix_match", r#"[["ab", "abd"], ["abc"]]"#, Want::Value("false")),
        ("strings.any_prefix_match", r#"[{"$set": ["a", "b"]}, {"$set": ["b", "c"]}]"#, Want::Value("true")),
        ("strings.any_prefix_match", r#"[[], ["a"]]"#, Want::Value("false")),
        ("strings.any_prefix_match", r#"[["a"], []]"#, Want::Value("false")),
        ("strings.any_prefix_match", r#"[["a", ""], [""]]"#, Want::Value("true")),
        ("strings.any_prefix_match", r#"[["", "b"], ["a", ""]]"#, Want::Value("true")),
        ("strings.any_prefix_match", r#"["", ""]"#, Want::Value("true")),
        ("strings.any_prefix_match", r#"[["a", 1], ["a"]]"#, Want::TypeError),
        ("strings.any_prefix_match", r#"["a", 1]"#, Want::TypeError),
        ("strings.any_prefix_match", r#"[{}, "a"]"#, Want::TypeError),
        ("strings.any_suffix_match", r#"["abc", "bc"]"#, Want::Value("true")),
        ("strings.any_suffix_match", r#"[["xäy", "abc"], ["q", "äy"]]"#, Want::Value("true")),
        ("strings.any_suffix_match", r#"[["bc"], ["abc", "c d"]]"#, Want::Value("false")),
        ("strings.any_suffix_match", r#"["a", [null]]"#, Want::TypeError),
    ]);
}

#[test]
fn case_changes_character_by_character() {
    check(&[
        ("lower", r#"["ÄBC"]"#, Want::Value(r#""äbc""#)),
        ("lower", r#"["İΣΑΣ"]"#, Want::Value(r#""iσασ""#)),
        ("upper", r#"["äßŉǰﬁ"]"#, Want::Value(r#""Äßŉǰﬁ""#)),
        ("upper", r#"["ᾀᾳῃῳᾈ"]"#, Want::Value(r#""ᾈᾼῌῼᾈ""#)),
        ("upper", r#"["ƛɤ"]"#, Want::Value(r#""ƛɤ""#)),
        ("upper", "[1]", Want::TypeError),
        ("lower", "[{}]", Want::TypeError),
    ]);
}

#[test]
fn strings_are_joined_and_split() {
    check(&[
        ("concat", r#"[", ", ["a", "b", "c"]]"#, Want::Value(r#""a, b, c""#)),
        ("concat", r#"["-", {"$set": ["b", "a"]}]"#, Want::Value(r#""a-b""#)),
        ("concat", r#"["", ["a", "b"]]"#, Want::Value(r#""ab""#)),
        ("concat", r#"["x", []]"#, Want::Value(r#""""#)),
        ("concat", r#"["x", ["a"]]"#, Want::Value(r#""a""#)),
        ("concat", r#"["x", {"$set": []}]"#, Want::Value(r#""""#)),
        ("concat", r#"["x", [1]]"#, Want::TypeError),
        ("concat", r#"["x", ["a", 1]]"#, Want::TypeError),
        ("concat", r#"["x", {"$set": ["a", 1]}]"#, Want::TypeError),
        ("concat", r#"["x", {"a": "b"}]"#, Want::TypeError),
        ("concat", r#"[1, []]"#, Want::TypeError),
        ("split", r#"["a,b,,c", ","]"#, Want::Value(r#"["a", "b", "", "c"]"#)),
        ("split", r#"["abc", "x"]"#, Want::Value(r#"["abc"]"#)),
        ("split", r#"["", "x"]"#, Want::Value(r#"[""]"#)),
        ("split", r#"["äbc", ""]"#, Want::Value(r#"["ä", "b", "c"]"#)),
        ("split", r#"["", ""]"#, Want::Value("[]")),
        ("split", r#"["aaa", "aa"]"#, Want::Value(r#"["", "a"]"#)),
        ("split", r#"["a", 1]"#, Want::TypeError),
        ("strings.split_n", r#"["a.b.c", ".", 2]"#, Want::Value(r#"["a", "b"]"#)),
        ("strings.split_n", r#"["a.b.c", ".", -2]"#, Want::Value(r#"["b", "c"]"#)),
        ("strings.split_n", r#"["a.b.c", ".", 0]"#, Want::Value("[]")),
        ("strings.split_n", r#"["a.b.c", ".", 9223372036854775807]"#, Want::Value(r#"["a", "b", "c"]"#)),
        ("strings.split_n", r#"["a.b.c", ".", -9223372036854775808]"#, Want::Value(r#"["a", "b", "c"]"#)),
        ("strings.split_n", r#"["äbc", "", 2]"#, Want::Value(r#"["ä", "b"]"#)),
        ("strings.split_n", r#"["", "", 2]"#, Want::Value("[]")),
        ("strings.split_n", r#"["", ".", -1]"#, Want::Value(r#"[""]"#)),
        ("strings.split_n", r#"["a", ".", 1.5]"#, Want::TypeError),
    ]);
}

#[test]
fn parts_are_cut_out_by_characters() {
    check(&[
        ("substring", r#"["abcdef", 2, 3]"#, Want::Value(r#""cde""#)),
        ("substring", r#"["äöü", 1, 1]"#, Want::Value(r#""ö""#)),
        ("substring", r#"["äöü", 1, -1]"#, Want::Value(r#""öü""#)),
        ("substring", r#"["abc", 5, 1]"#, Want::Value(r#""""#)),
        ("substring", r#"["", 5, 1]"#, Want::Value(r#""""#)),
        ("substring", r#"["abc", 0, 9223372036854775807]"#, Want::Value(r#""abc""#)),
        ("substring", r#"["abc", 1, 0]"#, Want::Value(r#""""#)),
        ("substring", r#"["abc", -1, 1]"#, Want::Failed),
        ("substring", r#"["", -1, 1]"#, Want::Failed),
        ("substring", r#"["abc", 1.0, 1]"#, Want::TypeError),
        ("substring", r#"["abc", 1, 9223372036854775807]"#, Want::Budget),
        ("trim", r#"["xyaäx", "xä"]"#, Want::Value(r#""ya""#)),
        ("trim", r#"["abc", ""]"#, Want::Value(r#""abc""#)),
        ("trim_left", r#"["..a..", "."]"#, Want::Value(r#""a..""#)),
        ("trim_right", r#"["..a..", ".b"]"#, Want::Value(r#""..a""#)),
        ("trim_prefix", r#"["aab", "a"]"#, Want::Value(r#""ab""#)),
        ("trim_prefix", r#"["aab", "b"]"#, Want::Value(r#""aab""#)),
        ("trim_suffix", r#"["abb", "b"]"#, Want::Value(r#""ab""#)),
        ("trim_suffix", r#"["abb", ""]"#, Want::Value(r#""abb""#)),
        ("trim_space", r#"["\t\u000b\u0085\u00a0\u2003a b\u3000\n"]"#, Want::Value(r#""a b""#)),
        ("trim_space", r#"["\u200ba\u2060"]"#, Want::Value(r#""\u200ba\u2060""#)),
        ("trim", "[1, \"a\"]", Want::TypeError),
        ("trim_space", "[1]", Want::TypeError),
        ("strings.reverse", r#"["äbc𝄞"]"#, Want::Value(r#""𝄞cbä""#)),
        ("strings.reverse", "[[]]", Want::TypeError),
    ]);
}

#[test]
fn patterns_are_replaced_at_each_place_in_their_order() {
    check(&[
        ("replace", r#"["aaa", "aa", "b"]"#, Want::Value(r#""ba""#)),
        ("replace", r#"["abc", "", "-"]"#, Want::Value(r#""-a-b-c-""#)),
        ("replace", r#"["", "", "-"]"#, Want::Value(r#""-""#)),
        ("replace", r#"["é", "é", "ab"]"#, Want::Value(r#""ab""#)),
        ("replace", r#"["é", "", ""]"#, Want::Value(r#""é""#)),
        ("replace", r#"["é", "", "-"]"#, Want::Budget),
        ("replace", r#"["a", "a", 1]"#, Want::TypeError),
        ("strings.replace_n", r#"[{"<": "&lt;", ">": "&gt;"}, "<b>"]"#, Want::Value(r#""&lt;b&gt;""#)),
        ("strings.replace_n", r#"[{"a": "1", "aa": "2", "b": "a"}, "aab"]"#, Want::Value(r#""11a""#)),
        (
            "strings.replace_n",
            r#"[{"abc": "1", "abd": "2", "b": "3"}, "abx abd"]"#,
            Want::Value(r#""a3x 2""#),
        ),
        ("strings.replace_n", r#"[{"": "-", "a": "b"}, "aca"]"#, Want::Value(r#""-b-c-b-""#)),
        ("strings.replace_n", r#"[{}, "abc"]"#, Want::Value(r#""abc""#)),
        ("strings.replace_n", r#"[{"a": 1}, "abc"]"#, Want::TypeError),
        ("strings.replace_n", r#"[["a"], "abc"]"#, Want::TypeError),
    ]);
}

#[test]
fn whole_numbers_are_written_to_a_base() {
    check(&[
        ("format_int", "[10, 2]", Want::Value(r#""1010""#)),
        ("format_int", "[-255, 16]", Want::Value(r#""-ff""#)),
        ("format_int", "[15.9, 16]", Want::Value(r#""f""#)),
        ("format_int", "[-15.9, 8]", Want::Value(r#""-17""#)),
        ("format_int", "[-0.5, 10]", Want::Value(r#""0""#)),
        ("format_int", "[18446744073709551617, 10]", Want::Value(r#""18446744073709551617""#)),
        (
            "format_int",
            "[18446744073709551617, 2]",
            Want::Value(r#""10000000000000000000000000000000000000000000000000000000000000001""#),
        ),
        ("format_int", "[1e30, 10]", Want::Value(r#""1000000000000000000024696061952""#)),
        ("format_int", "[10, 3]", Want::TypeError),
        ("format_int", "[10, 2.0]", Want::TypeError),
        ("format_int", r#"["10", 10]"#, Want::TypeError),
    ]);
}

#[test]
fn a_template_string_joins_scalars_and_sets_of_at_most_one() {
    check(&[
        (
            "internal.template_string",
            r#"[["a", 1.50, true, null, {"$set": []}, {"$set": ["b"]}]]"#,
            Want::Value(r#""a1.50truenull<undefined>b""#),
        ),
        (
            "internal.template_string",
            r#"[[{"$set": [["x", 1]]}, {"$set": [{"$set": []}]}]]"#,
            Want::Value(r#""[\"x\", 1]set()""#),
        ),
        ("internal.template_string", "[[]]", Want::Value(r#""""#)),
        ("internal.template_string", r#"[[{"$set": [1, 2]}]]"#, Want::Budget),
        ("internal.template_string", "[[[1]]]", Want::Budget),
        ("internal.template_string", r#"["a"]"#, Want::TypeError),
    ]);
}

#[test]
fn what_would_be_too_long_ends_the_decision() {
    use crate::Value;
    use crate::builtins::testing::context;
    use crate::builtins::{BuiltinError, lookup};
    let long = Value::from("a".repeat(100_000));
    for (name, args) in [
        ("replace", vec![long.clone(), Value::from("a"), long.clone()]),
        ("concat", vec![long.clone(), Value::array(vec![Value::from(""); 1000])]),
        ("strings.replace_n", vec![Value::object([(Value::from("a"), long.clone())]), long]),
    ] {
        let answer = (lookup(name).unwrap().call)(&mut context(), &args);
        assert!(matches!(answer, Err(BuiltinError::Budget(_))), "{name}");
    }
}
