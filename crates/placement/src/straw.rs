//! The straw that each mirror and zone draws for a partition: a logarithm in integers.
//!
//! A 64-bit draw `h` stands for `u = (h | 1) / 2^64`, strictly between 0 and 1, and its straw is `-log2 u`, an exponentially
//! distributed number. Of runners with weights `w` the one with the smallest `straw / w` wins, which happens with the
//! probability `w / Σw`; taking a runner away changes the winner only where it had won.
//!
//! With `x = h | 1` shifted left by `s` until its top bit is set, `x = m · 2^63` and `1 ≤ m < 2`,
//! `-log2 u = 1 + s - log2 m`. The eight bits after the leading one select `a = 1 + i/256` with `a ≤ m < a + 1/256`, so that
//! `log2 m = log2 a + log2(1 + r)` with `r = (m - a) / a < 2^-8`. `log2 a` comes from a table, which the compiler computes by
//! repeated squaring, and `ln(1 + r)` is `r - r²/2 + r³/3 - r⁴/4 + r⁵/5`, short of the whole by at most `r⁶/6`.
//!
//! **Error:** the series is off by less than 2^-50, the ten roundings at 60 fractional bits by less than 2^-56 together, the
//! last rounding to 48 bits by less than 2^-48: in all less than 2^-47. It is the same on every machine, so it
//! shifts probabilities by that much and never makes two machines disagree.

/// Fractional bits of a straw.
pub(crate) const FRACTION: u32 = 48;

/// Fractional bits of the computation.
const WORK: u32 = 60;
/// One, in the computation's fixed point.
const ONE: u64 = 1 << WORK;
/// log2(e), rounded down.
const LOG2_E: u64 = 1_663_314_137_230_540_311;

/// log2(1 + i/256).
const LOGARITHMS: [u64; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        table[index] = log2_by_squaring((256 + index as u64) << 55);
        index += 1;
    }
    table
};

/// log2 of `mantissa / 2^63`, between 1 and 2, to [`WORK`] bits, one bit for each squaring: slow and plainly right.
#[expect(clippy::cast_possible_truncation, reason = "the square is shifted so that it fits")]
const fn log2_by_squaring(mantissa: u64) -> u64 {
    let (mut value, mut logarithm, mut bit) = (mantissa, 0, WORK);
    while bit > 0 {
        bit -= 1;
        // 2.126 bits: the top bit says whether the square has reached 2.
        let square = value as u128 * value as u128;
        let carry = (square >> 127) as u64;
        logarithm |= carry << bit;
        value = (square >> (63 + carry)) as u64;
    }
    logarithm
}

/// The product of two fixed-point numbers below 4, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    reason = "both factors stay below 2^62, and the product below 2^64"
)]
const fn times(one: u64, other: u64) -> u64 {
    ((one as u128 * other as u128) >> WORK) as u64
}

/// `-log2((draw | 1) / 2^64)` with [`FRACTION`] fractional bits: 0 to 64.
pub(crate) fn straw(draw: u64) -> u64 {
    let odd = draw | 1;
    let shift = odd.leading_zeros();
    let mantissa = odd << shift;
    let rest = mantissa & ((1 << 55) - 1);
    let [index, ..] = (mantissa << 1).to_be_bytes();
    // rest/2^63 over (256 + index)/256, to 60 bits: below 2^-8.
    let r = (rest << 5) / (256 + u64::from(index));
    let series = ONE / 4 - r / 5;
    let series = ONE / 3 - times(r, series);
    let series = ONE / 2 - times(r, series);
    let series = ONE - times(r, series);
    let logarithm = LOGARITHMS[usize::from(index)] + times(times(r, series), LOG2_E);
    // Just below 2 the logarithm may round up to 1.
    (u64::from(1 + shift) << FRACTION).saturating_sub(logarithm >> (WORK - FRACTION))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The straw by the slow logarithm, with [`WORK`] fractional bits; 128 bits hold its 64 whole ones.
    fn slowly(draw: u64) -> u128 {
        let odd = draw | 1;
        let shift = odd.leading_zeros();
        (u128::from(1 + shift) << WORK) - u128::from(log2_by_squaring(odd << shift))
    }

    fn check(draw: u64) {
        let (fast, slow) = (u128::from(straw(draw)) << (WORK - FRACTION), slowly(draw));
        assert!(fast.abs_diff(slow) < 1 << (WORK - 47), "{draw:#x}: {fast} and {slow}");
    }

    #[test]
    fn known_values() {
        assert_eq!(straw(0), 64 << FRACTION);
        assert_eq!(straw(1), 64 << FRACTION);
        assert_eq!(straw(u64::MAX), 0);
        assert!(straw(1 << 63).abs_diff(1 << FRACTION) <= 1);
        // -log2(3/4) = 0.41503749927884381854626105605…
        assert!(straw(3 << 62).abs_diff(116_822_670_443_561) <= 2);
    }

    #[test]
    fn the_error_is_bounded_at_every_seam() {
        for index in 0..=512_u64 {
            let seam = (1_u64 << 63).wrapping_add(index << 54);
            for near in [-3_i64, -2, -1, 0, 1, 2, 3] {
                check(seam.wrapping_add_signed(near));
            }
        }
        (0..64).for_each(|shift| check(u64::MAX >> shift));
    }

    proptest! {
        #[test]
        fn the_error_is_bounded(draw: u64, shift in 0_u32..64) {
            check(draw);
            check(draw >> shift);
            check(!(draw >> shift));
        }

        /// An independent logarithm. A double of up to 64 has 46 fractional bits.
        #[test]
        fn floating_point_agrees(draw: u64) {
            #[expect(clippy::cast_precision_loss, reason = "the comparison allows for it")]
            let (fast, float) = (straw(draw) as f64 / (1_u64 << FRACTION) as f64, 64.0 - ((draw | 1) as f64).log2());
            prop_assert!((fast - float).abs() < 1e-13, "{fast} {float}");
        }
    }
}
