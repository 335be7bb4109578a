//! Callers on one thread. Closed loop: each asks again when it has its answer. Open loop: requests go out on schedule,
//! and a latency counts from the moment at which its request was due, so that a proxy that stalls cannot hide it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Request;
use postern_tests::Caller;
use postern_tests::caller::{Connection, Version};
use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::canned::{GRPC, GRPC_STATUS, message};
use crate::latency::Latencies;
use crate::{HoldArgs, LoadArgs, TargetArgs, VersionArg, identities, proc};

/// Not measured: connections are made and caches warmed in it.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);

/// What is asked for.
const PATH: &str = "/things/42";

/// What is called.
const CALL: &str = "/bench.Echo/Unary";

/// What the callers of one run share.
struct Run {
    caller: Caller,
    plan: Plan,
    started: Instant,
    tally: RefCell<Tally>,
}

struct Plan {
    target: std::net::SocketAddr,
    version: Version,
    callers: usize,
    warm_up: Duration,
    until: Duration,
    /// Between two requests of one caller in an open loop.
    period: Option<Duration>,
    requests_per_connection: u64,
    /// gRPC calls instead of requests.
    grpc: bool,
    /// In all; callers stop beyond it.
    requests_max: u64,
}

#[derive(Default)]
struct Tally {
    latencies: Latencies,
    asked: u64,
    connections: u64,
    failed: u64,
    refused: u64,
    first_failure: Option<String>,
}

/// `load`.
pub(crate) fn run(args: &LoadArgs) -> Result<Value, String> {
    let caller = identities::caller(&args.target.identities)?;
    let caller = if args.resume { caller.resuming() } else { caller };
    let callers = args.connections * args.streams;
    let period = args.rate.map(|rate| Duration::from_secs_f64(callers as f64 / rate));
    let warm_up = if args.requests.is_some() { Duration::ZERO } else { WARM_UP };
    let until =
        if args.requests.is_some() { Duration::MAX } else { warm_up + Duration::from_secs_f64(args.seconds) };
    let plan = Plan {
        target: args.target.address,
        version: version(&args.target),
        callers,
        warm_up,
        until,
        period,
        requests_per_connection: args.requests_per_connection.unwrap_or(u64::MAX),
        grpc: args.grpc,
        requests_max: args.requests.unwrap_or(u64::MAX),
    };
    let run = Rc::new(Run { caller, plan, started: Instant::now(), tally: RefCell::default() });
    let pid = args.target.pid;
    let (cpu_ns, measured) = on_this_thread(async {
        let callers = start_callers(&run, args.connections, args.streams).await?;
        tokio::time::sleep_until((run.started + run.plan.warm_up).into()).await;
        let (before, began) = (proc::cpu_ns(pid)?, Instant::now());
        for caller in callers {
            caller.await.map_err(|error| error.to_string())?;
        }
        Ok::<_, String>((proc::cpu_ns(pid)? - before, began.elapsed()))
    })?;
    let tally = run.tally.take();
    let completed = tally.latencies.count();
    let [p50, p90, p99, p999] = tally.latencies.percentiles([0.5, 0.9, 0.99, 0.999]);
    Ok(json!({
        "completed": completed,
        "failed": tally.failed,
        "refused": tally.refused,
        "first_failure": tally.first_failure,
        "connections": tally.connections,
        "seconds": measured.as_secs_f64(),
        "requests_per_second": completed as f64 / measured.as_secs_f64(),
        "cpu_us_per_request": cpu_ns as f64 / 1000.0 / (completed as f64).max(1.0),
        "p50_us": p50, "p90_us": p90, "p99_us": p99, "p999_us": p999,
    }))
}

/// `hold`.
pub(crate) fn hold(args: &HoldArgs) -> Result<Value, String> {
    let caller = identities::caller(&args.target.identities)?;
    let pid = args.target.pid;
    let idle = proc::rss_kib(pid)?;
    let held = on_this_thread(async {
        let mut open = Vec::new();
        for _ in 0..args.connections {
            let mut connection = caller.connect(args.target.address, version(&args.target)).await?;
            connection.send(ask(false)?).await?;
            open.push(connection);
        }
        proc::rss_kib(pid)
    })?;
    let connections = args.connections.max(1) as f64;
    Ok(json!({
        "rss_idle_kib": idle,
        "rss_held_kib": held,
        "kib_per_connection": held.saturating_sub(idle) as f64 / connections,
    }))
}

fn version(target: &TargetArgs) -> Version {
    match target.version {
        VersionArg::Http1 => Version::Http1,
        VersionArg::Http2 => Version::Http2,
    }
}

pub(crate) fn on_this_thread<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    LocalSet::new().block_on(&runtime, work)
}

fn ask(grpc: bool) -> Result<Request<bytes::Bytes>, String> {
    if grpc {
        let call =
            Request::post(CALL).header(http::header::CONTENT_TYPE, GRPC).header(http::header::TE, "trailers");
        return call.body(message()).map_err(|error| error.to_string());
    }
    let request = Request::builder()
        .uri(PATH)
        .header("user-agent", "postern-bench")
        .header("accept", "*/*")
        .header("x-request-id", "5e4f2b0e-5bd0-4c0b-8f0e-0c5f4f7f9a10")
        .header("accept-language", "en");
    request.body(bytes::Bytes::new()).map_err(|error| error.to_string())
}

/// Opens every connection, then lets its callers loose.
async fn start_callers(
    run: &Rc<Run>,
    connections: usize,
    streams: usize,
) -> Result<Vec<tokio::task::JoinHandle<()>>, String> {
    let mut callers = Vec::new();
    for number in 0..connections {
        let first = run.caller.connect(run.plan.target, run.plan.version).await?;
        for stream in 1..streams {
            let further = first.another_stream().ok_or("only HTTP/2 has more than one request in flight")?;
            callers.push(tokio::task::spawn_local(ask_on(
                Rc::clone(run),
                further,
                number * streams + stream,
            )));
        }
        callers.push(tokio::task::spawn_local(ask_on(Rc::clone(run), first, number * streams)));
    }
    Ok(callers)
}

/// One caller. In an open loop, caller `number` of n is due at `number / n` of a period, then every period.
async fn ask_on(run: Rc<Run>, mut connection: Connection, number: usize) {
    let plan = &run.plan;
    let mut on_this = 0;
    let offset = plan.period.map(|period| period.mul_f64(number as f64 / plan.callers as f64));
    let mut turn = 0_u32;
    loop {
        let due = match (plan.period, offset) {
            (Some(period), Some(offset)) => {
                let due = run.started + offset + period * turn;
                tokio::time::sleep_until(due.into()).await;
                due
            }
            _ => Instant::now(),
        };
        turn += 1;
        if run.started.elapsed() >= plan.until || run.tally.borrow().asked >= plan.requests_max {
            return;
        }
        run.tally.borrow_mut().asked += 1;
        let Ok(request) = ask(plan.grpc) else { return };
        let outcome = connection.send(request).await;
        on_this += 1;
        let broken = outcome.is_err();
        note(&run, due, outcome);
        if broken || on_this >= plan.requests_per_connection {
            on_this = 0;
            drop(connection);
            match run.caller.connect(plan.target, plan.version).await {
                Ok(next) => connection = next,
                Err(failure) => return note(&run, due, Err(failure)),
            }
            run.tally.borrow_mut().connections += 1;
        }
    }
}

/// Whether a call ended well; its status is 200 either way.
fn is_done(run: &Run, answer: &postern_tests::Answer) -> bool {
    !run.plan.grpc || answer.trailers.get(GRPC_STATUS).is_some_and(|status| status == "0")
}

fn note(run: &Run, due: Instant, outcome: Result<postern_tests::Answer, String>) {
    let mut tally = run.tally.borrow_mut();
    let measured = due >= run.started + run.plan.warm_up;
    match outcome {
        Ok(answer) if answer.status.is_success() && is_done(run, &answer) => {
            if measured {
                tally.latencies.add(due.elapsed());
            }
        }
        Ok(_) => tally.refused += 1,
        Err(failure) => {
            tally.failed += 1;
            tally.first_failure.get_or_insert(failure);
        }
    }
}
