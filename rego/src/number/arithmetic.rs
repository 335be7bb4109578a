//! Arithmetic: exact for whole numbers, else in floating point with 64 bits.
use super::float::Float;
use super::{Number, Repr};
use num_bigint::{BigInt, BigUint, Sign};

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArithmeticError {
    /// A division by zero.
    #[error("divide by zero")]
    DivideByZero,
    /// A remainder by zero.
    #[error("modulo by zero")]
    ModuloByZero,
    /// A remainder with a number that is not whole.
    #[error("modulo on floating-point number")]
    ModuloOfFraction,
    /// The result is no number that could be kept: its literal is too long, or it is too small.
    #[error("the result has more than {max} digits, or an exponent beyond what numbers may have", max = Number::MAX_LITERAL)]
    BeyondLimits,
}

type Outcome = Result<Number, ArithmeticError>;

impl Number {
    /// How many bits a whole number has that is as long as a literal may be.
    const MAX_BITS: u64 = 13_610;

    /// The sum.
    ///
    /// # Errors
    /// [`ArithmeticError::BeyondLimits`].
    pub(crate) fn plus(&self, other: &Self) -> Outcome {
        if let (Repr::Int(a), Repr::Int(b)) = (&self.0, &other.0)
            && let Some(sum) = a.checked_add(*b)
        {
            return Ok(sum.into());
        }
        match (self.to_big(), other.to_big()) {
            (Some(a), Some(b)) => Self::of_big(&(a + b)),
            _ => Self::of_float(self.to_float().plus(other.to_float())),
        }
    }

    /// The difference.
    ///
    /// # Errors
    /// [`ArithmeticError::BeyondLimits`].
    pub(crate) fn minus(&self, other: &Self) -> Outcome {
        if let (Repr::Int(a), Repr::Int(b)) = (&self.0, &other.0)
            && let Some(difference) = a.checked_sub(*b)
        {
            return Ok(difference.into());
        }
        match (self.to_big(), other.to_big()) {
            (Some(a), Some(b)) => Self::of_big(&(a - b)),
            _ => Self::of_float(self.to_float().minus(other.to_float())),
        }
    }

    /// The product.
    ///
    /// # Errors
    /// [`ArithmeticError::BeyondLimits`].
    pub(crate) fn times(&self, other: &Self) -> Outcome {
        if let (Repr::Int(a), Repr::Int(b)) = (&self.0, &other.0)
            && let Some(product) = a.checked_mul(*b)
        {
            return Ok(product.into());
        }
        match (self.to_big(), other.to_big()) {
            (Some(a), Some(b)) if a.bits() == 0 || b.bits() == 0 => Ok(0_i64.into()),
            (Some(a), Some(b)) if a.bits() + b.bits() > Self::MAX_BITS + 1 => {
                Err(ArithmeticError::BeyondLimits)
            }
            (Some(a), Some(b)) => Self::of_big(&(a * b)),
            _ => Self::of_float(self.to_float().times(other.to_float())),
        }
    }

    /// The quotient.
    ///
    /// # Errors
    /// [`ArithmeticError::DivideByZero`], [`ArithmeticError::BeyondLimits`].
    pub(crate) fn over(&self, divisor: &Self) -> Outcome {
        if let (Repr::Int(a), Repr::Int(b)) = (&self.0, &divisor.0)
            && *a != 0
            && a.checked_rem(*b) == Some(0)
            && let Some(quotient) = a.checked_div(*b)
        {
            return Ok(quotient.into());
        }
        let by = divisor.to_float();
        if by.is_zero() {
            return Err(ArithmeticError::DivideByZero);
        }
        Self::of_float(self.to_float().over(by))
    }

    /// The remainder of the division towards zero, of whole numbers alone.
    ///
    /// # Errors
    /// [`ArithmeticError::ModuloByZero`] (also of a divisor whose low 64 bits are zero: OPA asks for no more of them),
    /// [`ArithmeticError::ModuloOfFraction`], [`ArithmeticError::BeyondLimits`].
    pub(crate) fn rest(&self, divisor: &Self) -> Outcome {
        if let (Repr::Int(a), Repr::Int(b)) = (&self.0, &divisor.0) {
            // Only a zero and -1 have no remainder by this function.
            let rest = if *b == -1 { Some(0) } else { a.checked_rem(*b) };
            return rest.map(Self::from).ok_or(ArithmeticError::ModuloByZero);
        }
        let (Some(a), Some(b)) = (self.to_big(), divisor.to_big()) else {
            return Err(ArithmeticError::ModuloOfFraction);
        };
        if b.iter_u64_digits().next().unwrap_or(0) == 0 {
            return Err(ArithmeticError::ModuloByZero);
        }
        Self::of_big(&(a % b))
    }

    /// The absolute value, in 64 bits as all that is not done on whole numbers exactly.
    ///
    /// # Errors
    /// [`ArithmeticError::BeyondLimits`].
    pub(crate) fn absolute(&self) -> Outcome {
        match &self.0 {
            Repr::Int(int) if int.checked_abs().is_some() => Ok(int.abs().into()),
            _ => Self::of_float(self.to_float().absolute()),
        }
    }

    /// The whole number above. As in OPA, numbers between -1 and 0 lead to 1.
    ///
    /// # Errors
    /// [`ArithmeticError::BeyondLimits`].
    pub(crate) fn ceil(&self) -> Outcome {
        self.to_whole(|float, whole| {
            let stays = whole.sign() == Sign::Minus || float.is_integer();
            if stays { whole } else { whole + 1 }
        })
    }

    /// The whole number below. As in OPA, numbers between -1 and 0 lead to 0.
    ///
    /// # Errors
    /// [`ArithmeticError::BeyondLimits`].
    pub(crate) fn floor(&self) -> Outcome {
        self.to_whole(|float, whole| {
            let stays = whole.sign() != Sign::Minus || float.is_integer();
            if stays { whole } else { whole - 1 }
        })
    }

    /// The nearest whole number; halves go away from zero.
    ///
    /// # Errors
    /// [`ArithmeticError::BeyondLimits`].
    pub(crate) fn round(&self) -> Outcome {
        self.to_whole(|float, _| {
            let away = if float.is_negative() { float.minus(Float::HALF) } else { float.plus(Float::HALF) };
            away.truncated()
        })
    }

    /// The sum of all: of machine integers it wraps around, as OPA's does; of whole numbers it is exact.
    ///
    /// # Errors
    /// [`ArithmeticError::BeyondLimits`].
    pub(crate) fn sum<'a>(numbers: impl Iterator<Item = &'a Self> + Clone) -> Outcome {
        let machine = numbers.clone().try_fold(0_i64, |sum, number| Some(sum.wrapping_add(number.as_i64()?)));
        if let Some(sum) = machine {
            return Ok(sum.into());
        }
        if numbers.clone().all(Self::is_integer) {
            return Self::of_big(&numbers.filter_map(Self::to_big).sum());
        }
        Self::of_float(numbers.fold(Float::ZERO, |sum, number| sum.plus(number.to_float())))
    }

    /// The product of all.
    ///
    /// # Errors
    /// [`ArithmeticError::BeyondLimits`].
    pub(crate) fn product<'a>(numbers: impl Iterator<Item = &'a Self> + Clone) -> Outcome {
        if !numbers.clone().all(Self::is_integer) {
            return Self::of_float(
                numbers.fold(Float::ONE, |product, number| product.times(number.to_float())),
            );
        }
        // Before all else, as what stands before a zero may be as large as it likes.
        if numbers.clone().any(|number| *number == Self::from(0_i64)) {
            return Ok(0_i64.into());
        }
        let mut all = numbers;
        all.try_fold(Self::from(1_i64), |product, number| product.times(number))
    }

    fn to_whole(&self, f: impl FnOnce(Float, BigInt) -> BigInt) -> Outcome {
        if let Repr::Int(_) = self.0 {
            return Ok(self.clone());
        }
        let float = self.to_float();
        Self::of_big(&f(float, float.truncated()))
    }

    /// The whole number that it is, `None` if it is not whole. Up to 12 KiB.
    pub(crate) fn to_big(&self) -> Option<BigInt> {
        let real = match &self.0 {
            Repr::Int(int) => return Some(BigInt::from(*int)),
            Repr::Real(real) => real.plain(),
        };
        let zeros = real.trailing_zeros()?;
        let digits: Vec<u8> = real.digits().collect();
        let size = BigUint::parse_bytes(&digits, 10).unwrap_or_default() * BigUint::from(10_u8).pow(zeros);
        Some(BigInt::from_biguint(if real.negative { Sign::Minus } else { Sign::Plus }, size))
    }

    /// The number of a whole number.
    ///
    /// # Errors
    /// [`ArithmeticError::BeyondLimits`].
    pub(crate) fn of_big(big: &BigInt) -> Outcome {
        if let Ok(int) = i64::try_from(big) {
            return Ok(int.into());
        }
        if big.bits() > Self::MAX_BITS {
            return Err(ArithmeticError::BeyondLimits);
        }
        Self::parse(&big.to_string()).ok_or(ArithmeticError::BeyondLimits)
    }

    pub(super) fn to_float(&self) -> Float {
        match &self.0 {
            Repr::Int(int) => Float::of_int(*int),
            Repr::Real(real) => Float::of_scaled(&real.scaled()),
        }
    }

    pub(super) fn of_float(float: Float) -> Outcome {
        if !float.is_within() {
            return Err(ArithmeticError::BeyondLimits);
        }
        Self::parse(&float.text()).ok_or(ArithmeticError::BeyondLimits)
    }

    /// About how many digits the number has when it is written out: what arithmetic on it costs.
    pub(crate) fn weight(&self) -> usize {
        match &self.0 {
            Repr::Int(_) => 0,
            Repr::Real(real) => real.text().len().max(usize::try_from(real.plain().magnitude).unwrap_or(0)),
        }
    }
}
