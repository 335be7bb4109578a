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
    /// JSON Schema of what a Rego policy sees as `input`
    Query,
    /// JSON Schema of a record of the audit log
    Record,
    /// The contract that Cedar policies are validated against
    Cedar,
}

/// Exit code 0, or 1 when it cannot be written.
pub(super) fn run(args: &Args, out: &mut dyn Write, _err: &mut dyn Write) -> u8 {
    let text = match args.schema {
        Schema::Config => include_str!("../../../schema/config.json"),
        Schema::Reasons => include_str!("../../../schema/reasons.json"),
        Schema::Query => include_str!("../../../schema/query.json"),
        Schema::Record => include_str!("../../../schema/record.json"),
        Schema::Cedar => include_str!("../../../schema/postern.cedarschema"),
    };
    u8::from(out.write_all(text.as_bytes()).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::check_unread;
    use std::collections::BTreeSet;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schema");

    /// `postern schema NAME` prints this file as it is.
    fn check(name: &str, file: &str) {
        let schema = <Schema as clap::ValueEnum>::from_str(name, false).expect("a name");
        let mut out = Vec::new();
        assert_eq!(run(&Args { schema }, &mut out, &mut std::io::sink()), 0);
        assert!(out == std::fs::read(format!("{FOLDER}/{file}")).expect("a published file"), "{name}");
        if file.ends_with(".json") {
            serde_json::from_slice::<serde_json::Value>(&out).expect("JSON");
        }
    }

    #[test]
    fn every_published_schema_is_printed_whole() {
        const PUBLISHED: [(&str, &str); 5] = [
            ("config", "config.json"),
            ("reasons", "reasons.json"),
            ("query", "query.json"),
            ("record", "record.json"),
            ("cedar", "postern.cedarschema"),
        ];
        for (name, file) in PUBLISHED {
            check(name, file);
        }
        let files = std::fs::read_dir(FOLDER).expect("the published schemas");
        let files: BTreeSet<_> = files.map(|file| file.expect("a file").file_name()).collect();
        assert_eq!(files, PUBLISHED.map(|(_, file)| file.into()).into(), "each has its name");
    }

    #[test]
    fn a_schema_may_be_read_in_part() {
        check_unread(&["schema", "config"], 0);
    }
}
