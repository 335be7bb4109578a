use super::*;

#[track_caller]
fn check(constraint: &str, host: &str, permits: bool, excludes: bool) {
    let rule = Host::read(constraint.as_bytes());
    assert_eq!((rule.permits(host), rule.excludes(host)), (permits, excludes), "{constraint} {host}");
}

#[test]
fn a_constraint_names_one_host_or_those_below_a_domain() {
    check("example.org", "example.org", true, true);
    check("EXAMPLE.org", "example.org", true, true);
    check("example.org", "a.example.org", false, false);
    check(".example.org", "a.example.org", true, true);
    check(".example.org", "b.a.example.org", true, true);
    check(".example.org", "example.org", false, false);
    check(".example.org", "evilexample.org", false, false);
    check("example.org", "evilexample.org", false, false);
}

#[test]
fn what_is_no_host_permits_nothing_and_excludes_everything() {
    for constraint in
        ["", ".", "..example.org", "example..org", "spiffe://example.org", "a:1", "a/b", "ä", "*"]
    {
        check(constraint, "example.org", false, true);
    }
    assert_eq!(Host::read(&[0xff]), Host::Unreadable);
}

#[test]
fn the_host_of_a_uri_is_found_or_there_is_none() {
    assert_eq!(host("spiffe://example.org/a"), Some("example.org"));
    assert_eq!(host("spiffe://example.org"), Some("example.org"));
    assert_eq!(host("https://u:p@host.example:443/a?b#c"), Some("host.example"));
    for uri in ["urn:a:b", "spiffe:///a", "spiffe://1.2.3.4/a", "https://[::1]/", "https://u@/", ""] {
        assert_eq!(host(uri), None, "{uri}");
    }
}

#[test]
fn only_constraints_on_uris_are_taken_out() {
    let dns = der::wrap(0x30, &der::wrap(0x82, b"example.org"));
    let uri = |text: &[u8]| der::wrap(0x30, &der::wrap(URI, text));
    let content =
        [der::wrap(PERMITTED, &[dns.clone(), uri(b"a.org")].concat()), der::wrap(EXCLUDED, &uri(b".b.org"))]
            .concat();
    let (uris, rest) = UriConstraints::take_from(&content).unwrap();
    assert_eq!(uris.permitted, [Host::Exactly("a.org".to_owned())]);
    assert_eq!(uris.excluded, [Host::Below(".b.org".to_owned())]);
    assert_eq!(rest, Some(der::wrap(PERMITTED, &dns)));
    assert_eq!(UriConstraints::take_from(&der::wrap(PERMITTED, &uri(b"a.org"))).unwrap().1, None);
    assert!(UriConstraints::take_from(&der::wrap(0xa2, &[])).is_err());
    assert!(UriConstraints::take_from(&[0xa0, 5, 1]).is_err());
}

#[test]
fn elements_are_wrapped_with_lengths_of_every_size() {
    for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
        let content = vec![7; length];
        let wrapped = der::wrap(0x30, &content);
        let (found, rest) = der::element(&wrapped).unwrap();
        assert_eq!((found.tag, found.content, found.whole, rest), (0x30, &*content, &*wrapped, &[][..]));
    }
}
