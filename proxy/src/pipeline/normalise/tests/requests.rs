//! Whole request heads, as the pipeline gives them to the guard.
use super::super::{GuardError, Normalised, Switch, is_protected, normalise, spell_target};
use crate::config::ListenerLimits;
use crate::listener::{HeadFault, RawHead};
use http::{HeaderName, HeaderValue, Request, Version};
use proptest::prelude::*;

fn hostile_line() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop::sample::select(vec![
        ("host", "a.test"),
        ("host", "A.test:443"),
        ("host", "b.test"),
        ("x-role", "user"),
        ("x-role", "admin"),
        ("x_role", "admin"),
        ("x_spiffe_id", "spiffe://evil"),
        ("connection", "x-role"),
        ("te", "trailers, gzip"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("content-length", "3"),
        ("content-type", "application/grpc"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
        ("forwarded", "host=b.test"),
    ])
}

proptest! {
    #[test]
    fn what_passes_once_passes_again_unchanged(
        target in prop::sample::select(vec![
            "https://a.test/", "https://A.test:443/%61?b", "/a;x/%3f", "https://a.test:8443/p.S/M", "/a//b", "/%2e/x", "/[a]",
        ]),
        lines in prop::collection::vec(hostile_line(), 0..6),
    ) {
        let Ok(first) = http2("POST", target, &lines) else { return Ok(()) };
        let decided = (first.authority().to_owned(), first.path().to_owned(), first.headers().clone());
        let forwarded = first.into_upstream_parts(None);
        let sent_on = (
            forwarded.uri.authority().unwrap().to_string(),
            forwarded.uri.path().to_owned(),
            forwarded.headers.clone(),
        );
        prop_assert_eq!(&sent_on, &decided);
        let (mut again, ()) = Request::builder().version(Version::HTTP_2).body(()).unwrap().into_parts();
        (again.method, again.uri, again.headers) = (forwarded.method, forwarded.uri, forwarded.headers);
        let second = normalise(again, None, &(&LIMITS).into()).unwrap();
        prop_assert_eq!((second.authority(), second.path(), second.headers()), (&*decided.0, &*decided.1, &decided.2));
        prop_assert!(!second.raw_path_differs());
    }
}

type Lines<'a> = &'a [(&'a str, &'a str)];

fn parts(version: Version, method: &str, target: &str, lines: Lines<'_>) -> http::request::Parts {
    let request = Request::builder().version(version).method(method).uri(target);
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        parts.headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    parts
}

/// Through the same guard as the bytes of a connection.
fn raw_head(method: &str, target: &str, lines: Lines<'_>) -> RawHead {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    RawHead::read(format!("{method} {target} HTTP/1.1\r\n{lines}\r\n").as_bytes())
}

const LIMITS: ListenerLimits = RawHead::LIMITS;

fn http1(method: &str, target: &str, lines: Lines<'_>) -> Result<Normalised, GuardError> {
    let raw = raw_head(method, target, lines);
    normalise(parts(Version::HTTP_11, method, target, lines), Some(raw), &(&LIMITS).into())
}

fn http2(method: &str, target: &str, lines: Lines<'_>) -> Result<Normalised, GuardError> {
    normalise(parts(Version::HTTP_2, method, target, lines), None, &(&LIMITS).into())
}

/// Both versions refuse it with the same reason.
#[track_caller]
fn check_refused(method: &str, path: &str, lines: Lines<'_>, error: GuardError) {
    let with_host = [&[("host", "a.test")], lines].concat();
    assert_eq!(http1(method, path, &with_host).map(drop), Err(error), "HTTP/1.1 {method} {path} {lines:?}");
    let target = format!("https://a.test{path}");
    assert_eq!(http2(method, &target, lines).map(drop), Err(error), "HTTP/2 {method} {path} {lines:?}");
}

/// Both versions forward exactly these headers.
#[track_caller]
fn check_headers(lines: Lines<'_>, expected: Lines<'_>) {
    let with_host = [&[("host", "a.test")], lines].concat();
    for request in [http1("GET", "/", &with_host), http2("GET", "https://a.test/", lines)] {
        let request = request.unwrap();
        let mut forwarded: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        forwarded.sort_unstable();
        assert_eq!(forwarded, expected, "{lines:?}");
    }
}

#[test]
fn what_is_forwarded_is_what_is_decided_on() {
    let lines = [("host", "A.Test:443"), ("x-role", "user"), ("x-role", "admin")];
    let request = http1("GET", "/%61/b%3f?x=%61", &lines).unwrap();
    let seen = (request.method().clone(), request.authority().to_owned(), request.path().to_owned());
    assert_eq!(seen, (http::Method::GET, "a.test".to_owned(), "/a/b%3F".to_owned()));
    assert_eq!((request.query(), request.raw_path_differs()), (Some("x=%61"), true));
    let headers = request.headers().clone();
    let forwarded = request.into_upstream_parts(None);
    assert_eq!((forwarded.method, forwarded.headers), (http::Method::GET, headers));
    assert_eq!(forwarded.uri.to_string(), "https://a.test/a/b%3F?x=%61");
}

#[test]
fn a_canonical_path_has_no_other_spelling_to_record() {
    let request = http1("GET", "/a?b", &[("host", "a.test")]).unwrap();
    assert_eq!((request.raw_path_differs(), request.version()), (false, Version::HTTP_11));
}

#[test]
fn methods_outside_of_the_list_are_refused() {
    for method in ["TRACE", "get", "PROPFIND", "PRI"] {
        check_refused(method, "/", &[], GuardError::Method);
    }
}

#[test]
fn connect_names_a_host_and_a_port_and_nothing_else() {
    for request in
        [http1("CONNECT", "B.test:443", &[("host", "b.test:443")]), http2("CONNECT", "b.test:443", &[])]
    {
        let request = request.unwrap();
        assert_eq!((request.authority(), request.path(), request.query()), ("b.test:443", "", None));
        assert_eq!(request.switch(), Switch::Connect);
    }
    for (target, more, error) in [
        ("/admin", ("host", "b.test"), GuardError::Connect),
        ("b.test", ("host", "b.test"), GuardError::Connect),
        ("b.test:0", ("host", "b.test:0"), GuardError::Connect),
        ("https://b.test:443/", ("host", "b.test:443"), GuardError::Connect),
        ("b.test:443", ("host", "b.test"), GuardError::HostMismatch),
        ("b.test:443", ("host", "c.test:443"), GuardError::HostMismatch),
        ("u@b.test:443", ("host", "b.test:443"), GuardError::HostInvalid),
    ] {
        assert_eq!(http1("CONNECT", target, &[more]).map(drop), Err(error), "{target} {more:?}");
    }
    let with_body = [("host", "b.test:443"), ("content-length", "5")];
    assert_eq!(http1("CONNECT", "b.test:443", &with_body).map(drop), Err(GuardError::Connect));
}

fn extended(method: &str, protocol: &'static str, lines: Lines<'_>) -> Result<Normalised, GuardError> {
    let mut parts = parts(Version::HTTP_2, method, "https://a.test/ws", lines);
    parts.extensions.insert(hyper::ext::Protocol::from_static(protocol));
    normalise(parts, None, &(&LIMITS).into())
}

#[test]
fn an_extended_connect_is_the_get_of_a_websocket() {
    let version = ("sec-websocket-version", "13");
    let request = extended("CONNECT", "websocket", &[version, ("sec-websocket-key", "x")]).unwrap();
    assert_eq!((request.method().as_str(), request.path()), ("GET", "/ws"));
    assert_eq!((request.switch(), request.wants_websocket()), (Switch::ExtendedConnect, true));
    assert!(!request.headers().contains_key("sec-websocket-key"));
    for (method, protocol, lines) in [
        ("CONNECT", "connect-udp", vec![version]),
        ("CONNECT", "websocket", vec![]),
        ("CONNECT", "websocket", vec![("sec-websocket-version", "8")]),
        ("CONNECT", "websocket", vec![version, ("content-length", "1")]),
        ("GET", "websocket", vec![version]),
    ] {
        let refused = extended(method, protocol, &lines).map(drop);
        assert_eq!(refused, Err(GuardError::Upgrade), "{method} {protocol} {lines:?}");
    }
}

#[test]
fn versions_that_are_not_served_are_refused() {
    let host: Lines<'_> = &[("host", "a.test")];
    for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_3] {
        let outcome =
            normalise(parts(version, "GET", "/", host), Some(raw_head("GET", "/", host)), &(&LIMITS).into());
        assert_eq!(outcome.map(drop), Err(GuardError::Version), "{version:?}");
    }
}

#[test]
fn a_request_without_its_own_head_is_refused() {
    let host: Lines<'_> = &[("host", "a.test")];
    let untracked = Err(GuardError::Head(HeadFault::Untracked));
    let of_another = Some(raw_head("GET", "/b", host));
    assert_eq!(
        normalise(parts(Version::HTTP_11, "GET", "/a", host), of_another, &(&LIMITS).into()).map(drop),
        untracked
    );
    assert_eq!(
        normalise(parts(Version::HTTP_11, "GET", "/a", host), None, &(&LIMITS).into()).map(drop),
        untracked
    );
    let on_http2 = Some(raw_head("GET", "/a", host));
    assert_eq!(
        normalise(parts(Version::HTTP_2, "GET", "/a", host), on_http2, &(&LIMITS).into()).map(drop),
        untracked
    );
}

#[test]
fn a_poisoned_head_is_refused_with_its_own_reason() {
    let host: Lines<'_> = &[("host", "a.test")];
    let refused = Some(RawHead::Refused(HeadFault::BareLf));
    let outcome = normalise(parts(Version::HTTP_11, "GET", "/", host), refused, &(&LIMITS).into()).map(drop);
    assert_eq!(outcome, Err(GuardError::Head(HeadFault::BareLf)));
    assert_eq!(outcome.map_err(GuardError::code), Err("request.bare_lf"));
}

#[test]
fn a_target_that_is_not_a_path_is_refused() {
    for target in ["*", "a.test:80", "admin", "ftp://a.test/"] {
        let outcome = http1("OPTIONS", target, &[("host", "a.test")]).map(drop);
        assert_eq!(outcome, Err(GuardError::TargetForm), "{target}");
    }
}

#[test]
fn a_fragment_is_refused_although_the_parsed_target_hides_it() {
    for target in ["/public#/admin", "/public?x#y", "http://a.test/#x"] {
        let outcome = http1("GET", target, &[("host", "a.test")]).map(drop);
        assert_eq!(outcome, Err(GuardError::Fragment), "{target}");
    }
}

#[test]
fn an_absolute_target_names_the_same_host_or_is_refused() {
    let request = http1("GET", "HTTP://A.test:443?x", &[("host", "a.test")]).unwrap();
    assert_eq!((request.authority(), request.path(), request.query()), ("a.test", "/", Some("x")));
    let forwarded = request.into_upstream_parts(None).uri;
    assert_eq!(forwarded.to_string(), "https://a.test/?x");
    for (target, error) in [
        ("http://b.test/admin", GuardError::HostMismatch),
        ("http://a.test:80/", GuardError::HostMismatch),
        ("http://u:p@a.test/", GuardError::HostInvalid),
    ] {
        assert_eq!(http1("GET", target, &[("host", "a.test")]).map(drop), Err(error), "{target}");
    }
}

#[test]
fn an_http1_request_has_exactly_one_host() {
    for (lines, error) in [
        (&[] as Lines<'_>, GuardError::HostMissing),
        (&[("host", "a.test"), ("host", "b.test")], GuardError::HostDuplicate),
        (&[("host", "a.test"), ("host", "a.test")], GuardError::HostDuplicate),
        (&[("host", "")], GuardError::HostInvalid),
        (&[("host", "a, b")], GuardError::HostInvalid),
        (&[("host", "a@b")], GuardError::HostInvalid),
        (&[("host", "a/evil")], GuardError::HostInvalid),
    ] {
        assert_eq!(http1("GET", "/", lines).map(drop), Err(error), "{lines:?}");
    }
    assert_eq!(http1("GET", "http://a.test/", &[]).map(drop), Err(GuardError::HostMissing));
}

#[test]
fn an_http2_request_has_one_authority() {
    for (target, lines, expected) in [
        ("https://a.test/", &[] as Lines<'_>, Ok("a.test")),
        ("https://a.test/", &[("host", "A.TEST")], Ok("a.test")),
        ("/", &[("host", "a.test")], Ok("a.test")),
        ("/", &[], Err(GuardError::HostMissing)),
        ("https://a.test/", &[("host", "b.test")], Err(GuardError::HostMismatch)),
        ("https://a.test/", &[("host", "a.test"), ("host", "a.test")], Err(GuardError::HostDuplicate)),
        ("https://u@a.test/", &[], Err(GuardError::HostInvalid)),
    ] {
        let outcome = http2("GET", target, lines);
        assert_eq!(
            outcome.as_ref().map(Normalised::authority).map_err(|e| *e),
            expected,
            "{target} {lines:?}"
        );
    }
}

#[test]
fn a_query_is_forwarded_as_it_was_sent_or_refused() {
    for query in ["", "a=%2f..%2f&b=+;c", "{a:[1]}|^`", "//../?"] {
        let request = http1("GET", &format!("/?{query}"), &[("host", "a.test")]).unwrap();
        assert_eq!(request.query(), Some(query));
    }
    check_refused("GET", "/?é", &[], GuardError::Query);
}

#[test]
fn identity_and_override_headers_are_left_out_in_every_spelling() {
    check_headers(
        &[
            ("x-forwarded-client-cert", "URI=spiffe://evil"),
            ("X-Spiffe-Id", "spiffe://evil"),
            ("x_spiffe_id", "spiffe://evil"),
            ("x-spiffe_id", "spiffe://evil"),
            ("x.spiffe.id", "spiffe://evil"),
            ("client-cert", ":abc:"),
            ("client_cert_chain", ":abc:"),
            ("x-postern-peer", "evil"),
            ("x-decision-id", "evil"),
            ("x-forwarded-uri", "/healthz"),
            ("x_forwarded_method", "GET"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("x-http-method-override", "DELETE"),
            ("forwarded", "host=b.test"),
            ("transfer_encoding", "chunked"),
            ("content_length", "3"),
            ("x-forwarded-for", "192.0.2.1"),
            ("accept", "*/*"),
        ],
        &[("accept", "*/*"), ("x-forwarded-for", "192.0.2.1")],
    );
}

#[test]
fn a_name_that_could_be_read_as_another_is_refused() {
    for name in ["x_role", "x.role", "a!b", "x-role~"] {
        check_refused("GET", "/", &[(name, "admin")], GuardError::HeaderName);
    }
}

#[test]
fn connection_headers_are_left_out_and_what_they_list_is_not() {
    let lines = [
        ("host", "a.test"),
        ("connection", "close, authorization, x-app"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic eA=="),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("te", "gzip, Trailers"),
        ("expect", "100-Continue"),
        ("authorization", "Bearer x"),
        ("x-app", "1"),
    ];
    let request = http1("POST", "/", &lines).unwrap();
    let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "te", "x-app"]);
    assert_eq!(request.headers()["te"], "trailers");
    assert!(request.headers()["authorization"].is_sensitive());
}

#[test]
fn several_values_become_one_that_policy_and_upstream_both_see() {
    check_headers(&[("x-role", "user"), ("x-role", "admin")], &[("x-role", "user,admin")]);
    check_headers(&[("x-role", ""), ("x-role", "admin")], &[("x-role", ",admin")]);
    let crumbs = http2("GET", "https://a.test/", &[("cookie", "a=1"), ("cookie", "b=2")]).unwrap();
    assert_eq!(crumbs.headers()["cookie"], "a=1; b=2");
    let lines = [("host", "a.test"), ("cookie", "a=1"), ("cookie", "b=2")];
    assert_eq!(http1("GET", "/", &lines).map(drop), Err(GuardError::HeaderDuplicate));
}

#[test]
fn a_second_value_of_a_header_that_has_one_is_refused() {
    check_refused(
        "GET",
        "/",
        &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
        GuardError::AuthorizationMultiple,
    );
    for name in ["content-type", "range", "traceparent", "grpc-timeout", "origin", "expect"] {
        check_refused(
            "GET",
            "/",
            &[(name, "100-continue"), (name, "100-continue")],
            GuardError::HeaderDuplicate,
        );
    }
}

#[test]
fn lengths_are_checked_on_http2_too() {
    for value in ["+3", "3, 3", "", "0x3", "18446744073709551616"] {
        let outcome = http2("POST", "https://a.test/", &[("content-length", value)]).map(drop);
        assert_eq!(outcome, Err(GuardError::ContentLength), "{value}");
    }
    let twice = [("content-length", "3"), ("content-length", "3")];
    assert_eq!(http2("POST", "https://a.test/", &twice).map(drop), Err(GuardError::ContentLength));
    let both = [("content-length", "3"), ("transfer-encoding", "chunked")];
    assert_eq!(http2("POST", "https://a.test/", &both).map(drop), Err(GuardError::FramingConflict));
}

#[test]
fn a_value_that_policy_could_not_read_is_refused() {
    for value in [b"admin\xff".as_slice(), "Zo\u{eb}".as_bytes(), b"\xc0\xae"] {
        let mut head = parts(Version::HTTP_2, "GET", "https://a.test/", &[]);
        head.headers.insert("x-role", HeaderValue::from_bytes(value).unwrap());
        assert_eq!(normalise(head, None, &(&LIMITS).into()).map(drop), Err(GuardError::HeaderValue));
    }
}

#[test]
fn only_the_continue_expectation_is_met() {
    for value in ["200-ok", "100-continue, x", ""] {
        check_refused("POST", "/", &[("expect", value)], GuardError::Expect);
    }
}

#[test]
fn websocket_is_refused_and_other_upgrades_are_ignored() {
    check_refused("GET", "/", &[("upgrade", "h2c, WebSocket")], GuardError::Upgrade);
    check_headers(&[("upgrade", "h2c")], &[]);
}

#[test]
fn a_scheme_is_one_of_http() {
    let check = |scheme: &str, is: Result<(), GuardError>| {
        let mut parts = parts(Version::HTTP_2, "GET", "https://a.test/", &[]);
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.scheme = Some(scheme.parse().unwrap());
        parts.uri = http::Uri::from_parts(uri).unwrap();
        assert_eq!(normalise(parts, None, &(&LIMITS).into()).map(drop), is, "{scheme:?}");
    };
    check("https", Ok(()));
    check("http", Ok(()));
    // The library takes it from the wire.
    check("", Err(GuardError::TargetForm));
    check("ftp", Err(GuardError::TargetForm));
}

#[test]
fn a_grpc_call_names_a_service_and_a_method() {
    let kind = ("content-type", "application/grpc+proto");
    assert!(http2("POST", "https://a.test/pkg.Svc/Method", &[kind]).is_ok());
    for path in ["/pkg.Svc/Method/", "/pkg.Svc", "/pkg.Svc/Method?x", "/a/pkg.Svc/Method"] {
        check_refused("POST", path, &[kind], GuardError::GrpcPath);
    }
}

#[test]
fn heads_over_their_limits_are_refused() {
    let many: Vec<_> = (0..=LIMITS.header_count_max).map(|n| (format!("x-{n}"), "1")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(http2("GET", "https://a.test/", &many).map(drop), Err(GuardError::HeaderCount));
    let long = "a".repeat(LIMITS.header_line_bytes_max);
    assert_eq!(http2("GET", "https://a.test/", &[("x", &long)]).map(drop), Err(GuardError::HeaderTooLarge));
    let wide = "a".repeat(LIMITS.header_line_bytes_max - 3);
    let wide: Vec<_> =
        ["x-1", "x-2", "x-3", "x-4", "x-5"].iter().map(|name| (*name, wide.as_str())).collect();
    assert_eq!(http2("GET", "https://a.test/", &wide).map(drop), Err(GuardError::HeadTooLarge));
    let target = format!("https://a.test/{long}");
    assert_eq!(http2("GET", &target, &[]).map(drop), Err(GuardError::Head(HeadFault::TargetTooLong)));
}

#[test]
fn an_obligation_may_not_name_what_frames_or_identifies() {
    for name in [
        "host",
        "content-length",
        "x-spiffe-id",
        "x_spiffe_id",
        "te",
        "upgrade",
        "transfer_encoding",
        "trailer",
    ] {
        assert!(is_protected(name), "{name}");
    }
    for name in ["x-role", "authorization", "x-forwarded-prefix", "x-spiffe"] {
        assert!(!is_protected(name), "{name}");
    }
}

#[test]
fn a_target_that_somebody_writes_down_has_the_spelling_of_requests() {
    for (written, spelled) in [
        ("https://a.test/api/x", Some("https://a.test/api/x")),
        ("HTTPS://A.Test:443/api/%78", Some("https://a.test/api/x")),
        ("https://a.test.:8443/api/%c3%a9", Some("https://a.test:8443/api/%C3%A9")),
        ("https://a.test", Some("https://a.test/")),
        ("https://[::0:1]/x", Some("https://[::1]/x")),
        ("https://a.test/api/", Some("https://a.test/api/")),
        ("http://a.test/api/x", None),
        ("//a.test/api/x", None),
        ("/api/x", None),
        ("https:/a.test/api/x", None),
        ("https://", None),
        ("https:///x", None),
        ("https://u@a.test/x", None),
        ("https://a.test:0443/x", None),
        ("https://a.test/api/../x", None),
        ("https://a.test/api%2fx", None),
        ("https://a.test\\x/y", None),
        (" https://a.test/x", None),
        ("https://a.test/x ", None),
        ("", None),
    ] {
        assert_eq!(spell_target(written).as_deref(), spelled, "{written}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x9449),
        ..ProptestConfig::with_cases(2048)
    })]

    #[test]
    fn a_targets_spelling_is_its_own_spelling(written in "[hH]ttps?://[a-cA-C.:0-9\\[\\]@%]{0,12}[/a-c%0-9A-Z.;~ é]{0,16}") {
        if let Some(spelled) = spell_target(&written) {
            prop_assert_eq!(spell_target(&spelled), Some(spelled));
        }
    }
}

#[test]
fn a_query_is_edited_by_the_names_that_an_application_reads() {
    let check = |target: &str, set: &[(&str, &str)], remove: &[&str], want: Result<&str, GuardError>| {
        let request = http2("GET", &format!("https://a.test{target}"), &[]).unwrap();
        let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let remove: Vec<_> = remove.iter().map(|name| (*name).to_owned()).collect();
        let got = request.target_with(&set, &remove, &(&LIMITS).into()).map(|uri| uri.to_string());
        assert_eq!(got, want.map(|target| format!("https://a.test{target}")), "{target} {set:?} {remove:?}");
    };
    check("/x?a=1&b=2&a=3&c", &[], &["a"], Ok("/x?b=2&c"));
    check("/x?%61=1&b=2&a+b=3", &[], &["a", "a%20b"], Ok("/x?b=2"));
    check("/x?a", &[], &["a"], Ok("/x"));
    check("/x?b=%zz&&", &[], &["none"], Ok("/x?b=%zz&&"));
    check("/x", &[("a", "1"), ("b", "%20")], &[], Ok("/x?a=1&b=%20"));
    check("/x?b=2&%61=0&c=3", &[("a", "1")], &[], Ok("/x?b=2&c=3&a=1"));
    check("/x?a=0", &[("a", "1"), ("b", "1")], &["a"], Ok("/x?b=1"));
    check("/x", &[("a", "1 2")], &[], Err(GuardError::Query));
    check("/x", &[("a", "1#2")], &[], Err(GuardError::Query));
    let long = "1".repeat(LIMITS.header_line_bytes_max);
    check("/x", &[("a", &long)], &[], Err(GuardError::Head(HeadFault::TargetTooLong)));
}

#[test]
fn a_grpc_call_is_given_no_query() {
    let lines = [("content-type", "application/grpc")];
    let request = http2("POST", "https://a.test/p.S/M", &lines).unwrap();
    let edited = request.target_with(&[("a".to_owned(), "1".to_owned())], &[], &(&LIMITS).into());
    assert_eq!(edited, Err(GuardError::GrpcPath));
}
