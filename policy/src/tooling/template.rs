//! Policies to begin with. Each passes its own tests as written.

/// A policy to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// Its name.
    pub name: &'static str,
    /// `rego` or `cedar`.
    pub language: &'static str,
    words: &'static str,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! rego {
    ($name:literal, $words:literal) => {
        Template {
            name: $name,
            language: "rego",
            words: $words,
            files: &[
                ("bundle/.manifest", include_str!(concat!("templates/rego-", $name, "/manifest.json"))),
                ("bundle/policy.rego", include_str!(concat!("templates/rego-", $name, "/policy.rego"))),
                (
                    "bundle/policy_test.rego",
                    include_str!(concat!("templates/rego-", $name, "/policy_test.rego")),
                ),
                ("bundle/data.json", include_str!(concat!("templates/rego-", $name, "/data.json"))),
                ("cases.yaml", include_str!(concat!("templates/rego-", $name, "/cases.yaml"))),
            ],
        }
    };
}

macro_rules! cedar {
    ($name:literal, $words:literal) => {
        Template {
            name: $name,
            language: "cedar",
            words: $words,
            files: &[
                ("bundle/.manifest", include_str!(concat!("templates/cedar-", $name, "/manifest.json"))),
                ("bundle/policy.cedar", include_str!(concat!("templates/cedar-", $name, "/policy.cedar"))),
                ("bundle/entities.json", include_str!(concat!("templates/cedar-", $name, "/entities.json"))),
                ("cases.yaml", include_str!(concat!("templates/cedar-", $name, "/cases.yaml"))),
            ],
        }
    };
}

/// All of them.
pub const TEMPLATES: &[Template] = &[
    rego!("deny-all", "Nothing is permitted."),
    rego!("rbac", "Roles by SPIFFE ID: who has a role with a permission that fits, may."),
    rego!("jwt", "The scopes of a verified token decide, together with the calling workload."),
    cedar!("deny-all", "Nothing is permitted."),
    cedar!("rbac", "Roles by group: who is in a group that a policy permits, may."),
    cedar!("jwt", "The scopes of a verified token decide, together with the calling workload."),
];

/// The template of this name and language.
pub fn template(name: &str, language: &str) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.name == name && template.language == language)
}

impl Template {
    /// The files of a policy of this name: where each stands in its folder, and its text.
    pub fn files(&self, name: &str) -> Vec<(&'static str, String)> {
        let filled = |text: &str| text.replace("@NAME@", name);
        let mut files: Vec<(&str, String)> =
            self.files.iter().map(|(path, text)| (*path, filled(text))).collect();
        let (sources, rules) = match self.language {
            "rego" => (
                "`.manifest`, `policy.rego`, `data.json`, and `policy_test.rego`, which `bundle build` leaves out",
                " and the `test_` rules",
            ),
            _ => ("`.manifest`, `policy.cedar`, `entities.json`", ""),
        };
        let readme = include_str!("templates/README.md.in")
            .replace("@WORDS@", self.words)
            .replace("@SOURCES@", sources)
            .replace("@RULES@", rules);
        files.push(("README.md", filled(&readme)));
        files
    }
}
