//! Certificates, requests for them and their keys, written as Go's `crypto/x509` has them.
use super::pki::certificate::{self, Certificate};
use super::pki::chain::{self, Options};
use super::pki::private::{self, PrivateKey};
use super::pki::text::lossy;
use super::pki::{base64, pem};
use super::{Builtin, BuiltinError, Context, Outcome, object, text};
use crate::{Object, Value};

pub(super) const TABLE: &[Builtin] = &[
    Builtin {
        name: "crypto.x509.parse_and_verify_certificates",
        arity: 1,
        nondeterministic: true,
        call: parse_and_verify,
    },
    Builtin {
        name: "crypto.x509.parse_and_verify_certificates_with_options",
        arity: 2,
        nondeterministic: true,
        call: parse_and_verify_with_options,
    },
    Builtin::pure("crypto.x509.parse_certificate_request", 1, parse_certificate_request),
    Builtin::pure("crypto.x509.parse_certificates", 1, parse_certificates),
    Builtin::pure("crypto.x509.parse_keypair", 2, parse_keypair),
    Builtin::pure("crypto.x509.parse_rsa_private_key", 1, parse_rsa_private_key),
];

fn failed(why: &str) -> BuiltinError {
    BuiltinError::Failed(why.to_owned())
}

fn parse_certificates(context: &mut Context, args: &[Value]) -> Outcome {
    let found = Certificate::in_text(context, text(args, 0)?)?;
    let found = found.ok_or_else(|| failed("the certificates cannot be read"))?;
    values(context, &found, true).map(Some)
}

fn parse_and_verify(context: &mut Context, args: &[Value]) -> Outcome {
    let found = Certificate::in_text(context, text(args, 0)?)?;
    let options = Options { host: String::new(), now_ns: i128::from(context.now_ns), usages: Vec::new() };
    verified(context, found.as_deref(), &options, true)
}

fn parse_and_verify_with_options(context: &mut Context, args: &[Value]) -> Outcome {
    let (input, options) = (text(args, 0)?, object(args, 1)?);
    match Certificate::in_text(context, input)? {
        // What is wrong with the options then does not count.
        None => {
            verified(context, None, &Options { host: String::new(), now_ns: 0, usages: Vec::new() }, false)
        }
        Some(found) => {
            let options = options_of(context, options)?;
            verified(context, Some(&found), &options, false)
        }
    }
}

fn verified(
    context: &mut Context,
    found: Option<&[Certificate]>,
    options: &Options,
    strings: bool,
) -> Outcome {
    let chain = match found {
        Some(found) => chain::verify(context, found, options)?,
        None => None,
    };
    let valid = chain.is_some();
    let chain = values(context, &chain.unwrap_or_default(), strings)?;
    Ok(Some(Value::array([Value::Bool(valid), chain])))
}

fn values(context: &mut Context, found: &[Certificate], strings: bool) -> Result<Value, BuiltinError> {
    let values = found.iter().map(|certificate| certificate.to_value(context, strings));
    Ok(Value::Array(values.collect::<Result<_, _>>()?))
}

/// The usages of OPA's options, by Go's numbers from 0 on.
const USAGES: &[&str] = &[
    "KeyUsageAny",
    "KeyUsageServerAuth",
    "KeyUsageClientAuth",
    "KeyUsageCodeSigning",
    "KeyUsageEmailProtection",
    "KeyUsageIPSECEndSystem",
    "KeyUsageIPSECTunnel",
    "KeyUsageIPSECUser",
    "KeyUsageTimeStamping",
    "KeyUsageOCSPSigning",
    "KeyUsageMicrosoftServerGatedCrypto",
    "KeyUsageNetscapeServerGatedCrypto",
    "KeyUsageMicrosoftCommercialCodeSigning",
    "KeyUsageMicrosoftKernelCodeSigning",
];

fn options_of(context: &mut Context, object: &Object) -> Result<Options, BuiltinError> {
    context.charge_items(object.len())?;
    let mut options = Options { host: String::new(), now_ns: i128::from(context.now_ns), usages: Vec::new() };
    for (name, value) in object {
        // A name that is no string is passed over.
        let Some(name) = name.as_str() else { continue };
        let whole = || match value {
            Value::Number(number) => number.to_string().parse::<i64>().ok(),
            _ => None,
        };
        let refused = |expected: &str| failed(&format!("'{name}' should be {expected}"));
        match name {
            "DNSName" => {
                let host = value.as_str().ok_or_else(|| refused("a string"))?;
                host.trim_matches('"').clone_into(&mut options.host);
            }
            "CurrentTime" => options.now_ns = whole().ok_or_else(|| refused("a valid int64 number"))?.into(),
            "MaxConstraintComparisons" => drop(whole().ok_or_else(|| refused("a valid number"))?),
            "KeyUsages" => {
                let items: Vec<&Value> = match value {
                    Value::Array(items) => items.iter().collect(),
                    Value::Set(items) => items.iter().collect(),
                    _ => return Err(refused("an Array or Set")),
                };
                context.charge_items(items.len())?;
                for usage in items.into_iter().filter_map(Value::as_str) {
                    let usage = usage.trim_matches('"');
                    let number = USAGES.iter().position(|known| *known == usage).map(i64::try_from);
                    let Some(Ok(number)) = number else {
                        return Err(failed("invalid entries for 'KeyUsages' found"));
                    };
                    options.usages.push(number);
                }
            }
            _ => return Err(failed("invalid key option")),
        }
    }
    Ok(options)
}

fn parse_certificate_request(context: &mut Context, args: &[Value]) -> Outcome {
    let input = text(args, 0)?;
    context.charge_bytes(input.len().saturating_mul(8))?;
    let refused = || failed("the certificate request cannot be read");
    let bytes = if input.starts_with("-----BEGIN CERTIFICATE REQUEST-----") {
        input.as_bytes().to_vec()
    } else {
        base64::standard(input.as_bytes()).ok_or_else(refused)?
    };
    let block = pem::decode(&bytes);
    if block.as_ref().is_some_and(|block| block.label != b"CERTIFICATE REQUEST") {
        return Err(refused());
    }
    let der = block.map_or_else(|| bytes.clone(), |block| block.bytes);
    certificate::request(context, &der)?.map(Some).ok_or_else(refused)
}

/// Despite its name it takes a private key of any kind, as a JWK.
fn parse_rsa_private_key(context: &mut Context, args: &[Value]) -> Outcome {
    let input = text(args, 0)?;
    if input.is_empty() {
        return Err(failed("input PEM data was empty"));
    }
    context.charge_bytes(input.len().saturating_mul(4))?;
    let keys = if input.starts_with("-----BEGIN") {
        private::in_text(context, input)?
    } else {
        let decoded = base64::standard(input.as_bytes()).ok_or_else(|| failed("illegal base64 data"))?;
        private::in_text(context, &lossy(&decoded))?
    };
    match keys.first() {
        None => Ok(Some(Value::Null)),
        Some(key) => key.to_jwk().map(Some).ok_or_else(|| failed("the private key has no form as a JWK")),
    }
}

fn parse_keypair(context: &mut Context, args: &[Value]) -> Outcome {
    let (certificates, key) = (text(args, 0)?, text(args, 1)?);
    context.charge_bytes(certificates.len().saturating_add(key.len()).saturating_mul(4))?;
    let certificates = blocks_or_der(certificates, "-----BEGIN ", "CERTIFICATE")?;
    let certificates: Vec<Vec<u8>> = certificates
        .into_iter()
        .filter(|(label, _)| label == b"CERTIFICATE")
        .map(|(_, bytes)| bytes)
        .collect();
    let Some(leaf) = certificates.first() else { return Err(failed("there is no certificate")) };
    let mut keys = blocks_or_der(key, "-----BEGIN", "PRIVATE KEY")?.into_iter();
    let is_key = |label: &[u8]| label == b"PRIVATE KEY" || label.ends_with(b" PRIVATE KEY");
    let (_, key) = keys.find(|(label, _)| is_key(label)).ok_or_else(|| failed("there is no private key"))?;
    let leaf = Certificate::one(context, leaf)?.ok_or_else(|| failed("the certificate cannot be read"))?;
    let key = private_key(context, &key)?;
    if key.public() != leaf.key || matches!(key, PrivateKey::X25519 { .. }) {
        return Err(failed("the private key is not that of the certificate"));
    }
    let certificates = certificates.iter().map(|bytes| super::pki::text::bytes(Some(bytes)));
    Ok(Some(super::pki::keys::object([
        ("Certificate", Value::array(certificates)),
        ("PrivateKey", key.to_value()),
        ("SupportedSignatureAlgorithms", Value::Null),
        ("OCSPStaple", Value::Null),
        ("SignedCertificateTimestamps", Value::Null),
        ("Leaf", leaf.to_value(context, false)?),
    ])))
}

/// What a block says that it holds, and what it holds.
type Labelled = (Vec<u8>, Vec<u8>);

/// The blocks of PEM, which may be in base64; what is in base64 and no PEM is one block.
fn blocks_or_der(input: &str, prefix: &str, label: &str) -> Result<Vec<Labelled>, BuiltinError> {
    let decoded = if input.starts_with("-----BEGIN ") {
        input.as_bytes().to_vec()
    } else {
        base64::standard(input.as_bytes()).ok_or_else(|| failed("illegal base64 data"))?
    };
    if !decoded.starts_with(prefix.as_bytes()) {
        return Ok(vec![(label.as_bytes().to_vec(), decoded)]);
    }
    Ok(pem::blocks(&decoded).map(|block| (block.label.to_vec(), block.bytes)).collect())
}

/// A key in whichever of the three forms.
fn private_key(context: &mut Context, der: &[u8]) -> Result<PrivateKey, BuiltinError> {
    for read in [PrivateKey::of_pkcs1, PrivateKey::of_pkcs8] {
        match read(context, der) {
            Err(BuiltinError::Failed(_)) => {}
            read => return read,
        }
    }
    Ok(PrivateKey::of_sec1(None, der)?)
}

#[cfg(test)]
mod tests {
    use crate::Value;
    use crate::builtins::pki::der;
    use crate::builtins::pki::testing::{check_cases, text};
    use crate::builtins::testing::context;
    use crate::builtins::{BuiltinError, lookup};
    use base64::Engine as _;

    #[test]
    fn certificates_requests_and_keys_are_read_and_verified_as_opa_does() {
        check_cases(include_str!("pki/cases/certificates.json"));
    }

    #[test]
    fn a_chain_is_judged_at_the_moment_of_the_decision() {
        let arguments = [Value::from(["c.root", "c.inter", "c.leaf"].map(text).concat())];
        let verify = lookup("crypto.x509.parse_and_verify_certificates").unwrap();
        for (seconds, valid) in
            [(1_577_836_799, false), (1_577_836_800, true), (2_524_607_999, true), (2_524_608_000, false)]
        {
            let mut context = context();
            context.now_ns = seconds * 1_000_000_000;
            let outcome = (verify.call)(&mut context, &arguments).unwrap().unwrap();
            assert_eq!(outcome.as_array().unwrap()[0], Value::Bool(valid), "at {seconds}");
        }
    }

    #[test]
    fn what_costs_more_than_the_decision_may_ends_it() {
        let many = text("c.root").repeat(2_000);
        let oid = [vec![0x2a], vec![0x81; 1 << 19], vec![1]].concat();
        let policy = der::write(der::SEQUENCE, &der::write(der::OID, &oid));
        let large = with_policies(&der::write(der::SEQUENCE, &policy));
        let large = base64::engine::general_purpose::STANDARD.encode(large);
        for (name, text) in [
            ("crypto.x509.parse_certificates", many.as_str()),
            ("crypto.x509.parse_certificates", large.as_str()),
            ("crypto.x509.parse_and_verify_certificates", many.as_str()),
            ("crypto.x509.parse_certificate_request", many.as_str()),
            ("crypto.parse_private_keys", many.as_str()),
            ("crypto.x509.parse_rsa_private_key", many.as_str()),
        ] {
            let mut context = context();
            context.steps_left = 200_000;
            let outcome = (lookup(name).unwrap().call)(&mut context, &[Value::from(text.repeat(8))]);
            assert!(matches!(outcome, Err(BuiltinError::Budget(_))), "{name}: {}", outcome.is_ok());
        }
    }

    /// A certificate that can be read, with these policies.
    fn with_policies(policies: &[u8]) -> Vec<u8> {
        let extension =
            [der::write(der::OID, &[0x55, 0x1d, 0x20]), der::write(der::OCTET_STRING, policies)].concat();
        let extensions = der::write(der::SEQUENCE, &der::write(der::SEQUENCE, &extension));
        let algorithm = der::write(der::SEQUENCE, &der::write(der::OID, &[0x2b, 0x65, 0x70]));
        let time = der::write(der::UTC_TIME, b"200101000000Z");
        let key = [algorithm.clone(), der::write(der::BIT_STRING, &[0; 33])].concat();
        let inner = [
            der::write(der::constructed(0), &der::write_unsigned(&[2])),
            der::write_unsigned(&[1]),
            algorithm.clone(),
            der::write(der::SEQUENCE, &[]),
            der::write(der::SEQUENCE, &[time.clone(), time].concat()),
            der::write(der::SEQUENCE, &[]),
            der::write(der::SEQUENCE, &key),
            der::write(der::constructed(3), &extensions),
        ];
        let inner = der::write(der::SEQUENCE, &inner.concat());
        der::write(der::SEQUENCE, &[inner, algorithm, der::write(der::BIT_STRING, &[0])].concat())
    }
}
