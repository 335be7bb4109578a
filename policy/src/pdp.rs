//! The policy decision point: an immutable policy set, and the answer to one query, which never fails.
use crate::Query;
use crate::bundle::PolicyBundle;
use crate::engine::cedar::CedarPolicies;
use crate::engine::rego::RegoPolicies;
use crate::engine::{Evaluator, LoadError};
use crate::verdict::{Decision, Revision, Verdict, truncated};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Which language decides, and where the answer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A Rego rule.
    Rego {
        /// Package and rule, as in OPA's `path`: `postern/authz/decision`.
        path: String,
    },
    /// The Cedar policies of the bundle.
    Cedar,
}

/// What a policy set and a decision may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PdpLimits {
    /// The engine's safety timer. A decision that it stops is a deny named `policy.timeout`.
    pub timeout: Duration,
    /// Steps that a Rego decision may take: about the expressions that it evaluates. The same question takes the same
    /// steps wherever it is asked; one too many is a deny named `policy.budget`.
    pub steps_max: u64,
    /// Whether an error of a Rego builtin (`startswith` of a number) ends the decision with `policy.error`. OPA takes
    /// the call for undefined instead, and so do we unless told otherwise.
    pub strict_builtin_errors: bool,
    /// Cedar entities that are not workloads.
    pub cedar_shared_entities_max: usize,
}

impl Default for PdpLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(50),
            steps_max: 100_000,
            strict_builtin_errors: false,
            cedar_shared_entities_max: 10_000,
        }
    }
}

/// The language of a loaded policy set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Rego.
    Rego,
    /// Cedar.
    Cedar,
}

impl Engine {
    /// The name in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rego => "rego",
            Self::Cedar => "cedar",
        }
    }
}

#[derive(Debug)]
pub(crate) enum Policies {
    Rego(Box<RegoPolicies>),
    Cedar(CedarPolicies),
}

/// A loaded policy set. Immutable and shared; what a decision changes is in the worker's [`Scratch`].
#[derive(Debug)]
pub struct Pdp {
    /// Tells the evaluators of one loaded set from those of another.
    generation: u64,
    policies: Policies,
    revision: Revision,
}

static GENERATIONS: AtomicU64 = AtomicU64::new(1);

impl Pdp {
    /// Compiles a set of bundles, each with its configured name. It is whole or refused. Costs milliseconds to
    /// seconds: never on a worker.
    ///
    /// # Errors
    /// [`LoadError`]: where, what, and how to mend it.
    pub fn load(
        bundles: &[(&str, PolicyBundle)],
        entry: &Entry,
        limits: &PdpLimits,
    ) -> Result<Self, LoadError> {
        let bundles: Vec<(&str, &PolicyBundle)> =
            bundles.iter().map(|(name, bundle)| (*name, bundle)).collect();
        if bundles.is_empty() {
            return Err(LoadError::Nothing);
        }
        refuse_overlap(&bundles)?;
        refuse_language(&bundles, entry)?;
        let loaded = catch_unwind(AssertUnwindSafe(|| match entry {
            Entry::Rego { path } => {
                RegoPolicies::load(&bundles, path, limits).map(|rego| Policies::Rego(Box::new(rego)))
            }
            Entry::Cedar => CedarPolicies::load(&bundles, limits).map(Policies::Cedar),
        }));
        let policies = loaded.unwrap_or(Err(LoadError::EnginePanic))?;
        let revision: Vec<String> =
            bundles.iter().map(|(name, bundle)| format!("{name}={}", bundle.version())).collect();
        Ok(Self {
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            policies,
            revision: Revision::new(&revision.join(";")),
        })
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Whether a policy reads bodies, so that a request's body must be held before the decision.
    pub fn reads_body(&self) -> bool {
        match &self.policies {
            Policies::Rego(rego) => rego.reads_body(),
            Policies::Cedar(cedar) => cedar.reads_body(),
        }
    }

    /// The parts of the input that the policies read, for people: over-approximated from the source. Of Cedar's context
    /// only the parts that are built on demand are looked for (headers, query, tokens and body); the others are at hand anyway.
    pub fn reads(&self) -> Vec<String> {
        match &self.policies {
            Policies::Rego(rego) => rego.reads(),
            Policies::Cedar(cedar) => cedar.reads(),
        }
    }

    /// The version of the loaded set.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The language of the loaded set.
    pub fn engine(&self) -> Engine {
        match &self.policies {
            Policies::Rego(_) => Engine::Rego,
            Policies::Cedar(_) => Engine::Cedar,
        }
    }

    /// Decides. Never fails: whatever goes wrong inside, a panic included, is a deny with its own code.
    pub fn decide(&self, scratch: &mut Scratch, query: &Query<'_>) -> Verdict {
        let evaluator = scratch.evaluator(self);
        let outcome = catch_unwind(AssertUnwindSafe(|| evaluator.decide(query)));
        match outcome {
            Ok(Ok(answer)) => Verdict {
                decision: answer.decision,
                code: match answer.decision {
                    Decision::Allow => "policy.allowed",
                    Decision::Deny => "policy.denied",
                },
                reasons: answer.reasons,
                message: answer.message,
                obligations: answer.obligations,
                metadata: answer.metadata,
                errors: Vec::new(),
                revision: self.revision.clone(),
            },
            Ok(Err(none)) => Verdict::failed(none.code(), none.to_string(), self.revision.clone()),
            Err(panic) => {
                // What a panic leaves behind is not trusted with another decision.
                scratch.forget(self.generation);
                Verdict::failed("policy.engine_panic", panic_text(&*panic), self.revision.clone())
            }
        }
    }

    fn new_evaluator(&self) -> Evaluator {
        match &self.policies {
            Policies::Rego(rego) => Evaluator::Rego(Box::new(rego.evaluator())),
            Policies::Cedar(cedar) => Evaluator::Cedar(Box::new(cedar.evaluator())),
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    truncated(format!("the engine panicked: {}", text.as_deref().unwrap_or("without a message")))
}

/// One worker's evaluators: of the policy set in force and of the one before, so that exchanges that began under the
/// old one can still be judged by it.
#[derive(Debug, Default)]
pub struct Scratch {
    current: Option<(u64, Evaluator)>,
    previous: Option<(u64, Evaluator)>,
}

impl Scratch {
    fn evaluator(&mut self, pdp: &Pdp) -> &mut Evaluator {
        let is =
            |slot: &Option<(u64, Evaluator)>| slot.as_ref().is_some_and(|(have, _)| *have == pdp.generation);
        if !is(&self.current) {
            std::mem::swap(&mut self.current, &mut self.previous);
            if !is(&self.current) {
                self.current = None;
            }
        }
        &mut self.current.get_or_insert_with(|| (pdp.generation, pdp.new_evaluator())).1
    }

    fn forget(&mut self, generation: u64) {
        for slot in [&mut self.current, &mut self.previous] {
            if slot.as_ref().is_some_and(|(have, _)| *have == generation) {
                *slot = None;
            }
        }
    }
}

fn refuse_overlap(bundles: &[(&str, &PolicyBundle)]) -> Result<(), LoadError> {
    for (index, (first, bundle)) in bundles.iter().enumerate() {
        for (second, other) in bundles.iter().skip(index.saturating_add(1)) {
            if let Some((first_root, second_root)) = bundle.manifest.overlap(&other.manifest) {
                return Err(LoadError::Overlap {
                    first: (*first).to_owned(),
                    second: (*second).to_owned(),
                    first_root: first_root.to_owned(),
                    second_root: second_root.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// A policy in the other language would be silently without effect: the set is refused instead.
fn refuse_language(bundles: &[(&str, &PolicyBundle)], entry: &Entry) -> Result<(), LoadError> {
    let (own, what) = match entry {
        Entry::Rego { .. } => {
            (".rego", "it holds Cedar policies, but the configured decision is a Rego rule")
        }
        Entry::Cedar => (".cedar", "it holds Rego policies, but the configured decision is Cedar"),
    };
    for (name, bundle) in bundles {
        let foreign_schema = own == ".rego" && bundle.cedar_schema.is_some();
        if foreign_schema || bundle.policies.keys().any(|file| !file.ends_with(own)) {
            return Err(LoadError::Language { bundle: (*name).to_owned(), what });
        }
    }
    Ok(())
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Pdp>();
    const fn sent<T: Send>() {}
    sent::<Scratch>();
};
