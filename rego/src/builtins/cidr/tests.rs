use super::super::testing::{Dice, Want, agree, check};
use std::net::Ipv6Addr;

const TRUE: Want = Want::Value("true");
const FALSE: Want = Want::Value("false");

#[test]
fn networks_contain_addresses_and_networks() {
    let contains = |args, want| ("net.cidr_contains", args, want);
    check(&[
        contains(r#"["10.0.0.0/8", "10.1.0.0/24"]"#, TRUE),
        contains(r#"["172.17.0.0/24", "172.17.0.0/16"]"#, FALSE),
        contains(r#"["10.0.0.0/8", "10.1.2.3"]"#, TRUE),
        contains(r#"["10.0.0.0/8", "192.168.1.1"]"#, FALSE),
        contains(r#"["2001:4860:4860::8888/32", "2001:4860:4860:1234::8888/40"]"#, TRUE),
        contains(r#"["2001:4860::/96", "2001:4860::/32"]"#, FALSE),
        contains(r#"["0.0.0.0/0", "255.255.255.255"]"#, TRUE),
        contains(r#"["::/0", "1.2.3.4"]"#, FALSE),
        contains(r#"["::/0", "::1"]"#, TRUE),
        contains(r#"["::/0", "::ffff:1.2.3.4"]"#, FALSE),
        contains(r#"["1.2.3.0/24", "::ffff:1.2.3.4"]"#, TRUE),
        contains(r#"["::ffff:1.2.3.0/120", "1.2.3.4"]"#, TRUE),
        contains(r#"["::/0", "::fffe:0:0/95"]"#, FALSE),
        contains(r#"["10.0.0.0/08", "10.1.2.3"]"#, TRUE),
        contains(r#"["10.0.0.0/8", "10.01.2.3"]"#, Want::Failed),
        contains(r#"["not-a-cidr", "192.168.1.67"]"#, Want::Failed),
        contains(r#"["192.168.1.0/28", "not-a-cidr"]"#, Want::Failed),
        contains(r#"["192.168.1.0/33", "1.1.1.1"]"#, Want::Failed),
        contains(r#"["fe80::%eth0/64", "fe80::1"]"#, Want::Failed),
        contains(r#"["fe80::/64", "fe80::1%eth0"]"#, Want::Failed),
        contains(r#"[1, "1.1.1.1"]"#, Want::TypeError),
        contains(r#"["1.1.1.0/24", 1]"#, Want::TypeError),
    ]);
}

#[test]
fn networks_intersect_and_are_valid() {
    check(&[
        ("net.cidr_intersects", r#"["192.168.1.0/25", "192.168.1.64/25"]"#, TRUE),
        ("net.cidr_intersects", r#"["192.168.1.0/24", "192.168.2.0/24"]"#, FALSE),
        ("net.cidr_intersects", r#"["fd1e:5bfe:8af3:9ddc::/64", "fd1e:5bfe:8af3:9ddc:1111::/72"]"#, TRUE),
        ("net.cidr_intersects", r#"["192.168.1.0/28", "not-a-cidr"]"#, Want::Failed),
        ("net.cidr_intersects", r#"["192.168.1.0/28", "192.168.1.1"]"#, Want::Failed),
        ("net.cidr_intersects", r#"["192.168.1.0/28", {}]"#, Want::TypeError),
        ("net.cidr_is_valid", r#"["192.168.1.0/24"]"#, TRUE),
        ("net.cidr_is_valid", r#"["2002::1234:abcd:ffff:c0a8:101/64"]"#, TRUE),
        ("net.cidr_is_valid", r#"["192.168.1.2"]"#, FALSE),
        ("net.cidr_is_valid", r#"["192.168.1.2/"]"#, FALSE),
        ("net.cidr_is_valid", r#"["192.168.1.2/+8"]"#, FALSE),
        ("net.cidr_is_valid", r#"["192.168.1.2/8/8"]"#, FALSE),
        ("net.cidr_is_valid", r#"["192.168.1/8"]"#, FALSE),
        ("net.cidr_is_valid", r#"["1.2.3.4/00000000000032"]"#, TRUE),
        ("net.cidr_is_valid", r#"["1.2.3.4/4294967304"]"#, FALSE),
        ("net.cidr_is_valid", r#"["1:2:3:4::5:6:7:8/8"]"#, FALSE),
        ("net.cidr_is_valid", r#"["::1.2.3.4/8"]"#, TRUE),
        ("net.cidr_is_valid", r#"["1.2.3.4::/8"]"#, FALSE),
        ("net.cidr_is_valid", r#"["::00001/8"]"#, FALSE),
        ("net.cidr_is_valid", r#"["there goes a string"]"#, FALSE),
        ("net.cidr_is_valid", "[1]", FALSE),
    ]);
}

#[test]
fn matches_name_what_holds_what() {
    let matches = |args, want| ("net.cidr_contains_matches", args, want);
    check(&[
        matches(r#"["1.1.1.0/24", "1.1.1.1"]"#, Want::Value(r#"{"$set": [["1.1.1.0/24", "1.1.1.1"]]}"#)),
        matches(
            r#"[[["1.1.2.0/24", 1], "1.1.1.0/24"], ["1.1.1.1", "1.1.2.1"]]"#,
            Want::Value(r#"{"$set": [[0, 1], [1, 0]]}"#),
        ),
        matches(
            r#"[{"$set": [["1.1.1.0/24", "bar"]]}, {"$set": [["1.1.1.1", "baz"], "2.2.2.2"]}]"#,
            Want::Value(r#"{"$set": [[["1.1.1.0/24", "bar"], ["1.1.1.1", "baz"]]]}"#),
        ),
        matches(
            r#"[{"k1": "1.1.1.1/24", "k2": ["1.1.1.2/24", 1]}, "1.1.1.128"]"#,
            Want::Value(r#"{"$set": [["k1", "1.1.1.128"], ["k2", "1.1.1.128"]]}"#),
        ),
        matches(r#"[["1.1.2.0/24"], ["1.1.1.1", 1]]"#, Want::Failed),
        matches(r#"[[[]], ["1.1.1.1"]]"#, Want::Failed),
        matches(r#"[[[7]], ["1.1.1.1"]]"#, Want::TypeError),
        matches(r#"[["nonsense"], []]"#, Want::Value(r#"{"$set": []}"#)),
        matches(r#"[1, ["1.1.1.1"]]"#, Want::Value(r#"{"$set": []}"#)),
    ]);
}

#[test]
fn networks_are_expanded_within_the_budget() {
    let expand = |args, want| ("net.cidr_expand", args, want);
    check(&[
        expand(
            r#"["192.168.1.1/30"]"#,
            Want::Value(r#"{"$set": ["192.168.1.0", "192.168.1.1", "192.168.1.2", "192.168.1.3"]}"#),
        ),
        expand(
            r#"["255.255.255.255/31"]"#,
            Want::Value(r#"{"$set": ["255.255.255.254", "255.255.255.255"]}"#),
        ),
        expand(r#"["::ffff:1.2.3.4/127"]"#, Want::Value(r#"{"$set": ["1.2.3.4", "1.2.3.5"]}"#)),
        expand(
            r#"["1:0:0:2::ff/126"]"#,
            Want::Value(r#"{"$set": ["1:0:0:2::fc", "1:0:0:2::fd", "1:0:0:2::fe", "1:0:0:2::ff"]}"#),
        ),
        expand(r#"["192.168.1.1/33"]"#, Want::Failed),
        expand("[1]", Want::TypeError),
        expand(r#"["10.0.0.0/8"]"#, Want::Budget),
        expand(r#"["0.0.0.0/0"]"#, Want::Budget),
        expand(r#"["::/0"]"#, Want::Budget),
        expand(r#"["::/64"]"#, Want::Budget),
    ]);
}

#[test]
fn networks_are_merged() {
    let merge = |args, want| ("net.cidr_merge", args, want);
    check(&[
        merge(r#"[["192.0.128.0/24", "192.0.129.0/24"]]"#, Want::Value(r#"{"$set": ["192.0.128.0/23"]}"#)),
        merge(r#"[["192.0.128.0/24", "0.0.0.0/0"]]"#, Want::Value(r#"{"$set": ["0.0.0.0/0"]}"#)),
        merge(
            r#"[{"$set": ["192.0.2.112/30", "192.0.2.116/31", "192.0.2.118/31"]}]"#,
            Want::Value(r#"{"$set": ["192.0.2.112/29"]}"#),
        ),
        merge(r#"[["192.0.2.112"]]"#, Want::Value(r#"{"$set": ["192.0.2.112/24"]}"#)),
        merge(r#"[["::ffff:10.1.2.3"]]"#, Want::Value(r#"{"$set": ["10.1.2.3/8"]}"#)),
        merge(r#"[["192.0.2.112", "192.0.2.116/31"]]"#, Want::Value(r#"{"$set": ["192.0.2.0/24"]}"#)),
        merge(
            r#"[["192.0.129.0/24", "192.0.130.0/24"]]"#,
            Want::Value(r#"{"$set": ["192.0.129.0/24", "192.0.130.0/24"]}"#),
        ),
        merge(
            r#"[["192.0.129.0/24", "192.0.130.0/24", "192.0.131.0/24"]]"#,
            Want::Value(r#"{"$set": ["192.0.129.0/24", "192.0.130.0/23"]}"#),
        ),
        merge(r#"[["::/0", "::192.0.2.0/124", "ff00::101/128"]]"#, Want::Value(r#"{"$set": ["::/0"]}"#)),
        merge(r#"[["::/0", "1.2.3.0/24"]]"#, Want::Value(r#"{"$set": ["::/0"]}"#)),
        merge(r#"[["::/80", "255.255.255.0/24"]]"#, Want::Value(r#"{"$set": ["::/80"]}"#)),
        merge(
            r#"[["fe80::/120", "192.0.2.0/24", "192.0.3.0/24"]]"#,
            Want::Value(r#"{"$set": ["192.0.2.0/23", "fe80::/120"]}"#),
        ),
        merge(r#"[["::ffff:1.2.3.4/120"]]"#, Want::Value(r#"{"$set": ["1.2.3.0/24"]}"#)),
        merge("[[]]", Want::Value(r#"{"$set": []}"#)),
        merge(r#"[["foo"]]"#, Want::Failed),
        merge(r#"[["2601::1"]]"#, Want::Failed),
        merge("[[1]]", Want::Failed),
        merge(r#"["1.2.3.0/24"]"#, Want::Failed),
        merge(r#"[["::ffff:1.2.3.4/120", "1.2.4.0/24"]]"#, Want::Budget),
        merge(r#"[["::1:0/128", "::1:1/128"]]"#, Want::Budget),
    ]);
}

fn address(dice: &mut Dice) -> String {
    match dice.roll(6) {
        0 | 1 => format!("10.{}.{}.{}", dice.roll(2), dice.roll(4), dice.roll(256)),
        2 => format!("{}.{}.255.{}", dice.roll(256), dice.roll(260), dice.roll(256)),
        3 => format!("::ffff:10.0.{}.{}", dice.roll(4), dice.roll(256)),
        4 => {
            let bits = u128::from(dice.roll(u64::MAX)) << dice.roll(65)
                | u128::from(dice.roll(u64::MAX)) >> dice.roll(65);
            Ipv6Addr::from(bits << dice.roll(128)).to_string()
        }
        _ => format!("2001:db8:{:x}::{:x}", dice.roll(3), dice.roll(5) << dice.roll(14)),
    }
}

fn network(dice: &mut Dice) -> String {
    let address = address(dice);
    let longest = if address.contains(':') { 129 } else { 33 };
    let shortest = if dice.roll(3) == 0 { 0 } else { longest - 20 };
    format!("{address}/{}", shortest + dice.roll(longest - shortest + 1))
}

#[test]
fn opa_agrees_on_addresses_and_networks() {
    let mut dice = Dice(1);
    let mut calls = Vec::new();
    for _ in 0..300 {
        let (a, b) =
            (network(&mut dice), if dice.roll(2) == 0 { network(&mut dice) } else { address(&mut dice) });
        calls.push(("net.cidr_contains", format!("[\"{a}\", \"{b}\"]")));
        calls.push(("net.cidr_intersects", format!("[\"{a}\", \"{b}\"]")));
        let list: Vec<String> = (0..dice.roll(6)).map(|_| format!("\"{}\"", network(&mut dice))).collect();
        calls.push(("net.cidr_contains_matches", format!("[[\"{a}\"], [{}]]", list.join(", "))));
        let start = address(&mut dice);
        let host = dice.roll(10) + if start.contains(':') { 120 } else { 24 };
        calls.push(("net.cidr_expand", format!("[\"{start}/{host}\"]")));
        let one = if dice.roll(2) == 0 { "2001:db8:" } else { "10.0." };
        let end = |dice: &mut Dice| match one {
            "10.0." => format!("{}.{}/{}", dice.roll(4), dice.roll(256), 20 + dice.roll(13)),
            _ => format!("{}::{:x}/{}", dice.roll(2), dice.roll(256) << 8, 110 + dice.roll(19)),
        };
        let list: Vec<String> = (0..dice.roll(8)).map(|_| format!("\"{one}{}\"", end(&mut dice))).collect();
        calls.push(("net.cidr_merge", format!("[[{}]]", list.join(", "))));
    }
    agree(&calls);
}
