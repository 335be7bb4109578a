use super::*;

// Written by `openssl genpkey` for these tests; they sign nothing else.
const ED25519_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VwBCIEIDhE+aRN6wom4d6sRSHthT/12r7/mvMZbwmAAMGCTtB7\n\
-----END PRIVATE KEY-----";
const ED25519_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MCowBQYDK2VwAyEAghNqWGcHJd1+phK36cSbPEFY5q+J+hvNUqNIFUj+1lo=\n\
-----END PUBLIC KEY-----";
const P256_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgepWd/knxnZhW7cqc\n\
cuaVxr8zAU+dvRdXGktg3pQY/oahRANCAASqDBrQ66/sCNcMmaQQn/TOXV8W6JYA\n\
KptDsDcALG71JRqTmAbgr+6BbMDUO4US106aqV6sXidPZw4GpoTKo+GD\n\
-----END PRIVATE KEY-----";
const P256_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqgwa0Ouv7AjXDJmkEJ/0zl1fFuiW\n\
ACqbQ7A3ACxu9SUak5gG4K/ugWzA1DuFEtdOmqlerF4nT2cOBqaEyqPhgw==\n\
-----END PUBLIC KEY-----";

fn check(private: &str, public: &str, algorithm: &str) {
    let signer = signer_from_pem(private.as_bytes()).unwrap();
    let key = VerifyingKey::from_pem(public.as_bytes()).unwrap();
    assert_eq!(signer.verifying_key(), &key);
    assert_eq!(key.algorithm(), algorithm);
    let signature = signer.sign(b"text").unwrap();
    assert_eq!(key.verify(b"text", &signature), Ok(()));
    assert_eq!(key.verify(b"texT", &signature), Err(KeyError::Signature));
    let vkey = key.to_vkey("example.org/audit");
    assert_eq!(VerifyingKey::from_vkey(&vkey), Ok(("example.org/audit".to_owned(), key)));
}

#[test]
fn keys_as_openssl_writes_them_sign_and_verify() {
    check(ED25519_PRIVATE, ED25519_PUBLIC, "ed25519");
    check(P256_PRIVATE, P256_PUBLIC, "ecdsa-p256");
}

/// The example of golang.org/x/mod/sumdb/note: a verifier key and a signature made elsewhere.
#[test]
fn a_verifier_key_and_a_signature_of_the_go_implementation_are_accepted() {
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let (name, key) = VerifyingKey::from_vkey(vkey).unwrap();
    assert_eq!(key.to_vkey(&name), vkey);
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let signature =
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
    let bytes = STANDARD.decode(signature).unwrap();
    assert_eq!(bytes[..4], key.key_id(&name));
    assert_eq!(key.verify(text.as_bytes(), &bytes[4..]), Ok(()));
}

#[test]
fn what_is_no_key_is_refused_with_what_is_wrong() {
    for (pem, error) in [
        ("", KeyError::NoPem("PRIVATE KEY")),
        ("-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----", KeyError::Base64),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", KeyError::Unsupported),
        (
            "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----",
            KeyError::NoPem("PRIVATE KEY"),
        ),
    ] {
        assert_eq!(signer_from_pem(pem.as_bytes()).map(|_| ()), Err(error), "{pem}");
    }
    for (vkey, error) in [
        ("", KeyError::VerifierKey),
        ("name+00000000", KeyError::VerifierKey),
        ("PeterNeumann+c74f20a3+!!", KeyError::Base64),
        ("PeterNeumann+c74f20a3+A///", KeyError::Unsupported),
        ("PeterNeumann+00000000+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::KeyId),
    ] {
        assert_eq!(VerifyingKey::from_vkey(vkey), Err(error), "{vkey}");
    }
}
