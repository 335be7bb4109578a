//! The types of the builtins, one row each, as OPA declares them.
//!
//! `(string, [..any]) -> boolean` takes a string and an array of anything. `[number, string]` is an array of these two
//! items, `{"op": string, ..any: any}` an object with this member and others, `set<any>` a set, `string | null` one or the
//! other.
use super::kind::Type;
use super::notation;
use super::tree::{Key, Node};
use crate::Value;
use crate::ast::Str;
use std::sync::OnceLock;

/// The builtins by their names.
pub(crate) fn tree() -> &'static Node {
    static TREE: OnceLock<Node> = OnceLock::new();
    TREE.get_or_init(|| {
        let mut tree = Node::default();
        for (name, signature) in SIGNATURES {
            // A row that cannot be read would let every call pass: a test reads them all.
            tree.put(&path(name), notation::read(signature).unwrap_or(Type::Any));
        }
        tree
    })
}

fn path(name: &str) -> Vec<Key> {
    let key = |(index, part): (usize, &str)| {
        if index == 0 { Key::Var(Str::from(part)) } else { Key::Constant(Value::from(part)) }
    };
    name.split('.').enumerate().map(key).collect()
}

#[rustfmt::skip]
const SIGNATURES: &[(&str, &str)] = &[
    ("abs", "(number) -> number"),
    ("all", "([..any] | set<any>) -> boolean"),
    ("and", "(set<any>, set<any>) -> set<any>"),
    ("any", "([..any] | set<any>) -> boolean"),
    ("array.concat", "([..any], [..any]) -> [..any]"),
    ("array.flatten", "([..any]) -> [..any]"),
    ("array.reverse", "([..any]) -> [..any]"),
    ("array.slice", "([..any], number, number) -> [..any]"),
    ("base64.decode", "(string) -> string"),
    ("base64.encode", "(string) -> string"),
    ("base64.is_valid", "(string) -> boolean"),
    ("base64url.decode", "(string) -> string"),
    ("base64url.encode", "(string) -> string"),
    ("base64url.encode_no_pad", "(string) -> string"),
    ("bits.and", "(number, number) -> number"),
    ("bits.lsh", "(number, number) -> number"),
    ("bits.negate", "(number) -> number"),
    ("bits.or", "(number, number) -> number"),
    ("bits.rsh", "(number, number) -> number"),
    ("bits.xor", "(number, number) -> number"),
    ("cast_array", "(any) -> [..any]"),
    ("cast_boolean", "(any) -> boolean"),
    ("cast_null", "(any) -> null"),
    ("cast_object", "(any) -> {..any: any}"),
    ("cast_set", "(any) -> set<any>"),
    ("cast_string", "(any) -> string"),
    ("ceil", "(number) -> number"),
    ("concat", "(string, [..string] | set<string>) -> string"),
    ("contains", "(string, string) -> boolean"),
    ("count", "(string | [..any] | {..any: any} | set<any>) -> number"),
    ("crypto.hmac.equal", "(string, string) -> boolean"),
    ("crypto.hmac.md5", "(string, string) -> string"),
    ("crypto.hmac.sha1", "(string, string) -> string"),
    ("crypto.hmac.sha256", "(string, string) -> string"),
    ("crypto.hmac.sha512", "(string, string) -> string"),
    ("crypto.md5", "(string) -> string"),
    ("crypto.parse_private_keys", "(string) -> [..{..string: any}]"),
    ("crypto.sha1", "(string) -> string"),
    ("crypto.sha256", "(string) -> string"),
    ("crypto.x509.parse_and_verify_certificates", "(string) -> [boolean, [..{..string: any}]]"),
    ("crypto.x509.parse_and_verify_certificates_with_options", "(string, {..string: any}) -> [boolean, [..{..string: any}]]"),
    ("crypto.x509.parse_certificate_request", "(string) -> {..string: any}"),
    ("crypto.x509.parse_certificates", "(string) -> [..{..string: any}]"),
    ("crypto.x509.parse_keypair", "(string, string) -> {..string: any}"),
    ("crypto.x509.parse_rsa_private_key", "(string) -> {..string: any}"),
    ("div", "(number, number) -> number"),
    ("endswith", "(string, string) -> boolean"),
    ("eq", "(any, any) -> boolean"),
    ("equal", "(any, any) -> boolean"),
    ("floor", "(number) -> number"),
    ("format_int", "(number, number) -> string"),
    ("glob.match", "(string, null | [..string], string) -> boolean"),
    ("glob.quote_meta", "(string) -> string"),
    ("graph.reachable", "({..any: [..any] | set<any>}, [..any] | set<any>) -> set<any>"),
    ("graph.reachable_paths", "({..any: [..any] | set<any>}, [..any] | set<any>) -> set<[..any]>"),
    ("gt", "(any, any) -> boolean"),
    ("gte", "(any, any) -> boolean"),
    ("hex.decode", "(string) -> string"),
    ("hex.encode", "(string) -> string"),
    ("indexof", "(string, string) -> number"),
    ("indexof_n", "(string, string) -> [..number]"),
    ("internal.member_2", "(any, any) -> boolean"),
    ("internal.member_3", "(any, any, any) -> boolean"),
    ("internal.print", "([..set<any>])"),
    ("internal.template_string", "([..any]) -> string"),
    ("internal.test_case", "([..any])"),
    ("intersection", "(set<set<any>>) -> set<any>"),
    ("io.jwt.decode", "(string) -> [{..any: any}, {..any: any}, string]"),
    ("io.jwt.decode_verify", "(string, {..string: any}) -> [boolean, {..any: any}, {..any: any}]"),
    ("io.jwt.encode_sign", "({..string: any}, {..string: any}, {..string: any}) -> string"),
    ("io.jwt.encode_sign_raw", "(string, string, string) -> string"),
    ("io.jwt.verify_eddsa", "(string, string) -> boolean"),
    ("io.jwt.verify_es256", "(string, string) -> boolean"),
    ("io.jwt.verify_es384", "(string, string) -> boolean"),
    ("io.jwt.verify_es512", "(string, string) -> boolean"),
    ("io.jwt.verify_hs256", "(string, string) -> boolean"),
    ("io.jwt.verify_hs384", "(string, string) -> boolean"),
    ("io.jwt.verify_hs512", "(string, string) -> boolean"),
    ("io.jwt.verify_ps256", "(string, string) -> boolean"),
    ("io.jwt.verify_ps384", "(string, string) -> boolean"),
    ("io.jwt.verify_ps512", "(string, string) -> boolean"),
    ("io.jwt.verify_rs256", "(string, string) -> boolean"),
    ("io.jwt.verify_rs384", "(string, string) -> boolean"),
    ("io.jwt.verify_rs512", "(string, string) -> boolean"),
    ("is_array", "(any) -> boolean"),
    ("is_boolean", "(any) -> boolean"),
    ("is_null", "(any) -> boolean"),
    ("is_number", "(any) -> boolean"),
    ("is_object", "(any) -> boolean"),
    ("is_set", "(any) -> boolean"),
    ("is_string", "(any) -> boolean"),
    ("json.filter", "({..any: any}, [..string | [..any]] | set<string | [..any]>) -> {..any: any}"),
    ("json.is_valid", "(string) -> boolean"),
    ("json.marshal", "(any) -> string"),
    ("json.marshal_with_options", "(any, {\"indent\": string, \"prefix\": string, \"pretty\": boolean, ..string: any}) -> string"),
    ("json.match_schema", "(string | {..any: any}, string | {..any: any}) -> [boolean, [..{\"desc\": string, \"error\": string, \"field\": string, \"type\": string}]]"),
    ("json.patch", "(any, [..{\"op\": string, \"path\": any, ..any: any}]) -> any"),
    ("json.remove", "({..any: any}, [..string | [..any]] | set<string | [..any]>) -> {..any: any}"),
    ("json.unmarshal", "(string) -> any"),
    ("json.verify_schema", "(string | {..any: any}) -> [boolean, null | string]"),
    ("lower", "(string) -> string"),
    ("lt", "(any, any) -> boolean"),
    ("lte", "(any, any) -> boolean"),
    ("max", "([..any] | set<any>) -> any"),
    ("min", "([..any] | set<any>) -> any"),
    ("minus", "(number | set<any>, number | set<any>) -> number | set<any>"),
    ("mul", "(number, number) -> number"),
    ("neq", "(any, any) -> boolean"),
    ("net.cidr_contains", "(string, string) -> boolean"),
    ("net.cidr_contains_matches", "(string | [..string | [..any]] | {..string: string | [..any]} | set<string | [..any]>, string | [..string | [..any]] | {..string: string | [..any]} | set<string | [..any]>) -> set<[any, any]>"),
    ("net.cidr_expand", "(string) -> set<string>"),
    ("net.cidr_intersects", "(string, string) -> boolean"),
    ("net.cidr_is_valid", "(string) -> boolean"),
    ("net.cidr_merge", "([..string] | set<string>) -> set<string>"),
    ("net.cidr_overlap", "(string, string) -> boolean"),
    ("numbers.range", "(number, number) -> [..number]"),
    ("numbers.range_step", "(number, number, number) -> [..number]"),
    ("object.filter", "({..any: any}, [..any] | {..any: any} | set<any>) -> {..any: any}"),
    ("object.get", "({..any: any}, any, any) -> any"),
    ("object.keys", "({..any: any}) -> set<any>"),
    ("object.remove", "({..any: any}, [..any] | {..any: any} | set<any>) -> {..any: any}"),
    ("object.subset", "([..any] | {..any: any} | set<any>, [..any] | {..any: any} | set<any>) -> boolean"),
    ("object.union", "({..any: any}, {..any: any}) -> {..any: any}"),
    ("object.union_n", "([..{..any: any}]) -> {..any: any}"),
    ("opa.runtime", "() -> {..string: any}"),
    ("or", "(set<any>, set<any>) -> set<any>"),
    ("plus", "(number, number) -> number"),
    ("product", "([..number] | set<number>) -> number"),
    ("rand.intn", "(string, number) -> number"),
    ("re_match", "(string, string) -> boolean"),
    ("regex.find_all_string_submatch_n", "(string, string, number) -> [..[..string]]"),
    ("regex.find_n", "(string, string, number) -> [..string]"),
    ("regex.globs_match", "(string, string) -> boolean"),
    ("regex.is_valid", "(string) -> boolean"),
    ("regex.match", "(string, string) -> boolean"),
    ("regex.replace", "(string, string, string) -> string"),
    ("regex.split", "(string, string) -> [..string]"),
    ("regex.template_match", "(string, string, string, string) -> boolean"),
    ("rem", "(number, number) -> number"),
    ("replace", "(string, string, string) -> string"),
    ("round", "(number) -> number"),
    ("semver.compare", "(string, string) -> number"),
    ("semver.is_valid", "(any) -> boolean"),
    ("set_diff", "(set<any>, set<any>) -> set<any>"),
    ("sort", "([..any] | set<any>) -> [..any]"),
    ("split", "(string, string) -> [..string]"),
    ("sprintf", "(string, [..any]) -> string"),
    ("startswith", "(string, string) -> boolean"),
    ("strings.any_prefix_match", "(string | [..string] | set<string>, string | [..string] | set<string>) -> boolean"),
    ("strings.any_suffix_match", "(string | [..string] | set<string>, string | [..string] | set<string>) -> boolean"),
    ("strings.count", "(string, string) -> number"),
    ("strings.render_template", "(string, {..string: any}) -> string"),
    ("strings.replace_n", "({..string: string}, string) -> string"),
    ("strings.reverse", "(string) -> string"),
    ("strings.split_n", "(string, string, number) -> [..string]"),
    ("substring", "(string, number, number) -> string"),
    ("sum", "([..number] | set<number>) -> number"),
    ("time.add_date", "(number, number, number, number) -> number"),
    ("time.clock", "(number | [number, string]) -> [number, number, number]"),
    ("time.date", "(number | [number, string]) -> [number, number, number]"),
    ("time.diff", "(number | [number, string], number | [number, string]) -> [number, number, number, number, number, number]"),
    ("time.format", "(number | [number, string] | [number, string, string]) -> string"),
    ("time.now_ns", "() -> number"),
    ("time.parse_duration_ns", "(string) -> number"),
    ("time.parse_ns", "(string, string) -> number"),
    ("time.parse_rfc3339_ns", "(string) -> number"),
    ("time.weekday", "(number | [number, string]) -> string"),
    ("to_number", "(null | boolean | number | string) -> number"),
    ("trim", "(string, string) -> string"),
    ("trim_left", "(string, string) -> string"),
    ("trim_prefix", "(string, string) -> string"),
    ("trim_right", "(string, string) -> string"),
    ("trim_space", "(string) -> string"),
    ("trim_suffix", "(string, string) -> string"),
    ("type_name", "(any) -> string"),
    ("union", "(set<set<any>>) -> set<any>"),
    ("units.parse", "(string) -> number"),
    ("units.parse_bytes", "(string) -> number"),
    ("upper", "(string) -> string"),
    ("uri.is_valid", "(string) -> boolean"),
    ("uri.parse", "(string) -> {..string: string}"),
    ("urlquery.decode", "(string) -> string"),
    ("urlquery.decode_object", "(string) -> {..string: [..string]}"),
    ("urlquery.encode", "(string) -> string"),
    ("urlquery.encode_object", "({..string: string | [..string] | set<string>}) -> string"),
    ("uuid.parse", "(string) -> {..string: any}"),
    ("uuid.rfc4122", "(string) -> string"),
    ("walk", "(any) -> [[..any], any]"),
    ("yaml.is_valid", "(string) -> boolean"),
    ("yaml.marshal", "(any) -> string"),
    ("yaml.unmarshal", "(string) -> any"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtins;

    fn at(name: &str) -> Option<&'static Type> {
        let mut node = tree();
        for key in path(name) {
            node = node.children.get(&key)?;
        }
        node.value.as_ref()
    }

    #[test]
    fn every_builtin_has_a_signature_of_its_arity() {
        for builtin in builtins::all() {
            let Some(Type::Function(function)) = at(builtin.name) else {
                panic!("{} has no signature", builtin.name)
            };
            assert_eq!(function.args.len(), builtin.arity, "{}", builtin.name);
            assert!(function.result.is_some(), "{}", builtin.name);
        }
    }

    #[test]
    fn every_signature_is_of_a_function_that_exists() {
        let compiled = ["eq", "walk", "internal.print", "internal.test_case"];
        for (name, signature) in SIGNATURES {
            assert!(builtins::lookup(name).is_some() || compiled.contains(name), "{name}");
            assert!(matches!(notation::read(signature), Some(Type::Function(_))), "{name}: {signature}");
        }
    }

    /// What OPA says of its own builtins.
    #[test]
    #[expect(clippy::print_stdout, reason = "what is left out must be seen")]
    fn signatures_are_those_that_opa_declares() {
        let Some(opa) = std::env::var_os("POSTERN_OPA") else {
            println!("SKIPPED signatures_are_those_that_opa_declares: POSTERN_OPA is not set");
            return;
        };
        let output = std::process::Command::new(opa).args(["capabilities", "--current"]).output().unwrap();
        let declared = Value::from_json(&String::from_utf8(output.stdout).unwrap()).unwrap();
        let declared = declared.member("builtins").and_then(Value::as_array).unwrap();
        let mut compared = 0;
        for builtin in declared {
            let name = builtin.member("name").and_then(Value::as_str).unwrap();
            if let Some(have) = at(name) {
                assert_eq!(*have, of_declaration(builtin.member("decl").unwrap()), "{name}");
                compared += 1;
            }
        }
        assert_eq!(compared, SIGNATURES.len());
    }

    fn list(value: &Value, name: &str) -> Vec<Type> {
        value.member(name).and_then(Value::as_array).unwrap_or_default().iter().map(of_declaration).collect()
    }

    fn of_declaration(value: &Value) -> Type {
        let one = |name: &str| value.member(name).map(of_declaration);
        let known = |types: Vec<Type>| types.into_iter().map(Some).collect();
        match value.member("type").and_then(Value::as_str).unwrap() {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "number" => Type::Number,
            "string" => Type::String,
            "any" if value.member("of").is_none() => Type::Any,
            "any" => match list(value, "of").as_slice() {
                [one] => one.clone(),
                types => Type::one_of(types.iter().cloned()),
            },
            "array" => Type::array(known(list(value, "static")), one("dynamic")),
            "set" => Type::set(one("of")),
            "function" => Type::function(known(list(value, "args")), one("result")),
            "object" => {
                let members = value.member("static").and_then(Value::as_array).unwrap_or_default().iter();
                let member = |one: &Value| {
                    (one.member("key").unwrap().clone(), one.member("value").map(of_declaration))
                };
                let rest = value.member("dynamic").map(|rest| {
                    (rest.member("key").map(of_declaration), rest.member("value").map(of_declaration))
                });
                Type::object(members.map(member).collect(), rest)
            }
            other => panic!("{other}"),
        }
    }
}
