//! `audit:`, `telemetry:`, `status:` and `admin:`.

use super::context::{Context, Reported};
use super::files::FileKind;
use crate::config::file::{
    AdminFile, AuditFile, AuditModeFile, LogFile, LogFormatFile, LogLevelFile, ProcessLimitsFile, SignerFile,
    StatusFile, TelemetryFile,
};
use crate::config::rules;
use crate::config::settings::{
    AdminConfig, AuditConfig, AuditMode, AuditSigner, LogFormat, LogLevel, Otlp, ProcessLog, StatusConfig,
    TelemetryConfig,
};

/// Longest origin and service name, in bytes.
const TEXT_BYTES_MAX: usize = 255;

pub(super) fn audit(
    context: &mut Context<'_>,
    file: &AuditFile,
    first_listener: &str,
) -> Result<AuditConfig, Reported> {
    let directory = context.file("audit.directory", &file.directory, FileKind::OwnDirectory);
    let origin = match &file.origin {
        None => Ok(format!("postern/{first_listener}")),
        Some(written) => origin(context, written),
    };
    let signer = match &file.signer {
        SignerFile::Ed25519(file) => context
            .file("audit.signer.ed25519.key", &file.key, FileKind::Secret)
            .map(|key| AuditSigner::Ed25519 { key }),
        SignerFile::EcdsaP256(file) => context
            .file("audit.signer.ecdsa_p256.key", &file.key, FileKind::Secret)
            .map(|key| AuditSigner::EcdsaP256 { key }),
    };
    let ring_bytes = context.memory("audit.ring_bytes", file.ring_bytes.as_ref(), &rules::RING_BYTES);
    let segment_bytes_max =
        context.size("audit.segment_bytes_max", file.segment_bytes_max.as_ref(), &rules::SEGMENT_BYTES_MAX);
    let segment_age_max =
        context.duration("audit.segment_age_max", file.segment_age_max.as_ref(), &rules::SEGMENT_AGE_MAX);
    let checkpoint_interval = context.duration(
        "audit.checkpoint_interval",
        file.checkpoint_interval.as_ref(),
        &rules::CHECKPOINT_INTERVAL,
    );
    let max_wait = context.duration("audit.max_wait", file.max_wait.as_ref(), &rules::MAX_WAIT);
    Ok(AuditConfig {
        directory: directory?,
        origin: origin?,
        signer: signer?,
        mode: file.mode.map_or(AuditMode::Async, mode),
        max_wait,
        ring_bytes,
        segment_bytes_max,
        segment_age_max,
        checkpoint_interval,
    })
}

fn origin(context: &mut Context<'_>, text: &str) -> Result<String, Reported> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains(forbidden) {
        return Err(context.error(
            "audit.origin",
            format!("`{text}` cannot name a log"),
            format!("write 1 to {TEXT_BYTES_MAX} bytes without spaces and `+`, like `example.org/orders`"),
        ));
    }
    Ok(text.to_owned())
}

pub(super) fn mode(file: AuditModeFile) -> AuditMode {
    match file {
        AuditModeFile::Durable => AuditMode::Durable,
        AuditModeFile::Async => AuditMode::Async,
        AuditModeFile::BestEffort => AuditMode::BestEffort,
    }
}

pub(super) fn telemetry(
    context: &mut Context<'_>,
    file: &TelemetryFile,
) -> Result<TelemetryConfig, Reported> {
    let otlp = match &file.otlp {
        None => Ok(Otlp::Off),
        Some(file) => {
            let options = (file.trust_roots.as_ref(), file.plaintext);
            context.http_source("telemetry.otlp", "telemetry.otlp.url", &file.url, options).map(Otlp::Grpc)
        }
    };
    let sample_ratio = file.sample.unwrap_or(rules::SAMPLE_RATIO);
    // Not a number compares as false.
    if !(0.0..=1.0).contains(&sample_ratio) {
        let what = format!("`{sample_ratio}` is not a share");
        context.error("telemetry.sample", what, "write a number from 0 to 1");
    }
    let service_name = file.service_name.as_deref().unwrap_or(rules::SERVICE_NAME);
    if service_name.is_empty()
        || service_name.len() > TEXT_BYTES_MAX
        || service_name.contains(char::is_control)
    {
        let what = format!("`{service_name}` cannot name a service");
        context.error("telemetry.service_name", what, format!("write 1 to {TEXT_BYTES_MAX} bytes"));
    }
    Ok(TelemetryConfig {
        otlp: otlp?,
        sample_ratio,
        service_name: service_name.to_owned(),
        log: process_log(&file.log),
    })
}

fn process_log(file: &LogFile) -> ProcessLog {
    let level = match file.level {
        Some(LogLevelFile::Error) => LogLevel::Error,
        Some(LogLevelFile::Warn) => LogLevel::Warn,
        None | Some(LogLevelFile::Info) => LogLevel::Info,
        Some(LogLevelFile::Debug) => LogLevel::Debug,
    };
    let format = match file.format {
        None | Some(LogFormatFile::Json) => LogFormat::Json,
        Some(LogFormatFile::Text) => LogFormat::Text,
    };
    ProcessLog { level, format }
}

pub(super) fn status(context: &mut Context<'_>, file: Option<&StatusFile>) -> Result<StatusConfig, Reported> {
    match file {
        None => Ok(StatusConfig::Closed),
        Some(file) => {
            context.address("status.address", &file.address).map(|address| StatusConfig::Open { address })
        }
    }
}

pub(super) fn admin(context: &mut Context<'_>, file: Option<&AdminFile>) -> Result<AdminConfig, Reported> {
    match file {
        None => Ok(AdminConfig::Closed),
        Some(file) => context.socket("admin.socket", &file.socket).map(|socket| AdminConfig::Open { socket }),
    }
}

pub(super) fn memory_max(context: &mut Context<'_>, file: &ProcessLimitsFile) -> Option<u64> {
    let written = file.memory_max.as_ref()?;
    Some(context.size("limits.memory_max", Some(written), &rules::MEMORY_MAX))
}
