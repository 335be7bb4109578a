//! `postern schema`: prints what is published in `schema/`.

use std::io::Write;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which one
    #[arg(value_enum)]
    schema: Schema,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Schema {
    /// JSON Schema of the configuration file
    Config,
    /// The reason codes: what each means and how to mend it
    Reasons,
}

/// Exit code 0, or 1 when it cannot be written.
pub(super) fn run(args: &Args, out: &mut dyn Write, _err: &mut dyn Write) -> u8 {
    let text = match args.schema {
        Schema::Config => include_str!("../../../schema/config.json"),
        Schema::Reasons => include_str!("../../../schema/reasons.json"),
    };
    u8::from(out.write_all(text.as_bytes()).is_err())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_published_schema_is_printed_whole_and_is_json() {
        for schema in Schema::value_variants() {
            let mut out = Vec::new();
            assert_eq!(run(&Args { schema: *schema }, &mut out, &mut std::io::sink()), 0);
            serde_json::from_slice::<serde_json::Value>(&out).expect("JSON");
        }
    }

    #[test]
    fn a_schema_may_be_read_in_part() {
        crate::cli::tests::check_unread(&["schema", "config"], 0);
    }
}
