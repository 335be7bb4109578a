//! Paths and authorities: rows of what is sent and what becomes of it.
use super::super::error::GuardError;
use super::super::{authority, path};

#[track_caller]
fn check_path(sent: &str, expected: Result<&str, GuardError>) {
    let canonical = path::canonical(sent);
    assert_eq!(canonical.as_deref().map_err(|error| *error), expected, "{sent}");
}

#[track_caller]
fn check_refused(paths: &[&str], error: GuardError) {
    for sent in paths {
        check_path(sent, Err(error));
    }
}

#[test]
fn a_canonical_path_is_untouched_and_not_copied() {
    for sent in [
        "/",
        "/a",
        "/a/",
        "/a/b.c/d~e_f-g",
        "/A./b",
        "/a:b@c!$&'()*+,=",
        "/v1/x;p=1/y",
        "/a/...",
        "/.well-known",
    ] {
        check_path(sent, Ok(sent));
        assert!(matches!(path::canonical(sent), Ok(std::borrow::Cow::Borrowed(_))), "{sent}");
    }
}

#[test]
fn unreserved_escapes_are_decoded_and_the_others_get_upper_case_digits() {
    check_path("/%61%2d%2E%5f%7ez", Ok("/a-._~z"));
    check_path("/a%2eb", Ok("/a.b"));
    check_path("/%3a%3B%c3%a9", Ok("/%3A%3B%C3%A9"));
    check_path("/a%20b", Ok("/a%20b"));
    check_path("/100%25", Ok("/100%25"));
    check_path("/100%25x", Ok("/100%25x"));
}

#[test]
fn printable_bytes_outside_of_the_grammar_are_escaped() {
    check_path("/a[1]|{b}\"^`<>", Ok("/a%5B1%5D%7C%7Bb%7D%22%5E%60%3C%3E"));
}

#[test]
fn an_escaped_delimiter_does_not_delimit() {
    check_path("/a%3Fx=/admin", Ok("/a%3Fx=/admin"));
    check_path("/public%23/admin", Ok("/public%23/admin"));
    check_path("/a%ef%bc%8fb", Ok("/a%EF%BC%8Fb"));
}

#[test]
fn a_path_without_a_leading_slash_is_refused() {
    check_refused(&["", "*", "a/b", "http:/x", "?x"], GuardError::PathForm);
}

#[test]
fn bytes_that_no_path_holds_are_refused_plain_and_escaped() {
    check_refused(
        &["/a b", "/a\\b", "/a#b", "/a\tb", "/a\u{7f}", "/é", "/admin%00.png", "/%0d%0aX", "/%7f", "/a?b"],
        GuardError::PathCharacter,
    );
}

#[test]
fn a_stray_percent_sign_is_refused() {
    check_refused(&["/%", "/%2", "/%zz", "/%%32%66", "/%2/", "/%+1"], GuardError::PathPercent);
}

#[test]
fn an_escaped_slash_or_backslash_is_refused() {
    check_refused(&["/public%2f..%2fadmin", "/a%2Fb", "/a%5cb", "/%5C..%5C"], GuardError::PathSeparator);
}

#[test]
fn what_decodes_to_no_text_is_refused() {
    check_refused(&["/%c0%ae%c0%ae/x", "/%ff", "/%c3", "/%ed%a0%80", "/%e0%80%af"], GuardError::PathEncoding);
}

#[test]
fn an_escape_of_an_escape_is_refused() {
    check_refused(
        &["/%252e%252e%252f", "/%25%32%66", "/%25252f", "/%2541dmin", "/%25%350", "/a%255c"],
        GuardError::PathDoubleEncoding,
    );
}

#[test]
fn dot_segments_are_refused_in_every_spelling() {
    check_refused(
        &[
            "/public/../admin",
            "/./admin",
            "/public/%2e%2e/admin",
            "/public/%2E./admin",
            "/..",
            "/a/.",
            "/public/..;/admin",
            "/public/..;a=b/admin",
            "/.;/admin",
            "/public/..%3Bx/admin",
        ],
        GuardError::PathDotSegment,
    );
}

#[test]
fn empty_segments_are_refused() {
    check_refused(
        &[
            "//",
            "//admin/x",
            "/public//admin",
            "///x",
            "/a//",
            "/;/admin",
            "/a/;x",
            "/;",
            "/%3B/a",
            "/a/;x/b",
        ],
        GuardError::PathEmptySegment,
    );
}

#[test]
fn parameters_are_taken_off_every_segment() {
    for (sent, plain) in [("/a;v=1/b;x;y/", "/a/b/"), ("/a/b", "/a/b"), ("/a%3Bv", "/a%3Bv"), ("/a;", "/a")] {
        assert_eq!(path::without_params(sent), plain);
    }
}

#[test]
fn a_grpc_path_is_a_service_and_a_method() {
    for (sent, expected) in [
        ("/pkg.Svc/Method", true),
        ("/Svc/m_1", true),
        ("/pkg.Svc/Method/", false),
        ("/pkg.Svc", false),
        ("/", false),
        ("/a/b/c", false),
        ("/pkg.Svc;x/Method", false),
        ("/pkg.Svc%3AMethod/m", false),
    ] {
        assert_eq!(path::is_grpc_method(sent), expected, "{sent}");
    }
}

#[track_caller]
fn check_authority(sent: &str, expected: Result<&str, GuardError>) {
    let canonical = authority::canonical(sent, 443);
    assert_eq!(canonical.as_deref().map_err(|error| *error), expected, "{sent}");
    if let Ok(canonical) = canonical {
        assert_eq!(authority::canonical(&canonical, 443).as_deref(), Ok(&*canonical), "{sent} twice");
    }
}

#[test]
fn an_authority_gets_one_spelling() {
    for (sent, expected) in [
        ("a.test", "a.test"),
        ("A.TEST.", "a.test"),
        ("a.test:443", "a.test"),
        ("a.test:80", "a.test:80"),
        ("A.test.:8443", "a.test:8443"),
        ("my_service", "my_service"),
        ("127.0.0.1:8443", "127.0.0.1:8443"),
        ("[::1]", "[::1]"),
        ("[0:0::1]:443", "[::1]"),
        ("[2001:DB8::1]:8443", "[2001:db8::1]:8443"),
    ] {
        check_authority(sent, Ok(expected));
    }
}

#[test]
fn an_authority_that_two_parsers_read_differently_is_refused() {
    for sent in [
        "",
        ".",
        ":443",
        "a..b",
        "a/x",
        "a@b",
        "u:p@a",
        "a, b",
        "a b",
        "a:080",
        "a:0",
        "a:65536",
        "a:",
        "a:+1",
        "a:1:2",
        "a:x",
        "[::1%25eth0]",
        "[::1%eth0]",
        "[::1",
        "::1]",
        "::1",
        "[::1]x",
        "[::1]x:1",
        "x[::1]",
        "[a]",
        "é.test",
        "a%41",
        "127.1",
        "127.0.0.1.",
        "0x7f.1",
        "2130706433",
        "01.2.3.4",
        "1.2.3.4.5",
        "a\\b",
        "a#b",
        "*",
    ] {
        check_authority(sent, Err(GuardError::HostInvalid));
    }
    check_authority(&"a".repeat(64), Err(GuardError::HostInvalid));
    check_authority(&"a.".repeat(128), Err(GuardError::HostInvalid));
}
