//! The `cidr` builtins: networks of IPv4 and IPv6 addresses, as Go's package `net` reads and compares them.
use super::{Builtin, BuiltinError, Context, Outcome, arg, operand, text};
use crate::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("net.cidr_contains", 2, contains),
    Builtin::pure("net.cidr_contains_matches", 2, contains_matches),
    Builtin::pure("net.cidr_expand", 1, expand),
    Builtin::pure("net.cidr_intersects", 2, intersects),
    Builtin::pure("net.cidr_is_valid", 1, is_valid),
    Builtin::pure("net.cidr_merge", 1, merge),
    // Its name before 1.0.
    Builtin::pure("net.cidr_overlap", 2, contains),
];

/// An address as Go has it: in 16 bytes, those of IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Address(u128);

impl Address {
    fn parse(text: &str) -> Option<(Self, u32)> {
        match text.parse().ok()? {
            IpAddr::V4(v4) => Some((Self(u128::from_be_bytes(v4.to_ipv6_mapped().octets())), 32)),
            IpAddr::V6(v6) => Some((Self(v6.into()), 128)),
        }
    }

    /// The address of IPv4 that it is, also where it was written as one of IPv6.
    fn v4(self) -> Option<Ipv4Addr> {
        Ipv6Addr::from(self.0).to_ipv4_mapped()
    }

    /// The one before, of the same family; of the first one itself.
    fn previous(self) -> Self {
        match self.v4() {
            Some(v4) if v4.is_unspecified() => self,
            _ => Self(self.0.saturating_sub(1)),
        }
    }
}

/// Whether a text is an address of either family.
pub(super) fn is_address(text: &str) -> bool {
    Address::parse(text).is_some()
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.v4() {
            Some(v4) => write!(f, "{v4}"),
            None => write!(f, "{}", Ipv6Addr::from(self.0)),
        }
    }
}

/// A network: its first address, how many bits of it count, and of how many (32 or 128).
#[derive(Clone, Copy, Debug)]
struct Network {
    first: Address,
    ones: u32,
    width: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, ones) = text.split_once('/')?;
        let (address, width) = Address::parse(address)?;
        // Zeros in front count for nothing, but Go stops at this many.
        let significant = ones.trim_start_matches('0').len();
        if ones.is_empty() || significant > 3 || !ones.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let ones: u32 = ones.parse().ok().filter(|ones| *ones <= width)?;
        Some(Self { first: Address(address.0 & !low_bits(width.saturating_sub(ones))), ones, width })
    }

    fn last(self) -> Address {
        Address(self.first.0 | low_bits(self.width.saturating_sub(self.ones)))
    }

    /// No network holds addresses of the other family, not even `::/0`.
    fn contains(self, address: Address) -> bool {
        let bits = self.width.saturating_sub(self.ones);
        let bits = if self.first.v4().is_some() { bits.min(32) } else { bits };
        self.first.v4().is_some() == address.v4().is_some()
            && (self.first.0 ^ address.0) & !low_bits(bits) == 0
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mapped = self.width == 128 && self.first.v4().is_some();
        write!(f, "{}/{}", self.first, if mapped { self.ones.saturating_sub(96) } else { self.ones })
    }
}

fn low_bits(bits: u32) -> u128 {
    u128::MAX.checked_shr(128_u32.saturating_sub(bits)).unwrap_or(0)
}

fn network(value: &Value) -> Result<Network, BuiltinError> {
    let text = value.as_str().ok_or_else(|| operand(0, "string", value))?;
    Network::parse(text).ok_or_else(|| BuiltinError::Failed(format!("invalid CIDR address: {text}")))
}

fn intersects(context: &mut Context, args: &[Value]) -> Outcome {
    context.charge(2)?;
    let (a, b) = (network(arg(args, 0)?)?, network(arg(args, 1)?)?);
    Ok(Some(Value::Bool(a.contains(b.first) || b.contains(a.first))))
}

fn contains(context: &mut Context, args: &[Value]) -> Outcome {
    Ok(Some(Value::Bool(holds(context, arg(args, 0)?, arg(args, 1)?)?)))
}

/// Whether a network holds an address, or another network.
fn holds(context: &mut Context, a: &Value, b: &Value) -> Result<bool, BuiltinError> {
    context.charge(2)?;
    let a = network(a)?;
    let text = b.as_str().ok_or_else(|| operand(0, "string", b))?;
    if let Some((address, _)) = Address::parse(text) {
        return Ok(a.contains(address));
    }
    let b = Network::parse(text).ok_or_else(|| {
        BuiltinError::Failed(format!("not a valid textual representation of an IP address or CIDR: {text}"))
    })?;
    Ok(a.contains(b.first) && a.contains(b.last()))
}

fn contains_matches(context: &mut Context, args: &[Value]) -> Outcome {
    let mut found = Vec::new();
    let inner = arg(args, 1)?;
    for (outer, outer_index) in candidates(arg(args, 0)?) {
        let outer = outer.ok_or_else(|| not_a_candidate(1))?;
        for (inner, inner_index) in candidates(inner) {
            let inner = inner.ok_or_else(|| not_a_candidate(2))?;
            if holds(context, outer, inner)? {
                found.push(Value::array([outer_index.clone(), inner_index]));
            }
        }
    }
    Ok(Some(Value::set(found)))
}

fn not_a_candidate(index: usize) -> BuiltinError {
    BuiltinError::Failed(format!("operand {index}: element must be string or non-empty array"))
}

/// What an operand lists: networks, or arrays that begin with one, each with what names it in the result.
fn candidates(operand: &Value) -> Box<dyn Iterator<Item = (Option<&Value>, Value)> + '_> {
    match operand {
        Value::String(_) => Box::new(std::iter::once((Some(operand), operand.clone()))),
        Value::Array(items) => {
            Box::new(items.iter().enumerate().map(move |(i, item)| (named(item), i.into())))
        }
        Value::Set(items) => Box::new(items.iter().map(move |item| (named(item), item.clone()))),
        Value::Object(members) => Box::new(members.iter().map(move |(k, v)| (named(v), k.clone()))),
        _ => Box::new(std::iter::empty()),
    }
}

fn named(item: &Value) -> Option<&Value> {
    match item {
        Value::String(_) => Some(item),
        Value::Array(items) => items.first(),
        _ => None,
    }
}

fn expand(context: &mut Context, args: &[Value]) -> Outcome {
    let network = network(arg(args, 0)?)?;
    let size = 1_u128.checked_shl(network.width.saturating_sub(network.ones));
    context.charge(size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX))?;
    let all = network.first.0..=network.last().0;
    Ok(Some(Value::set(all.map(|address| Value::from(Address(address).to_string())))))
}

fn is_valid(context: &mut Context, args: &[Value]) -> Outcome {
    let Ok(text) = text(args, 0) else { return Ok(Some(Value::Bool(false))) };
    context.charge_bytes(text.len())?;
    Ok(Some(Value::Bool(Network::parse(text).is_some())))
}

/// What is to be merged: a range, and how it prints while it was merged with nothing.
struct Range {
    first: Address,
    last: Address,
    name: Option<String>,
}

impl Range {
    fn read(value: &Value) -> Result<Self, BuiltinError> {
        let failed = |why: &str| Err(BuiltinError::Failed(why.to_owned()));
        let Value::String(text) = value else { return failed("element must be string") };
        let Some((address, _)) = Address::parse(text) else {
            let network = network(value)?;
            return Ok(Self { first: network.first, last: network.last(), name: Some(network.to_string()) });
        };
        let Some(v4) = address.v4() else { return failed("IPv6 invalid: needs prefix length") };
        // An address alone stands for the network of its class, and prints with all of its own bits.
        let ones = match v4.octets() {
            [..0x80, ..] => 8,
            [..0xc0, ..] => 16,
            _ => 24,
        };
        let host = low_bits(32_u32.saturating_sub(ones));
        let (first, last) = (Address(address.0 & !host), Address(address.0 | host));
        Ok(Self { first, last, name: Some(format!("{v4}/{ones}")) })
    }
}

fn merge(context: &mut Context, args: &[Value]) -> Outcome {
    let items = match arg(args, 0)? {
        Value::Array(items) => items.iter(),
        Value::Set(items) => items.iter(),
        _ => return Err(BuiltinError::Failed("operand must be an array".to_owned())),
    };
    context.charge(items.len())?;
    let mapped = |item: &Value| {
        let network = item.as_str().and_then(Network::parse);
        network.is_some_and(|network| network.width == 128 && network.first.v4().is_some())
    };
    let broken = items.len() > 1 && items.clone().any(mapped);
    let mut ranges = items.map(Range::read).collect::<Result<Vec<_>, _>>()?;
    if broken {
        return Err(unanswered());
    }
    ranges.sort_by_key(|range| (range.last, range.first));
    let mut merged: Vec<Range> = Vec::new();
    for range in ranges.into_iter().rev() {
        match merged.last_mut() {
            Some(above) if above.first.previous() <= range.last => {
                *above = Range { first: range.first.min(above.first), last: above.last, name: None };
            }
            _ => merged.push(range),
        }
    }
    let mut networks = Vec::new();
    for range in merged {
        match range.name {
            Some(name) => networks.push(Value::from(name)),
            None => split(&range, &mut networks)?,
        }
    }
    Ok(Some(Value::set(networks)))
}

/// The fewest networks that make up a range.
fn split(range: &Range, networks: &mut Vec<Value>) -> Result<(), BuiltinError> {
    let width = if range.first.v4().is_some() { 32 } else { 128 };
    let common = 128_u32.saturating_sub((range.first.0 ^ range.last.0).leading_zeros());
    let spanning = range.first.0 & !low_bits(common);
    if (width == 32 && range.last.v4().is_none()) || (width == 128 && spanning != 0 && spanning >> 120 == 0) {
        return Err(unanswered());
    }
    let mut first = range.first.0;
    loop {
        // As large as the alignment of the first address allows, and no larger than what is left.
        let mut bits = first.trailing_zeros().min(width);
        while bits > 0 && first | low_bits(bits) > range.last.0 {
            bits = bits.saturating_sub(1);
        }
        networks.push(Value::from(
            Network { first: Address(first), ones: width.saturating_sub(bits), width }.to_string(),
        ));
        match (first | low_bits(bits)).checked_add(1) {
            Some(next) if next <= range.last.0 => first = next,
            _ => return Ok(()),
        }
    }
}

/// OPA panics, or reads the bytes of an address at the wrong place: beside networks of IPv4 written as IPv6, and when
/// networks of IPv6 are merged whose common beginning starts with a zero byte.
fn unanswered() -> BuiltinError {
    BuiltinError::Budget("OPA cannot merge these networks and has no answer to agree with".to_owned())
}

#[cfg(test)]
mod tests;
