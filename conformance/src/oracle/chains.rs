//! The chains that both judges are asked about: every way to bend a leaf, beneath every way to bend what is above it.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose as For, GeneralSubtree,
    IsCa, KeyPair, KeyUsagePurpose as Use, NameConstraints, SanType,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::kit::certificates::{Ca, ID, Leaf, dns, element, extension, uri, uri_constraints, window};

/// A chain, leaf first, and the leaf's key.
pub(super) struct Presented {
    pub(super) name: String,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivatePkcs8KeyDer<'static>,
}

/// Everybody whom both judges trust.
pub(super) struct Authorities {
    root: Ca,
    expired: Ca,
    early: Ca,
    permits: Ca,
    permits_other: Ca,
    excludes: Ca,
    dns: Ca,
    other: Ca,
}

type Bend = fn(&mut CertificateParams);

impl Authorities {
    pub(super) fn new() -> Self {
        let constrained = |permitted: &'static [&str], excluded: &'static [&str]| {
            Ca::root_with(|params| params.custom_extensions.push(uri_constraints(permitted, excluded)))
        };
        Self {
            root: Ca::root(),
            expired: Ca::root_with(|params| window(params, -3600, -1)),
            early: Ca::root_with(|params| window(params, 1, 3600)),
            permits: constrained(&["example.org"], &[]),
            permits_other: constrained(&["other.org"], &[]),
            excludes: constrained(&[], &["example.org"]),
            dns: Ca::root_with(|params| {
                let permitted_subtrees = vec![GeneralSubtree::DnsName("example.org".to_owned())];
                params.name_constraints =
                    Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
            }),
            other: Ca::root(),
        }
    }

    /// The authorities of `example.org`, and those of `other.org`.
    pub(super) fn by_trust_domain(&self) -> (Vec<CertificateDer<'static>>, Vec<CertificateDer<'static>>) {
        let own = [
            &self.root,
            &self.expired,
            &self.early,
            &self.permits,
            &self.permits_other,
            &self.excludes,
            &self.dns,
        ];
        (own.map(|ca| ca.der.clone()).to_vec(), vec![self.other.der.clone()])
    }

    /// The SVID of whoever asks the judges. The other judge looks at the real clock for it, so it is valid for decades.
    pub(super) fn own(&self) -> Leaf {
        self.root.leaf_with(|params| window(params, -1_000_000_000, 1_000_000_000))
    }

    /// Every way to bend a leaf, beneath a right authority.
    pub(super) fn leaves(&self) -> impl Iterator<Item = (&'static str, Leaf)> {
        LEAVES.iter().map(|(name, bend)| (*name, self.root.leaf_with(bend)))
    }

    /// Every case.
    pub(super) fn cases(&self) -> Vec<Presented> {
        let issuers = self.issuers();
        let mut cases = Vec::new();
        for (above, issuer, chain) in &issuers {
            for (beneath, bend) in LEAVES {
                let leaf = issuer.leaf_with(bend);
                cases.push(presented(format!("{beneath}; {above}"), leaf, chain));
            }
        }
        for (name, algorithm) in [
            ("a P-384 key", &rcgen::PKCS_ECDSA_P384_SHA384),
            ("a P-521 key", &rcgen::PKCS_ECDSA_P521_SHA512),
            ("an Ed25519 key", &rcgen::PKCS_ED25519),
        ] {
            let leaf = self.root.leaf_of(KeyPair::generate_for(algorithm).unwrap(), |_| {});
            cases.push(presented(name.to_owned(), leaf, &[]));
        }
        cases
    }

    /// Who signs leaves, and what leads from them to an authority.
    fn issuers(&self) -> Vec<(String, Ca, Vec<CertificateDer<'static>>)> {
        let mut issuers = Vec::new();
        for (name, bend) in INTERMEDIATES {
            let middle = self.root.intermediate_with(name, bend);
            let chain = vec![middle.der.clone()];
            issuers.push(((*name).to_owned(), middle, chain));
        }
        let mut beneath = |name: &str, authority: &Ca| {
            let middle = authority.intermediate(name);
            let chain = vec![middle.der.clone()];
            issuers.push((name.to_owned(), middle, chain));
        };
        beneath("an expired authority", &self.expired);
        beneath("an early authority", &self.early);
        beneath("an authority that permits the domain", &self.permits);
        beneath("an authority that permits another domain", &self.permits_other);
        beneath("an authority that excludes the domain", &self.excludes);
        beneath("an authority that permits a DNS name", &self.dns);
        beneath("an authority of another domain", &self.other);
        beneath("an authority that nobody knows", &Ca::root());
        let missing = self.root.intermediate("missing");
        issuers.push(("an intermediate that is not sent".to_owned(), missing, vec![]));
        for length in [2, 6, 7] {
            let mut chain = Vec::new();
            let mut issuer = self.root.intermediate("1");
            chain.push(issuer.der.clone());
            for number in 2..=length {
                issuer = issuer.intermediate(&number.to_string());
                chain.insert(0, issuer.der.clone());
            }
            issuers.push((format!("{length} intermediates"), issuer, chain));
        }
        issuers
    }
}

fn presented(name: String, leaf: Leaf, above: &[CertificateDer<'static>]) -> Presented {
    Presented { name, chain: [&[leaf.der], above].concat(), key: leaf.key }
}

/// Ways to bend a leaf; the first is none.
const LEAVES: &[(&str, Bend)] = &[
    ("a right leaf", |_| {}),
    ("no name", |params| params.subject_alt_names.clear()),
    ("a DNS name alone", |params| params.subject_alt_names = vec![dns("orders.example.org")]),
    ("a DNS name beside", |params| params.subject_alt_names.push(dns("orders.example.org"))),
    ("a foreign DNS name beside", |params| params.subject_alt_names.push(dns("elsewhere.net"))),
    ("a mailbox beside", |params| {
        params.subject_alt_names.push(SanType::Rfc822Name("a@example.org".try_into().unwrap()));
    }),
    ("a second ID", |params| params.subject_alt_names.push(uri("spiffe://example.org/b"))),
    ("another URI beside", |params| params.subject_alt_names.push(uri("https://example.org/"))),
    ("another URI instead", |params| params.subject_alt_names = vec![uri("https://example.org/orders")]),
    ("an upper-case scheme", |params| params.subject_alt_names = vec![uri("SPIFFE://example.org/orders")]),
    ("an upper-case domain", |params| params.subject_alt_names = vec![uri("spiffe://Example.org/orders")]),
    ("a port", |params| params.subject_alt_names = vec![uri("spiffe://example.org:443/orders")]),
    ("userinfo", |params| params.subject_alt_names = vec![uri("spiffe://a@example.org/orders")]),
    ("no path", |params| params.subject_alt_names = vec![uri("spiffe://example.org")]),
    ("a trailing slash", |params| params.subject_alt_names = vec![uri("spiffe://example.org/orders/")]),
    ("an empty segment", |params| params.subject_alt_names = vec![uri("spiffe://example.org//orders")]),
    ("a dot segment", |params| params.subject_alt_names = vec![uri("spiffe://example.org/a/../orders")]),
    ("percent-encoding", |params| params.subject_alt_names = vec![uri("spiffe://example.org/a%2fb")]),
    ("a query", |params| params.subject_alt_names = vec![uri("spiffe://example.org/orders?a")]),
    ("a fragment", |params| params.subject_alt_names = vec![uri("spiffe://example.org/orders#a")]),
    ("a NUL", |params| params.subject_alt_names = vec![uri("spiffe://example.org/orders\0")]),
    ("2048 bytes", |params| params.subject_alt_names = vec![uri(&long(2048))]),
    ("2049 bytes", |params| params.subject_alt_names = vec![uri(&long(2049))]),
    ("an unknown domain", |params| params.subject_alt_names = vec![uri("spiffe://third.org/orders")]),
    ("a CA", |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
    ("no basic constraints", |params| params.is_ca = IsCa::NoCa),
    ("no key usage", |params| params.key_usages.clear()),
    ("key encipherment too", |params| params.key_usages.push(Use::KeyEncipherment)),
    ("key encipherment alone", |params| params.key_usages = vec![Use::KeyEncipherment]),
    ("keyCertSign", |params| params.key_usages.push(Use::KeyCertSign)),
    ("cRLSign", |params| params.key_usages.push(Use::CrlSign)),
    ("no extended usage", |params| params.extended_key_usages.clear()),
    ("clientAuth alone", |params| params.extended_key_usages = vec![For::ClientAuth]),
    ("serverAuth alone", |params| params.extended_key_usages = vec![For::ServerAuth]),
    ("codeSigning alone", |params| params.extended_key_usages = vec![For::CodeSigning]),
    ("expired", |params| window(params, -60, -1)),
    ("early", |params| window(params, 1, 60)),
    ("the last second", |params| window(params, 0, 0)),
    ("an unknown extension", |params| {
        params.custom_extensions.push(extension(&[1, 3, 6, 1, 4, 1, 9, 1], &[5, 0], false));
    }),
    ("an unknown critical extension", |params| {
        params.custom_extensions.push(extension(&[1, 3, 6, 1, 4, 1, 9, 1], &[5, 0], true));
    }),
    ("key usage twice", |params| {
        params.custom_extensions.push(extension(&[2, 5, 29, 15], &[3, 2, 7, 0x80], true));
    }),
    ("unreadable basic constraints", |params| {
        params.is_ca = IsCa::NoCa;
        params.custom_extensions.push(extension(&[2, 5, 29, 19], &[0xff, 0xff], true));
    }),
    ("unreadable names", |params| {
        params.subject_alt_names.clear();
        params.custom_extensions.push(extension(&[2, 5, 29, 17], &[0x30, 5, 0x86], true));
    }),
    ("no subject, names not critical", |params| nameless(params, false)),
    ("no subject, names critical", |params| nameless(params, true)),
];

/// Ways to bend what stands between a leaf and a right authority.
const INTERMEDIATES: &[(&str, Bend)] = &[
    ("an intermediate", |_| {}),
    ("an intermediate that is no CA", |params| params.is_ca = IsCa::ExplicitNoCa),
    ("an intermediate without keyCertSign", |params| params.key_usages = vec![Use::CrlSign]),
    ("an intermediate without key usage", |params| params.key_usages.clear()),
    ("an expired intermediate", |params| window(params, -3600, -1)),
    ("an early intermediate", |params| window(params, 1, 3600)),
    ("an intermediate for none below", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
    ("an intermediate with the domain's ID", |params| {
        params.subject_alt_names = vec![uri("spiffe://example.org")];
    }),
    ("an intermediate with a workload's ID", |params| {
        params.subject_alt_names = vec![uri("spiffe://example.org/ca")];
    }),
    ("an intermediate for clients", |params| params.extended_key_usages = vec![For::ClientAuth]),
    ("an intermediate for servers", |params| params.extended_key_usages = vec![For::ServerAuth]),
    ("an intermediate that permits the domain", |params| {
        params.custom_extensions.push(uri_constraints(&["example.org"], &[]));
    }),
    ("an intermediate with an unknown critical extension", |params| {
        params.custom_extensions.push(extension(&[1, 3, 6, 1, 4, 1, 9, 1], &[5, 0], true));
    }),
];

fn long(bytes: usize) -> String {
    let start = "spiffe://example.org/";
    format!("{start}{}", "a".repeat(bytes - start.len()))
}

fn nameless(params: &mut CertificateParams, critical: bool) {
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names.clear();
    let names = element(0x30, &element(0x86, ID.as_bytes()));
    params.custom_extensions.push(extension(&[2, 5, 29, 17], &names, critical));
}
