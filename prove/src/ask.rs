//! The solver, and one question put to it.
use crate::report::Environment;
use crate::strict;
use cedar_policy::{Policy, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::err::Error as SymccError;
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{
    CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env, SymEnv, WellFormedAsserts, never_errors_asserts,
};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio::runtime::Runtime;

/// Why nothing can be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum ProverError {
    /// There is no solver.
    #[error("the solver `{}` cannot be run: {error}; install cvc5, or name it by `CVC5`", .path.display())]
    NoSolver {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The runtime that talks to the solver cannot be made.
    #[error("cannot talk to the solver: {0}")]
    Runtime(std::io::Error),
}

/// What asks the solver: cvc5, one process for each question.
#[derive(Debug)]
pub struct Prover {
    solver: PathBuf,
    limit: Duration,
    runtime: Runtime,
}

impl Prover {
    /// A prover with this solver, and at most so much time for one question.
    ///
    /// # Errors
    /// [`ProverError`]: the solver cannot be run.
    pub fn new(solver: &Path, limit: Duration) -> Result<Self, ProverError> {
        let no_solver = |error| ProverError::NoSolver { path: solver.to_owned(), error };
        let told = std::process::Command::new(solver).arg("--version").output().map_err(no_solver)?;
        if !told.status.success() {
            return Err(no_solver(std::io::Error::other("it does not tell its version")));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ProverError::Runtime)?;
        Ok(Self { solver: solver.to_owned(), limit, runtime })
    }

    /// Compiles a set so that it is read as the proxy reads it: what fails denies.
    pub(crate) fn compiled(
        &self,
        policies: &PolicySet,
        environment: &RequestEnv,
        schema: &Schema,
    ) -> Result<CompiledPolicySet, String> {
        let symbols = SymEnv::new(schema, environment).map_err(|error| whole(&error))?;
        let mut failing = Vec::new();
        for policy in policies.policies().filter(|policy| strict::may_fail(policy)) {
            let compiled = one(policy, environment, schema, &symbols)?;
            // Not knowing is treated as failing: the guard of one that cannot fail always holds.
            if !self.never_holds(&never_errors_asserts(&compiled)).unwrap_or(false) {
                failing.push(policy);
            }
        }
        let strict = strict::guarded(policies, &failing)?;
        CompiledPolicySet::compile_with_custom_symenv(&strict, environment, schema, symbols)
            .map_err(|error| whole(&error))
    }

    /// A request for which all of this holds, if there is one.
    pub(crate) fn example(&self, asserts: &WellFormedAsserts<'_>) -> Result<Option<Env>, String> {
        self.run(async { self.compiler()?.check_sat(asserts).await.map_err(Box::new) })
    }

    /// Whether there is no request for which all of this holds.
    pub(crate) fn never_holds(&self, asserts: &WellFormedAsserts<'_>) -> Result<bool, String> {
        self.run(async { self.compiler()?.check_unsat(asserts).await.map_err(Box::new) })
    }

    fn compiler(&self) -> Result<CedarSymCompiler<LocalSolver>, Box<SymccError>> {
        let limit = format!("--tlimit-per={}", self.limit.as_millis());
        let mut command = Command::new(&self.solver);
        command.args(["--lang", "smt", &limit]).kill_on_drop(true);
        let solver = LocalSolver::from_command(&mut command).map_err(|error| Box::new(error.into()))?;
        CedarSymCompiler::new(solver).map_err(Box::new)
    }

    fn run<T>(&self, question: impl Future<Output = Result<T, Box<SymccError>>>) -> Result<T, String> {
        // The solver's own limit comes first; this one is for a solver that forgets it.
        let patience = self.limit.saturating_mul(2);
        let answer = self.runtime.block_on(async { tokio::time::timeout(patience, question).await });
        answer.map_err(|_| "the solver does not answer".to_owned())?.map_err(|error| whole(&*error))
    }
}

/// One policy compiled. The symbols are those of the environment, made once for all of its policies.
pub(crate) fn one(
    policy: &Policy,
    environment: &RequestEnv,
    schema: &Schema,
    symbols: &SymEnv,
) -> Result<CompiledPolicy, String> {
    CompiledPolicy::compile_with_custom_symenv(policy, environment, schema, symbols.clone())
        .map_err(|error| whole(&error))
}

/// The environment in the words of a report.
pub(crate) fn environment(of: &RequestEnv) -> Environment {
    Environment {
        principal: of.principal().to_string(),
        action: of.action().id().unescaped().to_owned(),
        resource: of.resource().to_string(),
    }
}

/// The error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
