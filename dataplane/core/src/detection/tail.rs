//! How unlikely a silence is, as phi: the negative decimal logarithm of the normal distribution's upper tail.
//!
//! Computed from a table by `+ - * /` and comparisons alone, which IEEE 754 defines to the last bit: logarithms and exponentials of a
//! mathematical library differ between machines, and a simulation has to run the same on all of them. Between the rows of the table phi
//! is drawn straight; since it bends by less than 0.44 per unit squared, the line lies at most 0.014 above it.

use core::f64::consts::LOG10_2;

/// Where the table begins: below it a silence is no surprise at all.
const Z_FIRST: f64 = -3.0;
/// Rows per unit of z.
const PER_UNIT: f64 = 2.0;

/// `-log10(erfc(z / sqrt 2) / 2)` for z = -3, -2.5, .. 10.
const PHI: [f64; 27] = [
    0.000587, 0.002705, 0.009994, 0.030029, 0.075026, 0.160231, LOG10_2, 0.510692, 0.799546, 1.175177, 1.643016,
    2.206932, 2.869699, 3.633336, 4.499335, 5.468818, 6.542646, 7.721485, 9.005864, 10.396206, 11.892854, 13.496088,
    15.206143, 17.023213, 18.947464, 20.979038, 23.118053,
];

/// The largest phi there is: at ten standard deviations nothing is left to learn from a larger one.
pub const PHI_MAX: f64 = PHI[PHI.len() - 1];

/// Phi of a silence that lies `z` standard deviations above the expected one.
pub(super) fn phi(z: f64) -> f64 {
    let place = (z - Z_FIRST) * PER_UNIT;
    if place < 0.0 {
        return 0.0;
    }
    let mut row = 0.0;
    for pair in PHI.windows(2) {
        if place < row + 1.0 {
            return pair[0] + (pair[1] - pair[0]) * (place - row);
        }
        row += 1.0;
    }
    PHI_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tail by Simpson's rule, 14 units wide, from the density: another way to the same number.
    fn phi_by_integration(z: f64) -> f64 {
        let steps = 20_000;
        let step = 14.0 / f64::from(steps);
        let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * core::f64::consts::PI).sqrt();
        let sum: f64 = (0..=steps)
            .map(|i| {
                let weight = if i == 0 || i == steps {
                    1.0
                } else {
                    f64::from(2 + 2 * (i % 2))
                };
                weight * density(z + f64::from(i) * step)
            })
            .sum();
        -(sum * step / 3.0).log10()
    }

    #[test]
    fn phi_is_the_logarithm_of_the_normal_tail_within_two_hundredths() {
        for i in -300..1000 {
            let z = f64::from(i) / 100.0;
            let (table, integral) = (phi(z), phi_by_integration(z));
            assert!(
                table > integral - 1e-5 && table < integral + 0.02,
                "z {z}: {table} against {integral}"
            );
        }
    }

    #[test]
    fn phi_never_falls_and_ends_at_its_maximum() {
        let mut before = 0.0;
        for i in -500..1500 {
            let next = phi(f64::from(i) / 100.0);
            assert!(next >= before);
            before = next;
        }
        assert_eq!(before.to_bits(), PHI_MAX.to_bits());
        assert_eq!(phi(f64::INFINITY).to_bits(), PHI_MAX.to_bits());
        assert_eq!(phi(f64::NEG_INFINITY).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn phi_has_the_same_bits_on_every_machine() {
        let bits = [-1.7, 0.0, 0.1, 1.0, 3.3, 5.612, 9.99].map(|z| phi(z).to_bits());
        assert_eq!(bits.iter().fold(0, |all: u64, one| all.rotate_left(7) ^ one), BITS);
    }

    const BITS: u64 = 1_153_867_505_196_365_491;
}
