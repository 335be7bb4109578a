//! `postern run`: the sidecar, until it is told to stop.
use super::opening::{Opening, Wanted};
use crate::admin::AdminCommand;
use crate::app::{App, Entrance};
use crate::clock::SystemClock;
use crate::config::{self, AdminConfig, Config, Findings, Loaded};
use crate::handover::{self, systemd, systemd::Manager};
use crate::log::beside::Company;
use crate::telemetry;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Replace the sidecar that serves the configured admin socket: take its listening sockets once this one is ready
    #[arg(long)]
    take_over: bool,
}

pub(super) fn run(args: &Args, _out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let Loaded { config, warnings } = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(findings) => return refuse(&findings, err),
    };
    let findings = super::check::inspect(&config, warnings);
    if findings.refused() {
        return refuse(&findings, err);
    }
    telemetry::log::init(config.telemetry.log);
    for finding in findings.iter() {
        tracing::warn!("{finding}");
    }
    match enter(args, config) {
        Ok(()) => 0,
        Err(error) => super::fail(err, &*error),
    }
}

fn enter(args: &Args, config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::from_environment()?;
    let mut entrance = Entrance { inherited: systemd::listen_fds()?, ..Entrance::default() };
    let mut predecessor = None;
    if args.take_over {
        let AdminConfig::Open { socket } = &config.admin else {
            return Err("`--take-over` asks at `admin.socket`, and there is none in the configuration".into());
        };
        let (inherited, of) = handover::take_over(socket)?;
        entrance = Entrance { inherited, company: Company::Beside, predecessor: of.pid() };
        predecessor = Some(of);
    }
    let opening = Opening::new(predecessor, manager, !entrance.is_open());
    let app = App::enter(&config, Arc::new(SystemClock::new()), entrance)?;
    serve(app, config, (Some(&args.config), opening))
}

pub(super) fn refuse(findings: &Findings, err: &mut dyn Write) -> u8 {
    drop(write!(err, "{findings}"));
    1
}

/// Runs a started sidecar until a signal or the admin socket ends it. The first SIGTERM or SIGINT drains; a
/// second one does not wait for what is still in progress.
pub(super) fn serve(
    mut app: App,
    config: Config,
    (file, mut opening): (Option<&Path>, Opening),
) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut reloader = Reloader { in_force: config, file: file.map(Path::to_owned) };
    let commands = app.commands();
    let ended = runtime.block_on(async {
        let mut stop = Stop::new()?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut commands = commands;
        loop {
            tokio::select! {
                () = stop.asked() => return Ok::<_, std::io::Error>(Ended::Asked),
                wanted = opening.look(&mut app) => if let Wanted::GiveUp = wanted {
                    return Ok(Ended::NeverReady);
                },
                _ = hangup.recv() => drop(reloader.reload(&mut app, &opening.manager).await),
                command = next(&mut commands) => match command {
                    AdminCommand::Drain(reply) => {
                        reply.done("draining");
                        return Ok(Ended::Asked);
                    }
                    AdminCommand::Relieved => return Ok(Ended::Relieved),
                    AdminCommand::Reload(reply) => match reloader.reload(&mut app, &opening.manager).await {
                        Ok(()) => reply.done("reloaded"),
                        Err(trouble) => reply.refused(trouble),
                    },
                },
            }
        }
    })?;
    tracing::info!("draining");
    match ended {
        Ended::Relieved => app.relieve(),
        Ended::Asked if opening.is_kept() => app.begin_restart(),
        Ended::Asked | Ended::NeverReady => app.begin_drain(),
    }
    opening.manager.stopping();
    finish(app, &runtime)?;
    tracing::info!("stopped");
    if let Ended::NeverReady = ended {
        return Err(NEVER_READY.into());
    }
    Ok(())
}

/// Why a sidecar ends.
enum Ended {
    Asked,
    Relieved,
    NeverReady,
}

const NEVER_READY: &str = "this sidecar did not become ready in time, and the one that runs goes on; \
    look at what it logged, mend that, and start it again";

/// Waits for the last exchange, or for a second signal.
fn finish(app: App, runtime: &tokio::runtime::Runtime) -> Result<(), Box<dyn std::error::Error>> {
    std::thread::scope(|scope| {
        let finishing = scope.spawn(|| app.finish());
        runtime.block_on(async {
            // A second signal while the last exchanges run: the process is wanted gone.
            let Ok(mut stop) = Stop::new() else { return };
            while !finishing.is_finished() {
                tokio::select! {
                    () = stop.asked() => abort(),
                    () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
                }
            }
        });
        match finishing.join() {
            Ok(result) => result.map_err(Box::<dyn std::error::Error>::from),
            Err(_) => Err("the shutdown panicked".into()),
        }
    })
}

/// What is filed is in mapped rings and outlives the process; the next start takes it into the log.
#[expect(clippy::exit, reason = "the operator asked twice: in-progress exchanges are given up")]
fn abort() {
    tracing::warn!("second signal: exchanges in progress are given up");
    telemetry::log::flush(super::FLUSH_TIMEOUT);
    std::process::exit(1);
}

async fn next(commands: &mut Option<mpsc::Receiver<AdminCommand>>) -> AdminCommand {
    if let Some(receiver) = commands
        && let Some(command) = receiver.recv().await
    {
        return command;
    }
    // No admin socket, or it has closed: nothing will ever be asked.
    std::future::pending().await
}

struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Reads the configuration again, all or nothing: what cannot be taken over leaves everything as it was.
struct Reloader {
    in_force: Config,
    file: Option<PathBuf>,
}

impl Reloader {
    /// Reads it, and tells the service manager before and after.
    async fn reload(&mut self, app: &mut App, manager: &Manager) -> Result<(), String> {
        manager.reloading();
        let outcome = self.read(app).await;
        match &outcome {
            Ok(left) => {
                left.iter().for_each(|name| manager.forget(name));
                manager.keep(app.offer());
                manager.reloaded("ready");
            }
            Err(trouble) => {
                tracing::error!("reload refused, the configuration in force stays: {trouble}");
                app.status().config_trouble(Some(trouble.clone()));
                manager.reloaded(&format!("the last reload was refused: {trouble}"));
            }
        }
        outcome.map(drop)
    }

    async fn read(&mut self, app: &mut App) -> Result<Vec<String>, String> {
        let Some(file) = &self.file else { return Err("this sidecar has no configuration file".to_owned()) };
        let config = config::load(file).map_err(|findings| findings.to_string())?.config;
        let left = app.reload(&self.in_force, &config).await.map_err(|error| error.to_string())?;
        self.in_force = config;
        Ok(left)
    }
}
