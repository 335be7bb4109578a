//! What `cargo xtask bench` runs beside the proxies it compares: identities, a canned upstream, and callers with
//! client certificates (neither `h2load` nor `wrk` presents one). Each command prints one JSON object on one line.

mod canned;
mod identities;
mod latency;
mod load;
mod proc;
mod stream;
mod tokens;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(name = "postern-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes an authority, and SVIDs for `/sidecar` and `/client`, into a folder
    Identities { folder: PathBuf },
    /// Answers every GET with 100 bytes over HTTP/1.1, and what else is asked of it, until killed
    Upstream(UpstreamArgs),
    /// Asks for some seconds and says how it went
    Load(LoadArgs),
    /// Says what one token costs, verified and remembered
    Tokens,
    /// Takes bytes for some seconds by raw streams that never end, and says how many came
    Stream(StreamArgs),
    /// Opens idle connections, one request each, and says what the proxy's memory is then
    Hold(HoldArgs),
}

/// Whom to ask, and as whom.
#[derive(Debug, clap::Args)]
struct TargetArgs {
    /// The proxy's listener
    #[arg(long)]
    address: SocketAddr,
    /// The folder that `identities` wrote
    #[arg(long)]
    identities: PathBuf,
    /// The proxy's process, whose CPU time and memory are read
    #[arg(long)]
    pid: u32,
    /// The protocol
    #[arg(long, value_enum, default_value = "http1")]
    version: VersionArg,
}

#[derive(Debug, clap::Args)]
struct UpstreamArgs {
    /// Where HTTP/1.1 is answered
    address: SocketAddr,
    /// Where gRPC calls are answered, over HTTP/2 without TLS
    #[arg(long)]
    calls: Option<SocketAddr>,
    /// Where bytes are sent to whoever connects, for as long as they are taken
    #[arg(long)]
    flood: Option<SocketAddr>,
}

#[derive(Debug, clap::Args)]
struct StreamArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Streams
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Measured time; half a second before it is not counted
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

#[derive(Debug, clap::Args)]
struct LoadArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests in flight on one connection (HTTP/2)
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Measured time; half a second before it is not counted
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Requests a second over all connections, sent on schedule whatever the answers do; without it, each caller
    /// asks again when it has its answer
    #[arg(long)]
    rate: Option<f64>,
    /// Requests on a connection before it is closed and another opened; without it, no end
    #[arg(long)]
    requests_per_connection: Option<u64>,
    /// Takes the tickets that a proxy hands out, and resumes with them instead of proving itself anew
    #[arg(long)]
    resume: bool,
    /// Makes unary gRPC calls of 100 bytes instead (HTTP/2)
    #[arg(long)]
    grpc: bool,
    /// Exactly this many requests in all, instead of a time
    #[arg(long)]
    requests: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct HoldArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Connections
    #[arg(long, default_value_t = 1000)]
    connections: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VersionArg {
    Http1,
    Http2,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Identities { folder } => identities::write(&folder),
        Command::Upstream(args) => canned::serve(&args),
        Command::Load(args) => load::run(&args),
        Command::Stream(args) => stream::run(&args),
        Command::Hold(args) => load::hold(&args),
        Command::Tokens => tokens::measure(),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("postern-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
