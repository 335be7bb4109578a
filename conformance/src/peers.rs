//! Two other implementations, PyJWT and joserfc: what they mint we take, what we mint they take, and what is broken
//! nobody takes.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::kit::token::{NOW_S, Token, access, base64url, signer, stranger};
use crate::oracle::peer::tell;

const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

/// The folder with both libraries. Without one, prints the line by which the test is counted as skipped.
fn libraries() -> Option<PathBuf> {
    let module = postern_tests::peer("POSTERN_PYJWT")?;
    module.ancestors().nth(2).map(Path::to_path_buf)
}

fn ask(folder: &Path, question: &Value) -> Value {
    let mut python = Command::new("python3");
    python
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/jose.py"))
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    serde_json::from_str(&tell(python, question.to_string())).unwrap()
}

#[test]
fn what_other_implementations_mint_is_taken() {
    let Some(folder) = libraries() else { return };
    let minted = ask(&folder, &json!({"mint": {"claims": access().claims}}));
    let minted = minted.as_array().unwrap();
    assert_eq!(minted.len(), 2 * ALGORITHMS.len());
    for item in minted {
        let terms = access().keys(vec![item["jwk"].clone()]);
        let token = item["token"].as_str().unwrap();
        let claims = terms.verify_text(token).unwrap_or_else(|error| panic!("{item}: {error}"));
        assert_eq!(Value::Object(claims.members), access().claims, "{item}");
        let (body, _) = token.rsplit_once('.').unwrap();
        assert!(terms.verify_text(&format!("{body}.{}", base64url([0; 64]))).is_err(), "{item}");
    }
}

/// A token of each algorithm, right and broken in several ways: what is tried, whether it is right, by whom it is
/// verified with which key.
fn cases() -> Vec<(String, bool, Token, String)> {
    let mut cases = Vec::new();
    for algorithm in ALGORITHMS {
        let of = || access().signed_with(algorithm);
        let right = of().compact();
        let (body, signature) = right.rsplit_once('.').unwrap();
        let (header, _) = body.split_once('.').unwrap();
        let other_claims = base64url(of().claim("sub", json!("mallory")).claims.to_string());
        let length = of().signer.sign("x").len();
        let another = if algorithm == "ES384" { "ES256" } else { "ES384" };
        let broken = [
            ("other claims", format!("{header}.{other_claims}.{signature}")),
            ("no signature", format!("{body}.")),
            ("a signature of zeros", format!("{body}.{}", base64url(vec![0; length]))),
            ("half a signature", format!("{body}.{}", signature.get(..signature.len() / 4 * 2).unwrap())),
            (
                "another algorithm",
                of().signer.mint(&of().header("alg", json!(another)).header.to_string(), "{}"),
            ),
            ("none", {
                let header = base64url(of().header("alg", json!("none")).header.to_string());
                format!("{header}.{}.", base64url(of().claims.to_string()))
            }),
            ("another audience", of().claim("aud", json!("billing")).compact()),
            ("no audience", of().claim("aud", Value::Null).compact()),
            ("no end", of().claim("exp", Value::Null).compact()),
        ];
        cases.push((format!("{algorithm}: right"), true, of(), right.clone()));
        for (what, token) in broken {
            cases.push((format!("{algorithm}: {what}"), false, of(), token));
        }
    }
    let foreign = access().keys(vec![stranger().named("k1")]);
    cases.push(("another key".to_owned(), false, foreign, access().compact()));
    cases
}

#[test]
fn other_implementations_judge_tokens_as_we_do() {
    let Some(folder) = libraries() else { return };
    let cases = cases();
    let items: Vec<Value> = cases
        .iter()
        .map(|(_, _, terms, token)| {
            let jwk = terms.keys.as_ref().unwrap()["keys"][0].clone();
            json!({"alg": terms.header["alg"], "jwk": jwk, "token": token})
        })
        .collect();
    let verdicts = ask(&folder, &json!({"verify": items, "now": NOW_S}));
    let mut wrong = Vec::new();
    for ((what, right, terms, token), verdict) in cases.iter().zip(verdicts.as_array().unwrap()) {
        let ours = terms.verify_text(token);
        let agreed = ours.is_ok() == *right
            && ["pyjwt", "joserfc"].iter().all(|library| verdict[library].is_null() == *right);
        if !agreed {
            wrong.push(format!("{what}: {verdict}, ours {:?}", ours.err()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(cases.len(), 10 * ALGORITHMS.len() + 1);
    assert!(signer("ES256").jwk.get("d").is_none());
}
