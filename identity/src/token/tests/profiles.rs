//! Kinds of token besides the plain ones, and what a token says of others than its subject.

use super::*;

fn kubernetes() -> World {
    let mut world = World::new(Profile::KubernetesServiceAccount);
    world.header = json!({"alg": "ES256", "kid": "k1"});
    world.claims = json!({
        "iss": ISSUER, "aud": ["orders"], "sub": "system:serviceaccount:shop:cart", "jti": "1",
        "iat": NOW_S - 10, "nbf": NOW_S - 10, "exp": NOW_S + 3600,
        "kubernetes.io": {
            "namespace": "shop", "warnafter": NOW_S + 1800,
            "serviceaccount": {"name": "cart", "uid": "6d5b"},
            "pod": {"name": "cart-1", "uid": "77aa"}, "node": {"name": "n1"},
        },
    });
    world
}

/// One place in the claims replaced, or removed by `null`.
#[track_caller]
fn check_kubernetes(pointer: &str, value: Value, expected: Result<(), &str>) {
    check(
        kubernetes(),
        |world| {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let parent = world.claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            if value.is_null() {
                parent.remove(name)
            } else {
                parent.insert(name.to_owned(), value)
            };
        },
        expected,
    );
}

#[test]
fn a_service_accounts_token_describes_its_account() {
    check_kubernetes("/jti", json!("2"), Ok(()));
    for optional in ["pod", "node", "warnafter"] {
        check_kubernetes(&format!("/kubernetes.io/{optional}"), Value::Null, Ok(()));
    }
    check_kubernetes("/kubernetes.io/node/uid", json!("9"), Ok(()));
    let wrong = Err("token.claims");
    for missing in ["/kubernetes.io", "/aud", "/sub", "/iat", "/exp"] {
        check_kubernetes(missing, Value::Null, wrong);
    }
    for missing in ["namespace", "serviceaccount", "serviceaccount/name", "serviceaccount/uid", "pod/uid"] {
        check_kubernetes(&format!("/kubernetes.io/{missing}"), Value::Null, wrong);
    }
    for place in [
        "namespace",
        "serviceaccount",
        "serviceaccount/uid",
        "pod",
        "node",
        "node/uid",
        "secret",
        "warnafter",
    ] {
        for value in [json!([]), json!(""), json!(-1)] {
            check_kubernetes(&format!("/kubernetes.io/{place}"), value, wrong);
        }
    }
    check_kubernetes("/kubernetes.io", json!("shop"), wrong);
}

#[test]
fn a_service_accounts_subject_is_the_account_that_it_describes() {
    let wrong = Err("token.claims");
    for subject in [
        "system:serviceaccount:shop:admin",
        "system:serviceaccount:kube-system:cart",
        "system:serviceaccount:shop:cart:x",
        "cart",
    ] {
        check_kubernetes("/sub", json!(subject), wrong);
    }
    // `a:b` + `c` and `a` + `b:c` would be the same subject.
    check(
        kubernetes(),
        |world| {
            world.claims["kubernetes.io"]["namespace"] = json!("shop:x");
            world.claims["sub"] = json!("system:serviceaccount:shop:x:cart");
        },
        wrong,
    );
}

#[test]
fn a_service_accounts_token_lives_a_day_at_most() {
    check_kubernetes("/exp", json!(NOW_S - 10 + KUBERNETES_LIFETIME_S_DEFAULT), Ok(()));
    check_kubernetes("/exp", json!(NOW_S - 9 + KUBERNETES_LIFETIME_S_DEFAULT), Err("token.lifetime"));
    check(
        kubernetes(),
        |world| {
            world.claims["exp"] = json!(NOW_S - 10 + 2 * KUBERNETES_LIFETIME_S_DEFAULT);
            let issuer = world.issuers.pop().unwrap();
            world.issuers.push(issuer.with_lifetime_s_max(2 * KUBERNETES_LIFETIME_S_DEFAULT));
        },
        Ok(()),
    );
}

#[test]
fn a_service_accounts_token_has_no_other_type() {
    for (typ, expected) in [
        (Value::Null, Ok(())),
        (json!("JWT"), Ok(())),
        (json!("at+jwt"), Err("token.type")),
        (json!("dpop+jwt"), Err("token.type")),
    ] {
        check_header(kubernetes(), "typ", typ, expected);
    }
}

#[test]
fn the_issuer_of_a_jwt_svid_is_not_what_it_says() {
    let mut world = World::access();
    world.header = json!({"alg": "ES256", "kid": "k1"});
    let claims = json!({"sub": "spiffe://example.org/web", "aud": ["orders"], "exp": NOW_S + 60});
    for iss in [Value::Null, json!("https://elsewhere.example"), json!("anybody")] {
        world.claims = claims.clone();
        if !iss.is_null() {
            world.claims["iss"] = iss;
        }
        let claims = world.verify().unwrap();
        assert_eq!((claims.issuer.as_str(), claims.trust_domain), ("spire", Some(domain("example.org"))));
    }
    world.claims = claims;
    world.claims["iss"] = json!(7);
    assert_eq!(world.verify().map_err(|error| error.code()).err(), Some("token.claims"));
    assert_eq!(World::access().verify().unwrap().trust_domain, None);
}

#[test]
fn a_chain_of_actors_has_an_end() {
    let actors = |count: usize| (1..count).fold(json!({"sub": "a"}), |inner, _| json!({"act": inner}));
    check_claim("act", actors(8), Ok(()));
    check_claim("act", actors(9), Err("token.claims"));
    for value in [json!("a"), json!([]), json!(1), json!({"act": "a"}), json!({"act": {"act": []}})] {
        check_claim("act", value, Err("token.claims"));
    }
}
