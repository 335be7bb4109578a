//! The contract's names and constructors, looked up once.
use crate::engine::NoAnswer;
use cedar_policy_core::ast::{Eid, EntityType, EntityUID, ExtensionFunction, Name, PartialValue, Value};
use cedar_policy_core::extensions::Extensions;
use std::net::IpAddr;
use std::str::FromStr as _;
use std::sync::Arc;

/// The types of the contract, parsed once.
pub(super) struct Names {
    pub(super) workload: EntityType,
    pub(super) trust_domain: EntityType,
    service: EntityType,
    pub(super) route: EntityType,
    action: EntityType,
    /// The entities that stand for parts of this request.
    pub(super) headers: Arc<EntityUID>,
    pub(super) query: Arc<EntityUID>,
    pub(super) claims: Arc<EntityUID>,
    pub(super) transaction: Arc<EntityUID>,
    pub(super) workload_token: Arc<EntityUID>,
    pub(super) body: Arc<EntityUID>,
    pub(super) numbers: Arc<EntityUID>,
    ip: &'static ExtensionFunction,
    datetime: &'static ExtensionFunction,
}

/// The types of which every entity is made for one request: a bundle has none of them.
pub(super) const OF_A_REQUEST: [&str; 6] = ["Headers", "Query", "Claims", "WorkloadToken", "Body", "Numbers"];

/// The id of the entities that stand for parts of this request.
const THIS: &str = "request";
/// The id of the claims of its transaction token.
const TRANSACTION: &str = "transaction";

impl Names {
    pub(super) fn new() -> Result<Self, String> {
        let kind = |text: &str| {
            Name::parse_unqualified_name(text).map(EntityType::from).map_err(|error| error.to_string())
        };
        let part = |text: &str, id: &str| kind(text).map(|kind| Arc::new(uid(&kind, id)));
        Ok(Self {
            workload: kind("Workload")?,
            trust_domain: kind("TrustDomain")?,
            service: kind("Service")?,
            route: kind("Route")?,
            action: kind("Action")?,
            headers: part("Headers", THIS)?,
            query: part("Query", THIS)?,
            claims: part("Claims", THIS)?,
            transaction: part("Claims", TRANSACTION)?,
            workload_token: part("WorkloadToken", THIS)?,
            body: part("Body", THIS)?,
            numbers: part("Numbers", THIS)?,
            ip: function("ip")?,
            datetime: function("datetime")?,
        })
    }

    pub(super) fn workload(&self, id: &str) -> EntityUID {
        uid(&self.workload, id)
    }

    pub(super) fn trust_domain(&self, name: &str) -> EntityUID {
        uid(&self.trust_domain, name)
    }

    pub(super) fn service(&self, name: &str) -> EntityUID {
        uid(&self.service, name)
    }

    pub(super) fn route(&self, name: &str) -> EntityUID {
        uid(&self.route, name)
    }

    pub(super) fn action(&self, name: &str) -> EntityUID {
        uid(&self.action, name)
    }

    pub(super) fn ip(&self, address: IpAddr) -> Result<Value, NoAnswer> {
        called(self.ip, &address.to_string())
    }

    /// A moment, written as [`rfc3339_ms`] writes it.
    pub(super) fn datetime(&self, now_ns: u64) -> Result<Value, NoAnswer> {
        called(self.datetime, &rfc3339_ms(now_ns))
    }
}

fn uid(kind: &EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(kind.clone(), Eid::new(id), None)
}

fn function(name: &str) -> Result<&'static ExtensionFunction, String> {
    let name = Name::from_str(name).map_err(|error| error.to_string())?;
    Extensions::all_available().func(&name).map_err(|error| error.to_string())
}

fn called(function: &ExtensionFunction, argument: &str) -> Result<Value, NoAnswer> {
    match function.call(&[Value::from(argument)]) {
        Ok(PartialValue::Value(value)) => Ok(value),
        Ok(PartialValue::Residual(_)) => Err(NoAnswer::Engine(format!("`{argument}` has no value"))),
        Err(error) => Err(NoAnswer::Engine(error.to_string())),
    }
}

/// The moment as `2026-11-23T08:52:02.123Z`. The date follows Howard Hinnant's `civil_from_days`.
pub(super) fn rfc3339_ms(now_ns: u64) -> String {
    let ms = now_ns / 1_000_000;
    let (days, ms_of_day) = (ms / 86_400_000, ms % 86_400_000);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60, ms_of_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms_of_day % 1000)
}
