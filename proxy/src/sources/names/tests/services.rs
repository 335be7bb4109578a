//! What becomes of services, by whatever is answered.
use super::*;

/// What a server knows at one time: the records of the one service, `ttl priority/weight/host:port …`, and the IPv4
/// addresses of hosts, `ttl address …`.
type Zone = (&'static str, &'static [(&'static str, &'static str)]);

/// One after the other, the last one for ever. A question for the service turns the page.
#[derive(Debug)]
struct Zones(Mutex<VecDeque<Zone>>, Mutex<Zone>);

impl Resolve for Zones {
    fn resolve<'r>(&'r self, host: &'r str) -> Resolving<'r> {
        let (_, hosts) = *self.1.lock().unwrap();
        let known = hosts.iter().find(|(known, _)| *known == host).map_or("nothing", |(_, found)| found);
        Box::pin(async move {
            if known == "hangs" {
                std::future::pending::<()>().await;
            }
            Answer { v4: family(known), v6: Err(Trouble::Nothing) }
        })
    }

    fn services<'r>(&'r self, name: &'r str) -> ResolvingServices<'r> {
        assert_eq!(name, "_http._tcp.orders");
        let mut zones = self.0.lock().unwrap();
        let zone = if zones.len() > 1 { zones.pop_front() } else { zones.front().copied() }.unwrap();
        *self.1.lock().unwrap() = zone;
        Box::pin(async move {
            match zone.0 {
                "nothing" => Err(Trouble::Nothing),
                "fails" => Err(Trouble::Failed("refused".to_owned())),
                "hangs" => std::future::pending().await,
                records => Ok(services(records)),
            }
        })
    }
}

fn services(text: &str) -> Services {
    let mut words = text.split_whitespace();
    let ttl = Duration::from_secs(words.next().unwrap().parse().unwrap());
    let record = |word: &str| {
        let [priority, weight, place] = word.split('/').collect::<Vec<_>>()[..] else { panic!("{word}") };
        let (target, port) = place.split_once(':').unwrap();
        ServiceRecord {
            priority: priority.parse().unwrap(),
            weight: weight.parse().unwrap(),
            target: target.to_owned(),
            port: port.parse().unwrap(),
        }
    };
    Services { records: words.map(record).collect(), ttl }
}

/// After these answers the service has come to this, and then comes this wait.
fn check(zones: &[Zone], expected: &str, wait_s: u64) {
    let endpoint = NamedEndpoint { host: "_http._tcp.orders".to_owned(), port: None, loopback_only: false };
    let named = Named { upstream: "app".into(), endpoint };
    let resolver = Zones(Mutex::new(zones.iter().copied().collect()), Mutex::new(("nothing", &[])));
    becomes(named, asking(Arc::new(resolver), "10.0.0.66:8443"), zones.len(), (expected, wait_s));
}

const HOSTS: &[(&str, &str)] = &[
    ("one.", "60 10.0.0.1"),
    ("two.", "60 10.0.0.2"),
    ("both.", "60 10.0.0.3 10.0.0.4"),
    ("us.", "60 10.0.0.66"),
];

#[test]
fn a_service_is_where_its_records_say_in_their_order_and_with_their_weights() {
    check(&[("30 0/0/one.:80", HOSTS)], "10.0.0.1:80*0/1000", 30);
    let weighed = "10.0.0.1:80*0/1000 10.0.0.2:81*0/250";
    check(&[("30 0/4/one.:80 0/1/two.:81", HOSTS)], weighed, 30);
    check(&[("30 0/0/one.:80 0/0/two.:81", HOSTS)], "10.0.0.1:80*0/1000 10.0.0.2:81*0/1000", 30);
    // Next to nothing.
    check(&[("30 2/1/one.:80 2/0/two.:81", HOSTS)], "10.0.0.1:80*2/1000 10.0.0.2:81*2/0", 30);
    // Each priority by itself; what stands in two belongs to the first.
    let later = "30 9/1/one.:80 9/8/two.:81 3/200/two.:82 3/100/one.:80";
    check(&[(later, HOSTS)], "10.0.0.1:80*3/500 10.0.0.2:82*3/1000 10.0.0.2:81*9/1000", 30);
    // What a host has is shared by its addresses, and what is said twice is said once.
    let shared = "30 0/2/both.:80 0/2/one.:80 0/2/one.:80";
    check(&[(shared, HOSTS)], "10.0.0.1:80*0/1000 10.0.0.3:80*0/500 10.0.0.4:80*0/500", 30);
}

#[test]
fn the_shortest_ttl_says_when_a_service_is_asked_for_again_within_bounds() {
    check(&[("90 0/0/one.:80", HOSTS)], "10.0.0.1:80*0/1000", 60);
    check(&[("900 0/0/one.:80", &[("one.", "900 10.0.0.1")])], "10.0.0.1:80*0/1000", 300);
    check(&[("1 0/0/one.:80", HOSTS)], "10.0.0.1:80*0/1000", 5);
}

#[test]
fn a_service_that_leads_nowhere_brings_nothing_and_is_tried_again() {
    let none = "! it has no record that names a host with its port (SRV)";
    for records in ["nothing", "30", "30 0/0/.:80", "30 0/0/one.:0"] {
        check(&[(records, HOSTS)], none, 1);
    }
    check(&[("fails", HOSTS)], "! SRV: refused", 1);
    check(&[("30 0/0/three.:80", HOSTS)], "! three: it has no address", 1);
    check(&[("30 0/0/one.:80", HOSTS), ("fails", HOSTS)], "! SRV: refused", 1);
    let back = "! none of its addresses can be used: 10.0.0.66 leads back to this sidecar";
    check(&[("30 0/0/us.:8443", HOSTS)], back, 1);
}

#[test]
fn what_can_be_found_of_a_service_is_used() {
    check(&[("30 0/0/us.:8443 0/0/us.:8444", HOSTS)], "10.0.0.66:8444*0/1000", 30);
    // A host that has no address yet is asked for again before the TTL.
    let half = ("30 0/0/three.:80 0/0/one.:80", HOSTS);
    check(&[half], "10.0.0.1:80*0/1000 ? three: it has no address", 1);
    check(&[half; 3], "10.0.0.1:80*0/1000 ? three: it has no address", 4);
    check(&[half; 6], "10.0.0.1:80*0/1000 ? three: it has no address", 30);
    let (early, late) = ("30 0/0/one.:80", "30 0/0/one.:80 0/0/two.:80");
    let known = "10.0.0.1:80*0/1000 10.0.0.2:80*0/1000";
    let fails: Zone = (late, &[("one.", "fails"), ("two.", "60 10.0.0.2")]);
    check(&[(early, HOSTS), fails], &format!("{known} ? one: A: refused"), 1);
    let nothing: Zone = (late, &[("two.", "60 10.0.0.2")]);
    check(&[(early, HOSTS), nothing], &format!("{known} ? one: it has no address"), 1);
    // A host that it no longer names is forgotten.
    let gone = [(early, HOSTS), ("30 0/0/two.:80", HOSTS), (late, &[("two.", "60 10.0.0.2")])];
    check(&gone, "10.0.0.2:80*0/1000 ? one: it has no address", 1);
}

#[test]
fn a_host_of_which_nobody_answers_in_time_does_not_hold_up_the_others() {
    const HANGS: &[(&str, &str)] = &[("one.", "60 10.0.0.1"), ("two.", "hangs")];
    // The wait, and the ten seconds that the next answer takes.
    let late = "10.0.0.1:80*0/1000 ? two: AAAA: no answer within 10 s";
    check(&[("30 0/0/one.:80 0/0/two.:80", HANGS)], late, 11);
    check(&[("hangs", HOSTS)], "! SRV: no answer within 10 s", 11);
}

#[test]
fn of_many_records_the_same_ones_are_taken_every_time() {
    let record = |port: u32| format!("0/0/one.:{port}");
    for order in [(1..=70).collect::<Vec<_>>(), (1..=70).rev().collect()] {
        let records = order.into_iter().map(record).collect::<Vec<_>>().join(" ");
        let text: &'static str = format!("30 {records}").leak();
        let expected: Vec<_> = (1..=64).map(|port| format!("10.0.0.1:{port}*0/1000")).collect();
        // Asking again would not make them fewer.
        let trouble = "it has 70 records, of which 64 are taken";
        check(&[(text, HOSTS)], &format!("{} ? {trouble}", expected.join(" ")), 30);
    }
}

/// RFC 2782, as a server writes it.
pub(super) fn data(text: &str) -> Vec<u8> {
    let [priority, weight, port, host] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let numbers = [priority, weight, port].map(|number| number.parse::<u16>().unwrap().to_be_bytes());
    let labels = host.split_terminator('.').filter(|label| !label.is_empty());
    let labels = labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    numbers.concat().into_iter().chain(labels).chain([0]).collect()
}

#[tokio::test]
async fn a_server_is_asked_for_the_records_of_a_service_along_the_search_list() {
    let check = async |name: &str, expected: &str| {
        let found = match system::look_up_services(&resolver().await, name).await {
            Ok(Services { mut records, ttl }) => {
                records.sort();
                let record =
                    |of: &ServiceRecord| format!("{}/{}/{}:{}", of.priority, of.weight, of.target, of.port);
                format!("{} {}", ttl.as_secs(), records.iter().map(record).collect::<Vec<_>>().join(" "))
            }
            Err(Trouble::Nothing) => "nothing".to_owned(),
            Err(Trouble::Failed(_)) => "fails".to_owned(),
        };
        assert_eq!(found, expected, "{name}");
    };
    let found = "20 0/7/two.example.org.:8444 10/5/one.shop.svc.:8443";
    check("_http._tcp.orders", found).await;
    check("_http._tcp.orders.shop.svc.", found).await;
    check("_http._tcp.none.example.org.", "20 0/0/.:0").await;
    check("_http._tcp.nobody.example.org.", "nothing").await;
    check("_http._tcp.four.broken.", "fails").await;
}
