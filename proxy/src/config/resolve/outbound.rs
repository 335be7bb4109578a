//! `outbound:` of a listener: who can reach it speaks with the workload's identity.
use super::context::{Context, Reported};
use crate::config::file::OutboundFile;
use crate::config::places::{entry, member};
use crate::config::settings::{AdminConfig, Bind, Config, LocalDoor};
use std::path::PathBuf;

/// Where the local workload connects.
pub(super) fn bind(context: &mut Context<'_>, key: &str, file: &OutboundFile) -> Result<Bind, Reported> {
    match (&file.address, &file.socket) {
        (Some(address), None) => {
            for (name, written) in [("mode", file.mode.is_some()), ("uids", file.uids.is_some())] {
                if written {
                    let what = format!("`{name}` says nothing of an address: no kernel tells who calls it");
                    let mend = "write `socket: unix:///run/…` in place of `address`, or leave it out";
                    return Err(context.error(&member(key, name), what, mend));
                }
            }
            loopback(context, &member(key, "address"), address)
        }
        (None, Some(socket)) => {
            if file.captured.is_some() {
                let what = "no packet rule leads a connection to a Unix socket";
                let mend = "write `address: 127.0.0.1:15001` in place of `socket`, or leave this out";
                return Err(context.error(&member(key, "captured"), what, mend));
            }
            let socket = context.socket(&member(key, "socket"), socket);
            let uids = uids(context, &member(key, "uids"), file.uids.as_deref());
            let mode = mode(context, &member(key, "mode"), file);
            let door = LocalDoor { socket: socket?, mode: mode?, uids: uids? };
            warn_of_shut_out(context, &member(key, "uids"), &door);
            Ok(Bind::Local(door))
        }
        (None, None) => Err(context.error(
            key,
            "it is said nowhere where the workload connects",
            "write `address: 127.0.0.1:15001`, or `socket: unix:///run/…/egress.sock`",
        )),
        (Some(_), Some(_)) => {
            let what = "both `address` and `socket` are written";
            Err(context.error(key, what, "keep one of them, or make two listeners of it"))
        }
    }
}

fn loopback(context: &mut Context<'_>, key: &str, text: &str) -> Result<Bind, Reported> {
    let address = context.address(key, text)?;
    if !address.ip().is_loopback() {
        let what = format!(
            "`{address}` is not loopback: whoever reaches it would speak with the workload's identity"
        );
        return Err(context.error(key, what, format!("write `127.0.0.1:{}`", address.port())));
    }
    Ok(Bind::Address(address))
}

/// Who may read and write is all that a socket's mode means.
const MODE_BITS: u32 = 0o666;
const OWNER: u32 = 0o600;
const OTHERS: u32 = 0o006;
/// What the kernel says in place of a user that has no number in this user namespace.
const UID_UNKNOWN: u32 = 65_534;
/// Users of one listener or upstream; each connection is held against all of them.
const UIDS_MAX: usize = 64;

fn mode(context: &mut Context<'_>, key: &str, file: &OutboundFile) -> Result<u32, Reported> {
    let Some(text) = &file.mode else { return Ok(OWNER) };
    let is_octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal);
    let Some(mode) = mode.filter(|mode| mode & !MODE_BITS == 0 && mode & OWNER == OWNER) else {
        let what = format!("`{text}` is no mode of a socket");
        return Err(context.error(key, what, "write one like `\"0600\"`, `\"0660\"` or `\"0666\"`"));
    };
    if mode & OTHERS != 0 && file.uids.is_none() {
        let what = format!("`{text}` lets every user of the machine speak with the workload's identity");
        return Err(context.error(key, what, "say in `uids` who is served, or write `\"0660\"`"));
    }
    Ok(mode)
}

/// The users that `key` names.
pub(super) fn uids(
    context: &mut Context<'_>,
    key: &str,
    written: Option<&[u32]>,
) -> Result<Option<Vec<u32>>, Reported> {
    let Some(uids) = written else { return Ok(None) };
    context.some(key, uids.len(), "user")?;
    if uids.len() > UIDS_MAX {
        let what = format!("{} users are named", uids.len());
        return Err(context.error(key, what, format!("name at most {UIDS_MAX}, or use a group and `mode`")));
    }
    context.distinct(key, uids, u32::to_string);
    if let Some(index) = uids.iter().position(|uid| *uid == UID_UNKNOWN) {
        let what = format!("{UID_UNKNOWN} stands for every user that has no number here");
        return Err(context.error(&entry(key, index), what, "give the workload a user of its own"));
    }
    Ok(Some(uids.to_vec()))
}

/// A socket for its owner alone lets in one user beside root.
fn warn_of_shut_out(context: &mut Context<'_>, key: &str, door: &LocalDoor) {
    let named = door.uids.iter().flatten().filter(|uid| **uid != 0).count();
    if door.mode == OWNER && named > 1 {
        let what = "the mode `0600` lets in the sidecar's own user and root alone, whoever else is named";
        context.warn(key, what, "write `mode: \"0660\"` with a group of theirs, or `mode: \"0666\"`");
    }
}

/// No path is bound twice.
pub(super) fn check_together(context: &mut Context<'_>, config: &Config) {
    let mut taken: Vec<(String, PathBuf)> = Vec::new();
    if let AdminConfig::Open { socket } = &config.admin {
        taken.push(("admin.socket".to_owned(), socket.clone()));
    }
    for listener in &config.listeners {
        let Bind::Local(door) = &listener.bind else { continue };
        let key = format!("{}.outbound.socket", member("listeners", &listener.name));
        if let Some((other, _)) = taken.iter().find(|(_, path)| *path == door.socket) {
            let what = format!("`{}` is already taken by `{other}`", door.socket.display());
            context.error(&key, what, "give each its own path");
        }
        taken.push((key, door.socket.clone()));
    }
}
