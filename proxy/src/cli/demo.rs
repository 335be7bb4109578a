//! `postern demo`: everything embedded, on loopback, with four commands to try.
use crate::app::App;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Loaded};
use crate::demo::{Demo, Ports};
use crate::telemetry;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The port of the sidecar on 127.0.0.1
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// The status port on 127.0.0.1
    #[arg(long, default_value_t = 15020)]
    status_port: u16,
}

/// How long the parts may take to come up.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let at = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let ports = Ports { listener: at(args.port), status: at(args.status_port) };
    let demo = match Demo::set_up(ports, &clock) {
        Ok(demo) => demo,
        Err(error) => return super::fail(err, &error),
    };
    let code = run_sidecar(&demo, &clock, out, err);
    let directory = demo.state().audit_directory.clone();
    let ran = code == 0;
    demo.clean_up();
    if ran {
        drop(writeln!(out, "\nStopped. The audit log stays in {}", directory.display()));
    }
    code
}

fn run_sidecar(demo: &Demo, clock: &Arc<dyn Clock>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let Loaded { config, .. } = match config::load(&demo.config_file()) {
        Ok(loaded) => loaded,
        Err(findings) => return super::run::refuse(&findings, err),
    };
    telemetry::log::init(config.telemetry.log);
    let app = match App::start(&config, Arc::clone(clock)) {
        Ok(app) => app,
        Err(error) => return super::fail(err, &error),
    };
    if let Err(trouble) = wait_until_ready(&app) {
        let code = super::fail(err, &trouble);
        drop(app.finish());
        return code;
    }
    let announced = demo.announce().map_err(|error| error.to_string());
    if let Err(error) = announced.and_then(|()| tell(demo, &config, out).map_err(|error| error.to_string())) {
        let code = super::fail(err, &error);
        drop(app.finish());
        return code;
    }
    match super::run::serve(app, config, (None, super::opening::Opening::default())) {
        Ok(()) => 0,
        Err(error) => super::fail(err, &*error),
    }
}

fn wait_until_ready(app: &App) -> Result<(), String> {
    const STEP: Duration = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    while !app.is_ready() {
        if waited >= READY_TIMEOUT {
            let parts = app.status().parts();
            let trouble = parts.policy_trouble.or(parts.identity_trouble).unwrap_or_default();
            return Err(format!(
                "the demo did not become ready within {} s: {trouble}",
                READY_TIMEOUT.as_secs()
            ));
        }
        std::thread::sleep(STEP);
        waited += STEP;
    }
    Ok(())
}

fn tell(demo: &Demo, config: &config::Config, out: &mut dyn Write) -> std::io::Result<()> {
    let program = std::env::current_exe()?;
    let program = program.display();
    let state = demo.state();
    let status = match config.status {
        config::StatusConfig::Open { address } => address.to_string(),
        config::StatusConfig::Closed => String::new(),
    };
    writeln!(out, "Postern demo. DEMO CERTIFICATE AUTHORITY: everything here is for trying things out.\n")?;
    writeln!(out, "  workload API   unix://{}", demo.workload_api_socket().display())?;
    writeln!(
        out,
        "  sidecar        https://{}  ({}), in front of a small bank",
        state.listener, state.spiffe_id
    )?;
    writeln!(out, "  policy         examples/policies/demo-bank, signed at start")?;
    writeln!(out, "  audit log      {}", state.audit_directory.display())?;
    writeln!(out, "  status         http://{status}/readyz?verbose  and  /metrics")?;
    writeln!(out, "  configuration  {}", demo.config_file().display())?;
    writeln!(out, "\nTry, from another terminal:\n")?;
    writeln!(out, "  {program} curl --as web GET /accounts/42")?;
    writeln!(out, "  {program} curl --as web POST /accounts/42/payments")?;
    writeln!(out, "  {program} why last")?;
    writeln!(out, "  {program} audit verify {}", state.audit_directory.display())?;
    writeln!(out, "\nCtrl-C drains, flushes and ends.")?;
    out.flush()
}
