//! `postern policy new`.
use super::CommandError;
use postern_policy::tooling::{TEMPLATES, template};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `policy new`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write; its last part is the policy's name
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// The language
    #[arg(long, value_name = "LANGUAGE", value_parser = ["rego", "cedar"])]
    language: String,
    /// What to begin with
    #[arg(long, value_name = "TEMPLATE", default_value = "deny-all")]
    template: String,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<bool, CommandError> {
    let Some(template) = template(&args.template, &args.language) else {
        let known = TEMPLATES.iter().filter(|template| template.language == args.language);
        let known: Vec<&str> = known.map(|template| template.name).collect();
        return Err(CommandError::Other(format!(
            "there is no template `{}` in {}; there are: {}",
            args.template,
            args.language,
            known.join(", ")
        )));
    };
    let name = args.folder.file_name().and_then(|name| name.to_str()).filter(|name| is_plain(name));
    let Some(name) = name else {
        let what =
            "a policy's name is made of letters, digits, `-`, `_` and `.`, and begins with none of these";
        return Err(CommandError::Other(what.to_owned()));
    };
    if fs::symlink_metadata(&args.folder).is_ok() {
        let what = format!("`{}` is there already; nothing was written", args.folder.display());
        return Err(CommandError::Other(what));
    }
    for (path, text) in template.files(name) {
        let path = args.folder.join(path);
        let failed = |error| CommandError::Io { path: path.clone(), error };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        // Somebody may have been faster: what is there is not overwritten.
        let mut file = fs::File::create_new(&path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        writeln!(out, "wrote {}", path.display())?;
    }
    writeln!(out, "\ntry: postern policy test {}", args.folder.display())?;
    Ok(true)
}

fn is_plain(name: &str) -> bool {
    name.starts_with(|char: char| char.is_ascii_alphanumeric())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
}
