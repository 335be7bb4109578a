//! `workload_tokens:`

use std::collections::BTreeMap;

use serde::Deserialize;

/// Identity tokens of workloads themselves (WIT-SVID) with a proof for each request (WIMSE). Both specifications are incubating.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkloadTokensFile {
    /// Must be `true`: what is incubating may change with any release, here and at the callers.
    pub incubating: bool,
    /// What this service is called in proofs, as `https://orders.example.org`: a proof is for a path at one of these. The host that a request names does not count.
    pub authorities: Vec<String>,
    /// One file per trust domain: its SPIFFE bundle in JSON, with keys for the use `wit-svid`, watched for change.
    pub bundles: BTreeMap<String, String>,
}
