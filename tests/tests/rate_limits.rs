//! How often a route may be asked: by what the sidecar counts, and by what a rate limit service counts for several of them.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use postern_tests::{Running, Scene, Sidecar, Version, peer, port};
use rustix::process::Signal;
use serde_json::json;

/// Longest time until a service listens.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Lets everybody of the trust domain do anything: it is the limits that are looked at.
const OPEN: &str = "package postern.authz\n\ndecision := {\"allowed\": true}\n";

/// Statuses of so many requests of a workload, one after the other on connections of their own.
fn statuses(scene: &Scene, workload: &str, times: usize) -> Vec<u16> {
    let caller = scene.caller(workload);
    let ask = |_| caller.get(scene.listener, Version::Http2, "/x").expect("an answer").status.as_u16();
    (0..times).map(ask).collect()
}

#[test]
fn workers_count_together_and_callers_apart() {
    let mut scene = Scene::new();
    scene.write_policy(OPEN);
    scene.config["workers"] = json!(2);
    scene.config["listeners"]["app"]["routes"][0]["rate_limits"] =
        json!([{ "name": "per-caller", "requests": 10, "per": "1d", "keys": ["spiffe_id"] }]);
    let sidecar = scene.start();
    let crowd = |workload: &'static str| {
        let scene = &scene;
        let all: Vec<u16> = thread::scope(|scope| {
            let asking: Vec<_> = (0..4).map(|_| scope.spawn(move || statuses(scene, workload, 5))).collect();
            asking.into_iter().flat_map(|asked| asked.join().expect("statuses")).collect()
        });
        let passed = all.iter().filter(|status| **status == 200).count();
        (passed, all.iter().filter(|status| **status == 429).count())
    };
    assert_eq!(crowd("/client"), (10, 10));
    assert_eq!(crowd("/other"), (10, 10));
    let refused = "postern_rate_limited_total{listener=\"app\",route=\"app-0\",rule=\"per-caller\"}";
    assert_eq!((sidecar.metric(refused) - 20.0).abs().to_bits(), 0, "{refused}");
    sidecar.stop();
}

/// Envoy's reference service and the Redis that it keeps its counts in; `None` when one of them is not to be had.
struct Service {
    redis: Running,
    limits: Running,
    at: SocketAddr,
}

impl Service {
    /// Three requests a year for each caller, in the domain `orders`.
    fn start(scene: &Scene) -> Option<Self> {
        let (program, redis_program) = (peer("POSTERN_RATELIMIT")?, peer("POSTERN_REDIS")?);
        let (redis_at, at, http, debug) = (port::free(), port::free(), port::free(), port::free());
        let mut command = Command::new(redis_program);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--port").arg(redis_at.port().to_string()).arg("--dir").arg(scene.folder.path());
        let mut redis = Running::start("redis", command, scene.folder.path());
        redis.wait_for_port(redis_at, START_LIMIT);
        let folder = scene.path("runtime");
        fs::create_dir_all(folder.join("config")).expect("the service's folder");
        let rules = json!({ "domain": "orders", "descriptors": [{
            "key": "caller", "rate_limit": { "unit": "year", "requests_per_unit": 3 },
        }] });
        fs::write(folder.join("config").join("orders.yaml"), rules.to_string()).expect("the service's rules");
        let mut command = Command::new(program);
        command.env("RUNTIME_ROOT", &folder).env("RUNTIME_WATCH_ROOT", "false").env("USE_STATSD", "false");
        command.env("REDIS_SOCKET_TYPE", "tcp").env("REDIS_URL", redis_at.to_string());
        command.env("LIMIT_RESPONSE_HEADERS_ENABLED", "true");
        for (name, at) in [("", http), ("GRPC_", at), ("DEBUG_", debug)] {
            command.env(format!("{name}HOST"), at.ip().to_string());
            command.env(format!("{name}PORT"), at.port().to_string());
        }
        let mut limits = Running::start("ratelimit", command, scene.folder.path());
        limits.wait_for_port(at, START_LIMIT);
        Some(Self { redis, limits, at })
    }
}

/// A sidecar that asks the service for each caller.
fn asking(scene: &mut Scene, service: SocketAddr, on_failure: &str) -> Sidecar {
    scene.write_policy(OPEN);
    scene.config["upstreams"]["limits"] = json!({ "endpoints": [service.to_string()], "protocol": "h2c" });
    scene.config["listeners"]["app"]["routes"][0]["global_rate_limit"] = json!({
        "service": "limits",
        "domain": "orders",
        "descriptors": [{ "entries": [{ "key": "caller", "value": "spiffe_id" }] }],
        // A machine that is busy with other tests is not what is looked at.
        "timeout": "5s",
        "on_failure": on_failure,
    });
    scene.start()
}

#[test]
fn a_service_counts_for_two_sidecars_and_says_when_to_come_back() {
    let (mut first, mut second) = (Scene::new(), Scene::new());
    let Some(service) = Service::start(&first) else { return };
    let sidecar = asking(&mut first, service.at, "deny");
    let _other = asking(&mut second, service.at, "deny");
    assert_eq!(statuses(&first, "/client", 2), [200, 200]);
    assert_eq!(statuses(&second, "/client", 2), [200, 429]);
    assert_eq!(statuses(&second, "/other", 1), [200]);
    let answer = first.caller("/client").get(first.listener, Version::Http1, "/x").expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.json()["reason"].as_str()), (429, Some("limit.rate")));
    assert_eq!(answer.header("ratelimit-remaining"), "0", "{answer:?}");
    let seconds = |name: &str| answer.header(name).parse::<u64>().expect("seconds");
    let (wait, reset) = (seconds("retry-after"), seconds("ratelimit-reset"));
    assert!((1..=366 * 86_400).contains(&wait) && wait.abs_diff(reset) <= 1, "{answer:?}");
    let checks = |result: &str| {
        sidecar.metric(&format!("postern_rate_limit_checks_total{{service=\"limits\",result=\"{result}\"}}"))
    };
    let all = [checks("ok"), checks("over_limit"), checks("failed")].map(|count| format!("{count}"));
    assert_eq!(all, ["2", "1", "0"]);
    assert_eq!((first.upstream.count(), second.upstream.count()), (2, 2));
}

#[test]
fn without_the_service_a_request_comes_to_what_the_author_says() {
    let (mut strict, mut lenient) = (Scene::new(), Scene::new());
    let Some(mut service) = Service::start(&strict) else { return };
    let _sidecar = asking(&mut strict, service.at, "deny");
    let _other = asking(&mut lenient, service.at, "allow");
    assert_eq!(statuses(&strict, "/client", 3), [200, 200, 200]);
    assert_eq!(statuses(&lenient, "/client", 1), [429]);
    // It answers that it cannot, then not at all.
    service.redis.signal(Signal::KILL);
    service.redis.wait_for_end(START_LIMIT);
    assert_eq!((statuses(&strict, "/client", 1), statuses(&lenient, "/client", 1)), (vec![503], vec![200]));
    service.limits.signal(Signal::KILL);
    service.limits.wait_for_end(START_LIMIT);
    assert_eq!((statuses(&strict, "/client", 1), statuses(&lenient, "/client", 1)), (vec![503], vec![200]));
}
