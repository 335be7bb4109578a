//! What an upstream may say of its answer's length, and which of its headers travel on.
use super::super::hop_by_hop::{ResponseFault, guard_response};
use http::{HeaderMap, HeaderName, HeaderValue};

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

#[track_caller]
fn check(lines: &[(&str, &str)], expected: Result<&[(&str, &str)], ResponseFault>) {
    let mut map = headers(lines);
    let outcome = guard_response(&mut map).map(|()| map);
    assert_eq!(outcome, expected.map(headers), "{lines:?}");
}

#[test]
fn what_belongs_to_the_upstream_connection_does_not_travel_on() {
    check(
        &[
            ("connection", "close, x-app"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-app", "1"),
            ("trailer", "x-sum"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ],
        Ok(&[("x-app", "1"), ("trailer", "x-sum"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]),
    );
}

#[test]
fn an_upstream_does_not_speak_in_our_name() {
    check(&[("x-postern-anything", "1"), ("x-postern", "kept")], Ok(&[("x-postern", "kept")]));
}

#[test]
fn one_length_travels_on() {
    check(&[("content-length", "3")], Ok(&[("content-length", "3")]));
    check(&[], Ok(&[]));
}

#[test]
fn an_ambiguous_length_is_a_fault_of_the_upstream() {
    check(&[("content-length", "3"), ("content-length", "3")], Err(ResponseFault::ContentLength));
    check(&[("content-length", "3"), ("content-length", "4")], Err(ResponseFault::ContentLength));
    for value in ["3, 4", "+3", "0x3", "", "-1", "18446744073709551616"] {
        check(&[("content-length", value)], Err(ResponseFault::ContentLength));
    }
    check(&[("content-length", "3"), ("transfer-encoding", "chunked")], Err(ResponseFault::FramingConflict));
    for value in ["gzip, chunked", "identity", "xchunked", ",chunked"] {
        check(&[("transfer-encoding", value)], Err(ResponseFault::TransferEncoding));
    }
    check(
        &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        Err(ResponseFault::TransferEncoding),
    );
}
