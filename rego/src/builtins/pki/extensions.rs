//! The extensions of a certificate: what each says, and which ones make it unreadable.
use super::der::{self, Reader};
use super::keys::object;
use super::names::{constraint_is_domain, constraint_is_mailbox, domain_is_valid};
use super::text::{self, list, lossy};
use super::url::Url;
use crate::Value;

/// An extension as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Extension {
    pub(crate) oid: Vec<u32>,
    critical: bool,
    pub(crate) value: Vec<u8>,
}

/// The names that a certificate is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) dns: Vec<String>,
    pub(crate) emails: Vec<String>,
    pub(crate) ips: Vec<Vec<u8>>,
    pub(crate) uris: Vec<Url>,
}

/// The subtrees of names that a certificate permits or excludes for those below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subtrees {
    pub(crate) dns: Vec<String>,
    pub(crate) emails: Vec<String>,
    /// An address and its mask, both of 4 or of 16 bytes.
    pub(crate) ips: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) uris: Vec<String>,
}

/// A number that may be left out; 0 is said twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limit(pub(crate) Option<i64>);

impl Limit {
    fn number(self) -> Value {
        Value::from(self.0.unwrap_or(0))
    }

    fn is_zero(self) -> Value {
        Value::Bool(self.0 == Some(0))
    }
}

/// All of them, and what they say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) list: Vec<Extension>,
    /// Critical ones that nobody here understands.
    pub(crate) unhandled: Vec<Vec<u32>>,
    pub(crate) key_usage: i64,
    /// Whether it is a CA, and how long the path below it may be; -1 is any.
    pub(crate) basic: Option<(bool, i64)>,
    pub(crate) names: Names,
    constraints_critical: bool,
    pub(crate) permitted: Subtrees,
    pub(crate) excluded: Subtrees,
    crl_points: Vec<Vec<u8>>,
    pub(crate) authority_key_id: Option<Vec<u8>>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) require_explicit_policy: Limit,
    pub(crate) inhibit_policy_mapping: Limit,
    pub(crate) inhibit_any_policy: Limit,
    /// Usages by Go's numbers.
    pub(crate) usages: Vec<i64>,
    pub(crate) unknown_usages: Vec<Vec<u32>>,
    /// The contents of object identifiers.
    pub(crate) policies: Option<Vec<Vec<u8>>>,
    pub(crate) mappings: Vec<(Vec<u8>, Vec<u8>)>,
    ocsp: Vec<Vec<u8>>,
    issuers: Vec<Vec<u8>>,
}

const AUTHORITY_INFORMATION: &[u32] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];

/// Go's numbers of the usages that it knows, from 0 on.
const USAGES: &[&[u32]] = &[
    &[2, 5, 29, 37, 0],
    &[1, 3, 6, 1, 5, 5, 7, 3, 1],
    &[1, 3, 6, 1, 5, 5, 7, 3, 2],
    &[1, 3, 6, 1, 5, 5, 7, 3, 3],
    &[1, 3, 6, 1, 5, 5, 7, 3, 4],
    &[1, 3, 6, 1, 5, 5, 7, 3, 5],
    &[1, 3, 6, 1, 5, 5, 7, 3, 6],
    &[1, 3, 6, 1, 5, 5, 7, 3, 7],
    &[1, 3, 6, 1, 5, 5, 7, 3, 8],
    &[1, 3, 6, 1, 5, 5, 7, 3, 9],
    &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3],
    &[2, 16, 840, 1, 113_730, 4, 1],
    &[1, 3, 6, 1, 4, 1, 311, 2, 1, 22],
    &[1, 3, 6, 1, 4, 1, 311, 61, 1, 1],
];

impl Extension {
    /// Reads a sequence of extensions, itself an element.
    pub(crate) fn list(mut reader: Reader<'_>) -> Option<Vec<Self>> {
        let mut sequence = reader.read(der::SEQUENCE)?;
        let mut found = Vec::new();
        while !sequence.is_empty() {
            found.push(Self::read(sequence.read(der::SEQUENCE)?)?);
        }
        Some(found)
    }

    fn read(mut reader: Reader<'_>) -> Option<Self> {
        let oid = reader.oid()?;
        let critical = if reader.peek(der::BOOLEAN) { reader.boolean()? } else { false };
        Some(Self { oid, critical, value: reader.bytes(der::OCTET_STRING)?.to_vec() })
    }

    pub(crate) fn to_value(&self) -> Value {
        object([
            ("Id", text::oid_value(&self.oid)),
            ("Critical", Value::Bool(self.critical)),
            ("Value", text::bytes(Some(&self.value))),
        ])
    }
}

impl Extensions {
    /// Reads the content of the sequence.
    pub(crate) fn read(mut sequence: Reader<'_>) -> Option<Self> {
        let mut all = Self::default();
        let mut seen = std::collections::HashSet::new();
        while !sequence.is_empty() {
            let extension = Extension::read(sequence.read(der::SEQUENCE)?)?;
            if !seen.insert(extension.oid.clone()) {
                return None;
            }
            all.list.push(extension);
        }
        for extension in all.list.clone() {
            let handled = all.take(&extension)?;
            if extension.critical && !handled {
                all.unhandled.push(extension.oid);
            }
        }
        Some(all)
    }

    /// Whether there is one of this last arc below 2.5.29.
    pub(crate) fn has(&self, arc: u32) -> bool {
        self.of(arc).is_some()
    }

    /// The content of the one of this last arc below 2.5.29.
    pub(crate) fn of(&self, arc: u32) -> Option<&[u8]> {
        let found = self.list.iter().find(|extension| extension.oid == [2, 5, 29, arc]);
        found.map(|extension| extension.value.as_slice())
    }

    /// Takes what an extension says; `Some(false)` if nobody knows what it means.
    fn take(&mut self, extension: &Extension) -> Option<bool> {
        let mut reader = Reader::new(&extension.value);
        match extension.oid.as_slice() {
            AUTHORITY_INFORMATION => {
                self.authority_information(extension.critical, reader.read(der::SEQUENCE)?)?;
            }
            [2, 5, 29, 14] if extension.critical => return None,
            [2, 5, 29, 14] => self.subject_key_id = Some(reader.bytes(der::OCTET_STRING)?.to_vec()),
            [2, 5, 29, 15] => {
                let bits = reader.bit_string()?;
                self.key_usage = (0..9).filter(|bit| bits.at(*bit)).map(|bit| 1 << bit).sum();
            }
            [2, 5, 29, 17] => {
                self.names = Names::read(&extension.value)?;
                return Some(!self.names.is_empty());
            }
            [2, 5, 29, 19] => self.basic = Some(basic(reader.read(der::SEQUENCE)?)?),
            [2, 5, 29, 30] => return self.constraints(extension.critical, reader),
            [2, 5, 29, 31] => self.crl_points = crl_points(reader.read(der::SEQUENCE)?)?,
            [2, 5, 29, 32] => self.policies = Some(policies(reader.read(der::SEQUENCE)?)?),
            [2, 5, 29, 33] => {
                let mut mappings = reader.read(der::SEQUENCE)?;
                while !mappings.is_empty() {
                    let mut mapping = mappings.read(der::SEQUENCE)?;
                    let (issuer, subject) = (mapping.bytes(der::OID)?, mapping.bytes(der::OID)?);
                    self.mappings.push((issuer.to_vec(), subject.to_vec()));
                }
            }
            [2, 5, 29, 35] if extension.critical => return None,
            [2, 5, 29, 35] => {
                let mut identifier = reader.read(der::SEQUENCE)?;
                let id = if identifier.peek(der::context(0)) {
                    Some(identifier.bytes(der::context(0))?)
                } else {
                    None
                };
                self.authority_key_id = id.map(<[u8]>::to_vec);
            }
            [2, 5, 29, 36] => {
                let mut limits = reader.read(der::SEQUENCE)?;
                if limits.peek(der::context(0)) {
                    self.require_explicit_policy = Limit(Some(limits.int64(der::context(0))?));
                }
                if limits.peek(der::context(1)) {
                    self.inhibit_policy_mapping = Limit(Some(limits.int64(der::context(1))?));
                }
            }
            [2, 5, 29, 37] => {
                let mut usages = reader.read(der::SEQUENCE)?;
                while !usages.is_empty() {
                    let oid = usages.oid()?;
                    match USAGES.iter().position(|known| *known == oid).map(i64::try_from) {
                        Some(Ok(number)) => self.usages.push(number),
                        _ => self.unknown_usages.push(oid),
                    }
                }
            }
            [2, 5, 29, 54] => self.inhibit_any_policy = Limit(Some(reader.int64(der::INTEGER)?)),
            _ => return Some(false),
        }
        Some(true)
    }

    fn authority_information(&mut self, critical: bool, mut descriptions: Reader<'_>) -> Option<()> {
        if critical {
            return None;
        }
        while !descriptions.is_empty() {
            let mut description = descriptions.read(der::SEQUENCE)?;
            let method = description.oid()?;
            if !description.peek(der::context(6)) {
                continue;
            }
            let place = description.bytes(der::context(6))?.to_vec();
            match method.as_slice() {
                [1, 3, 6, 1, 5, 5, 7, 48, 1] => self.ocsp.push(place),
                [1, 3, 6, 1, 5, 5, 7, 48, 2] => self.issuers.push(place),
                _ => {}
            }
        }
        Some(())
    }

    fn constraints(&mut self, critical: bool, mut outer: Reader<'_>) -> Option<bool> {
        let mut top = outer.read(der::SEQUENCE).filter(|_| outer.is_empty())?;
        let permitted = top.optional(der::constructed(0))?;
        let excluded = top.optional(der::constructed(1))?;
        let empty = |subtrees: &Option<Reader<'_>>| subtrees.is_none_or(|subtrees| subtrees.is_empty());
        if !top.is_empty() || (empty(&permitted) && empty(&excluded)) {
            return None;
        }
        let mut handled = true;
        self.permitted = Subtrees::read(permitted.unwrap_or(Reader::new(&[])), &mut handled)?;
        self.excluded = Subtrees::read(excluded.unwrap_or(Reader::new(&[])), &mut handled)?;
        self.constraints_critical = critical;
        Some(handled)
    }

    /// The contents of the object identifiers whose numbers may be of any size.
    pub(crate) fn large_oids(&self) -> impl Iterator<Item = &Vec<u8>> {
        let mappings = self.mappings.iter().flat_map(|(issuer, subject)| [issuer, subject]);
        self.policies.iter().flatten().chain(mappings)
    }

    /// The members of a certificate that come of its extensions.
    pub(crate) fn members(&self) -> Vec<(&'static str, Value)> {
        let oids = |oids: &[Vec<u32>]| list(oids.iter().map(|oid| text::oid_value(oid)).collect());
        let texts = |texts: &[Vec<u8>]| list(texts.iter().map(|text| Value::from(lossy(text))).collect());
        let dotted = |oid: &[u8]| Value::from(der::dotted(oid).unwrap_or_default());
        let (is_ca, path) = self.basic.unwrap_or((false, 0));
        let mapping = |(issuer, subject): &(Vec<u8>, Vec<u8>)| {
            object([("IssuerDomainPolicy", dotted(issuer)), ("SubjectDomainPolicy", dotted(subject))])
        };
        let policies = self.policies.as_deref();
        let identifiers = policies.map(|policies| {
            let numbers = policies.iter().filter_map(|policy| der::oid(policy));
            Value::array(numbers.map(|oid| text::oid_value(&oid)))
        });
        let mut members = vec![
            ("KeyUsage", Value::from(self.key_usage)),
            ("Extensions", list(self.list.iter().map(Extension::to_value).collect())),
            ("ExtraExtensions", Value::Null),
            ("UnhandledCriticalExtensions", oids(&self.unhandled)),
            ("ExtKeyUsage", list(self.usages.iter().map(|usage| Value::from(*usage)).collect())),
            ("UnknownExtKeyUsage", oids(&self.unknown_usages)),
            ("BasicConstraintsValid", Value::Bool(self.basic.is_some())),
            ("IsCA", Value::Bool(is_ca)),
            ("MaxPathLen", Value::from(path)),
            ("MaxPathLenZero", Value::Bool(self.basic.is_some() && path == 0)),
            ("SubjectKeyId", text::bytes(self.subject_key_id.as_deref())),
            ("AuthorityKeyId", text::bytes(self.authority_key_id.as_deref())),
            ("OCSPServer", texts(&self.ocsp)),
            ("IssuingCertificateURL", texts(&self.issuers)),
            ("DNSNames", self.names.dns_value()),
            ("EmailAddresses", self.names.emails_value()),
            ("IPAddresses", self.names.ips_value()),
            ("URIs", self.names.uris_value()),
            ("PermittedDNSDomainsCritical", Value::Bool(self.constraints_critical)),
            ("CRLDistributionPoints", texts(&self.crl_points)),
            ("PolicyIdentifiers", identifiers.unwrap_or(Value::Null)),
            ("Policies", list(policies.unwrap_or_default().iter().map(|policy| dotted(policy)).collect())),
            ("PolicyMappings", list(self.mappings.iter().map(mapping).collect())),
            ("InhibitAnyPolicy", self.inhibit_any_policy.number()),
            ("InhibitAnyPolicyZero", self.inhibit_any_policy.is_zero()),
            ("InhibitPolicyMapping", self.inhibit_policy_mapping.number()),
            ("InhibitPolicyMappingZero", self.inhibit_policy_mapping.is_zero()),
            ("RequireExplicitPolicy", self.require_explicit_policy.number()),
            ("RequireExplicitPolicyZero", self.require_explicit_policy.is_zero()),
        ];
        members.extend(self.permitted.members([
            "PermittedDNSDomains",
            "PermittedEmailAddresses",
            "PermittedIPRanges",
            "PermittedURIDomains",
        ]));
        members.extend(self.excluded.members([
            "ExcludedDNSDomains",
            "ExcludedEmailAddresses",
            "ExcludedIPRanges",
            "ExcludedURIDomains",
        ]));
        members
    }
}

impl Names {
    /// Reads the content of the extension.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let mut sequence = Reader::new(value).read(der::SEQUENCE)?;
        let mut names = Self::default();
        while !sequence.is_empty() {
            let element = sequence.any()?;
            let text =
                || std::str::from_utf8(element.body).ok().filter(|text| text.is_ascii()).map(str::to_owned);
            match element.tag ^ 0x80 {
                1 => names.emails.push(text()?),
                2 => names.dns.push(text()?),
                6 => {
                    text()?;
                    let url = Url::parse(element.body)?;
                    if !domain_is_valid(&url.host, false) {
                        return None;
                    }
                    names.uris.push(url);
                }
                7 if matches!(element.body.len(), 4 | 16) => names.ips.push(element.body.to_vec()),
                7 => return None,
                _ => {}
            }
        }
        Some(names)
    }

    fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.emails.is_empty() && self.ips.is_empty() && self.uris.is_empty()
    }

    pub(crate) fn dns_value(&self) -> Value {
        strings(&self.dns)
    }

    pub(crate) fn emails_value(&self) -> Value {
        strings(&self.emails)
    }

    pub(crate) fn ips_value(&self) -> Value {
        list(self.ips.iter().map(|ip| ip_value(ip)).collect())
    }

    pub(crate) fn uris_value(&self) -> Value {
        list(self.uris.iter().map(Url::to_value).collect())
    }
}

impl Subtrees {
    fn read(mut reader: Reader<'_>, handled: &mut bool) -> Option<Self> {
        let mut found = Self::default();
        while !reader.is_empty() {
            let element = reader.read(der::SEQUENCE)?.any()?;
            let text =
                || std::str::from_utf8(element.body).ok().filter(|text| text.is_ascii()).map(str::to_owned);
            match (element.tag, element.body.len()) {
                (0x81, _) => found.emails.push(text().filter(|text| constraint_is_mailbox(text))?),
                (0x82, _) => found.dns.push(text().filter(|text| constraint_is_domain(text))?),
                (0x86, _) => {
                    let domain = text().filter(|text| super::names::ip(text).is_none())?;
                    found.uris.push(Some(domain).filter(|domain| constraint_is_domain(domain))?);
                }
                (0x87, length @ (8 | 32)) => {
                    let (ip, mask) = element.body.split_at_checked(length / 2)?;
                    let ones: u32 = mask.iter().map(|byte| byte.leading_ones()).sum();
                    let set: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
                    let first_zero = mask.iter().position(|byte| *byte != 0xff).unwrap_or(mask.len());
                    let after = mask.get(first_zero..).unwrap_or_default().iter().skip(1);
                    if ones != set || after.into_iter().any(|byte| *byte != 0) {
                        return None;
                    }
                    found.ips.push((ip.to_vec(), mask.to_vec()));
                }
                (0x87, _) => return None,
                _ => *handled = false,
            }
        }
        Some(found)
    }

    fn members(&self, [dns, emails, ips, uris]: [&'static str; 4]) -> [(&'static str, Value); 4] {
        let range = |(ip, mask): &(Vec<u8>, Vec<u8>)| {
            object([("IP", ip_value(ip)), ("Mask", text::bytes(Some(mask)))])
        };
        [
            (dns, strings(&self.dns)),
            (emails, strings(&self.emails)),
            (ips, list(self.ips.iter().map(range).collect())),
            (uris, strings(&self.uris)),
        ]
    }
}

fn strings(texts: &[String]) -> Value {
    list(texts.iter().map(|text| Value::from(text.as_str())).collect())
}

/// An address as Go writes it: one of IPv6 that holds one of IPv4 is written as the latter.
fn ip_value(bytes: &[u8]) -> Value {
    super::names::ip_of_bytes(bytes).map_or(Value::Null, |ip| Value::from(ip.to_canonical().to_string()))
}

fn basic(mut reader: Reader<'_>) -> Option<(bool, i64)> {
    let is_ca = if reader.peek(der::BOOLEAN) { reader.boolean()? } else { false };
    let path = if reader.peek(der::INTEGER) {
        Some(reader.int64(der::INTEGER)?).filter(|path| *path >= 0)?
    } else {
        -1
    };
    Some((is_ca, path))
}

fn crl_points(mut points: Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while !points.is_empty() {
        let mut point = points.read(der::SEQUENCE)?;
        let Some(mut name) = point.optional(der::constructed(0))? else { continue };
        let mut full = name.read(der::constructed(0))?;
        while full.peek(der::context(6)) {
            found.push(full.bytes(der::context(6))?.to_vec());
        }
    }
    Some(found)
}

fn policies(mut sequence: Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    while !sequence.is_empty() {
        let oid = sequence.read(der::SEQUENCE)?.bytes(der::OID)?;
        der::dotted(oid)?;
        if !seen.insert(oid) {
            return None;
        }
        found.push(oid.to_vec());
    }
    Some(found)
}
