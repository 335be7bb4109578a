use super::*;

#[track_caller]
fn check(text: &str, expected: Result<(&str, &str), IdError>) {
    let parsed = text.parse::<SpiffeId>();
    let seen = parsed.as_ref().map(|id| (id.trust_domain().as_str(), id.path())).map_err(|error| *error);
    assert_eq!(seen, expected, "{text}");
    if let Ok(id) = &parsed {
        assert_eq!(id.as_str(), text);
        assert_eq!(id.to_string(), text);
    }
}

#[test]
fn a_well_formed_id_is_taken_as_it_is_written() {
    check("spiffe://example.org", Ok(("example.org", "")));
    check("spiffe://example.org/a", Ok(("example.org", "/a")));
    check("spiffe://a/b/C/d-e_f.g", Ok(("a", "/b/C/d-e_f.g")));
    check("spiffe://a/.../.x/x.", Ok(("a", "/.../.x/x.")));
    check("spiffe://1.2.3.4/a", Ok(("1.2.3.4", "/a")));
    check("spiffe://a_b-c.d/spiffe-x", Ok(("a_b-c.d", "/spiffe-x")));
}

#[test]
fn the_scheme_is_spiffe_in_lower_case() {
    for text in [
        "",
        "spiffe",
        "spiffe:",
        "spiffe:/",
        "spiffe:/a/b",
        "SPIFFE://a/b",
        "Spiffe://a/b",
        "https://a/b",
        " spiffe://a/b",
        "//a/b",
        "a/b",
        "spife://a/b",
    ] {
        check(text, Err(IdError::Scheme));
    }
}

#[test]
fn a_trust_domain_has_only_its_own_characters() {
    check("spiffe://", Err(IdError::TrustDomainEmpty));
    check("spiffe:///a", Err(IdError::TrustDomainEmpty));
    for (text, foreign) in [
        ("spiffe://Example.org/a", 'E'),
        ("spiffe://user@a/b", '@'),
        ("spiffe://a:443/b", ':'),
        ("spiffe://a%2eb/c", '%'),
        ("spiffe://a?q", '?'),
        ("spiffe://a#f", '#'),
        ("spiffe://[::1]/a", '['),
        ("spiffe://a\0", '\0'),
        ("spiffe://ä/b", 'ä'),
        ("spiffe://a b/c", ' '),
    ] {
        check(text, Err(IdError::TrustDomainCharacter(foreign)));
    }
}

#[test]
fn a_path_has_only_whole_segments_of_its_own_characters() {
    check("spiffe://a/", Err(IdError::TrailingSlash));
    check("spiffe://a/b/", Err(IdError::TrailingSlash));
    check("spiffe://a//b", Err(IdError::EmptySegment));
    check("spiffe://a/b//c", Err(IdError::EmptySegment));
    check("spiffe://a/./b", Err(IdError::DotSegment));
    check("spiffe://a/b/..", Err(IdError::DotSegment));
    for (text, foreign) in [
        ("spiffe://a/b%2fc", '%'),
        ("spiffe://a/b?q", '?'),
        ("spiffe://a/b#f", '#'),
        ("spiffe://a/b:c", ':'),
        ("spiffe://a/b\0", '\0'),
        ("spiffe://a/b\n", '\n'),
        ("spiffe://a/ö", 'ö'),
        ("spiffe://a/b@c", '@'),
        ("spiffe://a/b\\c", '\\'),
    ] {
        check(text, Err(IdError::PathCharacter(foreign)));
    }
}

#[test]
fn every_ascii_character_is_judged_as_the_specification_lists_it() {
    for byte in 0..=127u8 {
        let c = char::from(byte);
        let in_domain = c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let in_path = in_domain || c.is_ascii_uppercase();
        let domain = format!("a{c}b");
        assert_eq!(domain.parse::<TrustDomain>().is_ok(), in_domain, "{c:?}");
        if c != '/' {
            let id = format!("spiffe://a/b{c}c").parse::<SpiffeId>();
            assert_eq!(id.is_ok(), in_path, "{c:?}");
        }
    }
}

#[test]
fn lengths_are_limited_to_the_byte() {
    let id = |bytes: usize| format!("spiffe://a/{}", "x".repeat(bytes - "spiffe://a/".len()));
    assert!(id(2048).parse::<SpiffeId>().is_ok());
    assert_eq!(id(2049).parse::<SpiffeId>(), Err(IdError::TooLong(2049)));
    assert!("d".repeat(255).parse::<TrustDomain>().is_ok());
    assert_eq!("d".repeat(256).parse::<TrustDomain>(), Err(IdError::TrustDomainTooLong(256)));
}

#[test]
fn paths_are_compared_with_their_case() {
    let lower: SpiffeId = "spiffe://a/b".parse().unwrap();
    let upper: SpiffeId = "spiffe://a/B".parse().unwrap();
    assert_ne!(lower, upper);
    assert_eq!(lower, lower.clone());
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_is_its_parts(text in "(spiffe|SPIFFE)://[a-zA-Z0-9._\\-:@%]{0,8}(/[a-zA-Z0-9._\\-%?#]{0,4}){0,4}") {
            if let Ok(id) = text.parse::<SpiffeId>() {
                prop_assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
                prop_assert!(id.path().is_empty() || id.path().starts_with('/'));
                let again: TrustDomain = id.trust_domain().as_str().parse().unwrap();
                prop_assert_eq!(&again, id.trust_domain());
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            prop_assert!(text.parse::<SpiffeId>().is_err() || text.starts_with("spiffe://"));
        }
    }
}
