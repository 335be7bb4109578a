//! Tokens at the boundary of the builtins; their cases are in `pki/cases/jwt.json`.
use crate::Value;
use crate::builtins::pki::testing::{check_cases, text};
use crate::builtins::testing::{Want, check, context};
use crate::builtins::{BuiltinError, lookup};

#[test]
fn tokens_are_decoded_verified_and_signed_as_opa_does() {
    check_cases(include_str!("../pki/cases/jwt.json"));
}

#[test]
fn a_signature_that_is_never_twice_the_same_verifies_here_and_at_opa() {
    for (algorithm, private, verify, public) in [
        ("ES256", "e256.private", "io.jwt.verify_es256", "e256"),
        ("ES512", "e521.private", "io.jwt.verify_es512", "e521"),
        ("PS256", "rsa.private", "io.jwt.verify_ps256", "rsa"),
        ("PS512", "rsa.private", "io.jwt.verify_ps512", "rsa"),
    ] {
        let header = Value::from(format!(r#"{{"alg":"{algorithm}"}}"#));
        let arguments = [header, Value::from("{}"), Value::from(text(private))];
        let sign = lookup("io.jwt.encode_sign_raw").unwrap();
        let token = (sign.call)(&mut context(), &arguments).unwrap().unwrap();
        let args: &'static str = serde_json::json!([token.as_str(), text(public)]).to_string().leak();
        check(&[(verify, args, Want::Value("true"))]);
    }
}

#[test]
fn what_costs_more_than_the_decision_may_ends_it() {
    let long = "a".repeat(1 << 20);
    let nested = format!("e30.{long}.");
    let many_keys = format!(r#"{{"keys":[{}]}}"#, vec![r#"{"kty":"oct","k":"AA"}"#; 1000].join(","));
    for (name, arguments) in [
        ("io.jwt.decode", vec![nested.as_str()]),
        ("io.jwt.verify_hs256", vec![nested.as_str(), "secret"]),
        ("io.jwt.verify_hs256", vec!["e30.e30.", long.as_str()]),
        ("io.jwt.verify_rs256", vec!["e30.e30.", long.as_str()]),
        ("io.jwt.verify_rs256", vec!["e30.e30.", many_keys.as_str()]),
        ("io.jwt.encode_sign_raw", vec!["{}", long.as_str(), r#"{"kty":"oct","k":"AA"}"#]),
    ] {
        let arguments: Vec<Value> = arguments.into_iter().map(Value::from).collect();
        let mut context = context();
        context.steps_left = 10_000;
        let outcome = (lookup(name).unwrap().call)(&mut context, &arguments);
        assert!(matches!(outcome, Err(BuiltinError::Budget(_))), "{name}: {outcome:?}");
    }
}

#[test]
fn a_large_exponent_of_a_large_key_ends_the_decision() {
    let n = format!("_{}", "x".repeat(199_999));
    let key = format!(r#"{{"kty":"RSA","n":"{n}","e":"f____w"}}"#);
    let arguments = [Value::from("eyJhbGciOiJSUzI1NiJ9.e30.AAAA"), Value::from(key)];
    let outcome = (lookup("io.jwt.verify_rs256").unwrap().call)(&mut context(), &arguments);
    assert!(matches!(outcome, Err(BuiltinError::Budget(_))), "{outcome:?}");
}
