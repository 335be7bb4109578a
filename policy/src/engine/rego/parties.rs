//! Both ends of a connection, made once and shared by its requests.
use postern_rego::Value;
use std::collections::HashMap;
use std::net::SocketAddr;

/// The most ends that are kept; when there are more, all are made anew.
const KEPT_MAX: usize = 4096;

/// What was made, by address. An address that comes back with another principal is another end.
#[derive(Debug, Default)]
pub(super) struct Parties {
    kept: HashMap<Option<SocketAddr>, (Option<String>, Value)>,
}

impl Parties {
    pub(super) fn get(
        &mut self,
        address: Option<SocketAddr>,
        principal: Option<&str>,
        make: impl FnOnce() -> Value,
    ) -> Value {
        if let Some((have, value)) = self.kept.get(&address)
            && have.as_deref() == principal
        {
            return value.clone();
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        let value = make();
        self.kept.insert(address, (principal.map(str::to_owned), value.clone()));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for an end of these principals one after the other, and says how often it was made.
    fn check(principals: &[Option<&str>], made: usize) {
        let (mut parties, mut count) = (Parties::default(), 0);
        for principal in principals {
            let value = parties.get("10.0.0.7:1".parse().ok(), *principal, || {
                count += 1;
                Value::from(principal.unwrap_or("nobody"))
            });
            assert_eq!(value, Value::from(principal.unwrap_or("nobody")));
        }
        assert_eq!(count, made, "{principals:?}");
    }

    #[test]
    fn an_end_is_made_once_for_its_principal() {
        check(&[Some("a"), Some("a"), Some("a")], 1);
        check(&[Some("a"), Some("b"), Some("a")], 3);
        check(&[Some("a"), None], 2);
        check(&[None, None], 1);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut parties = Parties::default();
        for port in 0..=u16::MAX {
            parties.get(Some(SocketAddr::from(([10, 0, 0, 7], port))), None, || Value::Null);
        }
        assert!(parties.kept.len() <= KEPT_MAX);
    }
}
