//! What nobody minted is never taken, whatever it looks like.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_text_is_no_token(text in "[A-Za-z0-9_.=-]{0,200}") {
        prop_assert!(World::access().verify_text(&text).is_err());
    }

    #[test]
    fn a_random_header_and_payload_under_a_true_signature_never_panic(header in any::<String>(), claims in any::<String>()) {
        let world = World::access();
        prop_assert!(world.verify_text(&world.signer.mint(&header, &claims)).is_err());
    }

    #[test]
    fn one_changed_byte_breaks_a_token(place in any::<prop::sample::Index>(), other in "[A-Za-z0-9_.=-]") {
        let world = World::access();
        let mut token = world.signer.mint(&world.header.to_string(), &world.claims.to_string());
        let place = place.index(token.len());
        prop_assume!(token.get(place..=place) != Some(other.as_str()));
        token.replace_range(place..=place, &other);
        prop_assert!(world.verify_text(&token).is_err());
    }

    #[test]
    fn random_keys_are_refused_or_ignored(document in r#"\{"keys":\[\{("(kty|use|alg|crv|x|y|n|e|kid)":("(RSA|EC|OKP|oct|P-256|Ed25519|sig|AQAB)"|1|null|\[\]),?){0,6}\}\]\}"#) {
        prop_assert!(KeySet::parse(document.as_bytes()).is_err());
    }
}
