//! DER, as strictly as Go's parsers read it: low tags, minimal lengths of at most four bytes, minimal integers. What they
//! refuse must be refused here: a certificate that OPA cannot read is undefined there.
use num_bigint::{BigInt, BigUint};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const NUMERIC_STRING: u8 = 0x12;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const T61_STRING: u8 = 0x14;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The tag of an explicit or constructed member that the context names.
pub(crate) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The tag of an implicit primitive member that the context names.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// An element: its tag, all of its bytes, and its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) full: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// A bit string: whole bytes, of which the last has this many unused bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitString<'a> {
    bytes: &'a [u8],
    unused: u8,
}

impl BitString<'_> {
    /// The bit at an index, the highest bit of the first byte being 0.
    pub(crate) fn at(&self, index: usize) -> bool {
        self.bytes.get(index / 8).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
    }

    /// The bits moved so that the last one ends a byte.
    pub(crate) fn right_aligned(&self) -> Vec<u8> {
        if self.unused == 0 {
            return self.bytes.to_vec();
        }
        let mut carried = 0;
        let shift = |byte: &u8| {
            let moved = carried | (byte >> self.unused);
            carried = byte << (8_u8.saturating_sub(self.unused));
            moved
        };
        self.bytes.iter().map(shift).collect()
    }
}

/// Reads elements one after the other. `None` is always: malformed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an element of this tag is next.
    pub(crate) fn peek(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The next element, of any tag.
    pub(crate) fn any(&mut self) -> Option<Element<'a>> {
        let (tag, length, after) = self.head()?;
        let (body, rest) = after.split_at_checked(length)?;
        let full = self.0.get(..self.0.len().checked_sub(rest.len())?)?;
        self.0 = rest;
        Some(Element { tag, full, body })
    }

    /// The next tag and length, and what follows them.
    fn head(&self) -> Option<(u8, usize, &'a [u8])> {
        let (&tag, after) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, after) = after.split_first()?;
        if first & 0x80 == 0 {
            return Some((tag, usize::from(first), after));
        }
        let (digits, after) = after.split_at_checked(usize::from(first & 0x7f))?;
        if digits.is_empty() || digits.len() > 4 || digits.first() == Some(&0) {
            return None;
        }
        let length = digits.iter().fold(0_usize, |length, digit| (length << 8) | usize::from(*digit));
        (length >= 128).then_some((tag, length, after))
    }

    /// Whether `encoding/asn1` can tell that an optional element is not there: what is must have a tag and a length.
    pub(crate) fn optional_head(&self) -> Option<()> {
        if self.is_empty() {
            return Some(());
        }
        self.head().filter(|(_, length, _)| length >> 8 < 1 << 23).map(|_| ())
    }

    /// The content of an optional element inside of one that the context names, as `encoding/asn1` reads it: the length of
    /// the outer one does not bound the inner one, and what does not fit is left for the next.
    pub(crate) fn explicit(&mut self, number: u8, tag: u8) -> Option<Option<Element<'a>>> {
        if self.is_empty() {
            return Some(None);
        }
        self.optional_head()?;
        let (outer, length, after) = self.head()?;
        if after.is_empty() {
            return None;
        }
        if outer != constructed(number) && !(outer == context(number) && length == 0) {
            return Some(None);
        }
        let mut inner = Reader(after);
        let (has, _, _) = inner.head().filter(|_| length > 0)?;
        if has != tag {
            return Some(None);
        }
        let element = inner.any()?;
        *self = inner;
        Some(Some(element))
    }

    /// The next element, of this tag.
    pub(crate) fn element(&mut self, tag: u8) -> Option<Element<'a>> {
        self.any().filter(|element| element.tag == tag)
    }

    /// The content of the next element, of this tag.
    pub(crate) fn bytes(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|element| element.body)
    }

    /// A reader of the content of the next element, of this tag.
    pub(crate) fn read(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.bytes(tag).map(Reader)
    }

    /// The same, if the next element has this tag at all.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Option<Reader<'a>>> {
        if self.peek(tag) { self.read(tag).map(Some) } else { Some(None) }
    }

    pub(crate) fn boolean(&mut self) -> Option<bool> {
        match self.bytes(BOOLEAN)? {
            [0] => Some(false),
            [0xff] => Some(true),
            _ => None,
        }
    }

    /// A whole number of any size.
    pub(crate) fn integer(&mut self) -> Option<BigInt> {
        Some(BigInt::from_signed_bytes_be(self.minimal(INTEGER)?))
    }

    /// A whole number of any size that is positive.
    pub(crate) fn positive(&mut self) -> Option<BigUint> {
        self.integer()?.to_biguint().filter(|number| number.bits() > 0)
    }

    /// A whole number of 64 bits under a tag of its own.
    pub(crate) fn int64(&mut self, tag: u8) -> Option<i64> {
        i64::try_from(BigInt::from_signed_bytes_be(self.minimal(tag)?)).ok()
    }

    fn minimal(&mut self, tag: u8) -> Option<&'a [u8]> {
        let bytes = self.bytes(tag)?;
        match bytes {
            [] => None,
            [0, second, ..] if second & 0x80 == 0 => None,
            [0xff, second, ..] if second & 0x80 != 0 => None,
            _ => Some(bytes),
        }
    }

    /// An object identifier. Its numbers have at most 31 bits.
    pub(crate) fn oid(&mut self) -> Option<Vec<u32>> {
        oid(self.bytes(OID)?)
    }

    pub(crate) fn bit_string(&mut self) -> Option<BitString<'a>> {
        let (&unused, bytes) = self.bytes(BIT_STRING)?.split_first()?;
        let spare = match bytes.last() {
            Some(last) if unused <= 7 => last & ((1_u8 << unused).wrapping_sub(1)),
            _ => unused,
        };
        (spare == 0).then_some(BitString { bytes, unused })
    }
}

/// The numbers of an object identifier's content.
pub(crate) fn oid(content: &[u8]) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for number in oid_numbers(content)? {
        let number = u32::try_from(number).ok().filter(|number| *number < 1 << 31)?;
        push_number(&mut numbers, number, 40, 80);
    }
    Some(numbers)
}

/// An object identifier in dots and decimals, of numbers of any size.
pub(crate) fn dotted(content: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    for number in oid_numbers(content)? {
        push_number(&mut numbers, number, BigUint::from(40_u8), BigUint::from(80_u8));
    }
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    Some(numbers.join("."))
}

/// The first number of the encoding holds two.
fn push_number<T>(numbers: &mut Vec<T>, number: T, forty: T, eighty: T)
where
    T: Clone
        + PartialOrd
        + From<u8>
        + std::ops::Div<Output = T>
        + std::ops::Rem<Output = T>
        + std::ops::Sub<Output = T>,
{
    if !numbers.is_empty() {
        numbers.push(number);
    } else if number < eighty {
        numbers.push(number.clone() / forty.clone());
        numbers.push(number % forty);
    } else {
        numbers.push(T::from(2));
        numbers.push(number - eighty);
    }
}

fn oid_numbers(content: &[u8]) -> Option<Vec<BigUint>> {
    let mut numbers = Vec::new();
    let mut digits: Vec<u8> = Vec::new();
    for byte in content {
        if digits.is_empty() && *byte == 0x80 {
            return None;
        }
        digits.push(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(BigUint::from_radix_be(&digits, 128)?);
            digits.clear();
        }
    }
    (digits.is_empty() && !numbers.is_empty()).then_some(numbers)
}

/// Writes an element.
pub(crate) fn write(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(body.len()) {
        Ok(length) if length < 128 => out.push(length),
        _ => {
            let digits = body.len().to_be_bytes();
            let digits: Vec<u8> = digits.into_iter().skip_while(|digit| *digit == 0).collect();
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
            out.extend(digits);
        }
    }
    out.extend_from_slice(body);
    out
}

/// Writes a whole number that is not negative.
pub(crate) fn write_unsigned(big_endian: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = big_endian.iter().copied().skip_while(|digit| *digit == 0).collect();
    if digits.first().is_none_or(|first| first & 0x80 != 0) {
        digits.insert(0, 0);
    }
    write(INTEGER, &digits)
}
