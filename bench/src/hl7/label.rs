//! The last segment of each message: which feed and which serial it is, and a check over all other bytes.
//!
//! ```text
//! ZWP|<seed, 16 hex digits>|<serial, 16 hex digits>|<check, 16 hex digits> CR
//! ```
//!
//! With it, what is read back says of itself whether it is one that was sent, which one, and whether a byte of it changed: lost, duplicated
//! and changed messages can be told apart without keeping any of them. Knows nothing of HL7 but the separator in MSH-1.
//! **Invariant:** the check is [`checksum::bytes`] of all bytes before it, seed and serial included; behind it stands a CR and nothing else.

use waterpark_wire::checksum;

/// Bytes of the segment, its CR included.
pub const LABEL_BYTES: usize = 3 + 3 * (1 + HEX) + 1;

const HEX: usize = 16;
const NAME: &[u8; 3] = b"ZWP";

/// Which message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// The feed's seed.
    pub seed: u64,
    /// The message's place in the feed, from 0.
    pub serial: u64,
}

/// Why a message is not one of a feed, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// It does not end with a label: of another sender, or cut short on its way.
    #[error("the message does not end with the label of a feed")]
    None,
    /// It is labelled, and its bytes are not those that were sent: some part between the feed and here has changed them.
    #[error("message {} of feed {} is not as it was sent", claimed.serial, claimed.seed)]
    Changed {
        /// What the label says; it may itself be what changed.
        claimed: Label,
    },
}

impl Label {
    /// What the last segment of a message says, not checked against its other bytes. Costs the same for all sizes.
    #[must_use]
    pub fn claimed(message: &[u8]) -> Option<Label> {
        parse(message).map(|(label, _)| label)
    }

    /// Which message it is, if every byte is as it was sent.
    ///
    /// # Errors
    /// [`LabelError`]: it bears no label, or a byte is another.
    pub fn checked(message: &[u8]) -> Result<Label, LabelError> {
        let (label, check) = parse(message).ok_or(LabelError::None)?;
        let (covered, _) = message.split_at(message.len() - HEX - 1);
        if sum(covered) == check {
            Ok(label)
        } else {
            Err(LabelError::Changed { claimed: label })
        }
    }

    /// Ends a message with its label; all before it must be written.
    pub(super) fn write(self, separator: u8, message: &mut Vec<u8>) {
        let mut segment = [separator; LABEL_BYTES];
        segment[..3].copy_from_slice(NAME);
        segment[4..20].copy_from_slice(&hex(self.seed));
        segment[21..37].copy_from_slice(&hex(self.serial));
        segment[LABEL_BYTES - 1] = b'\r';
        let check_at = message.len() + LABEL_BYTES - HEX - 1;
        message.extend_from_slice(&segment);
        let check = hex(sum(&message[..check_at]));
        message[check_at..check_at + HEX].copy_from_slice(&check);
    }
}

/// The label and its check, if the message ends with one in exactly the form in which it is written.
fn parse(message: &[u8]) -> Option<(Label, u64)> {
    let (before, segment) = message.split_last_chunk::<LABEL_BYTES>()?;
    let separator = *message.get(3)?;
    let is_form = before.last() == Some(&b'\r')
        && segment.starts_with(NAME)
        && [3, 20, 37].iter().all(|at| segment[*at] == separator)
        && segment[LABEL_BYTES - 1] == b'\r';
    if !is_form {
        return None;
    }
    let label = Label {
        seed: unhex(&segment[4..20])?,
        serial: unhex(&segment[21..37])?,
    };
    Some((label, unhex(&segment[38..54])?))
}

/// The sum of all before the check. The CR behind it need not be in it: a label without that CR is none.
fn sum(covered: &[u8]) -> u64 {
    checksum::bytes(covered)
}

fn hex(value: u64) -> [u8; HEX] {
    value
        .to_be_bytes()
        .map(|byte| [HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 15)]])
        .as_flattened()
        .try_into()
        .expect("two digits for each of eight bytes")
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The value of sixteen digits; capitals are refused, because they are not what was written.
fn unhex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled() -> (Label, Vec<u8>) {
        let label = Label {
            seed: u64::MAX,
            serial: 7,
        };
        let mut message = b"MSH|^~\\&|TEST\rPID|1\r".to_vec();
        label.write(b'|', &mut message);
        (label, message)
    }

    #[test]
    fn a_label_is_read_as_it_was_written() {
        let (label, message) = labelled();
        assert_eq!(Label::claimed(&message), Some(label));
        assert_eq!(Label::checked(&message), Ok(label));
    }

    #[test]
    fn every_other_byte_and_every_other_length_is_found() {
        let (label, message) = labelled();
        for at in 0..message.len() {
            for bit in 0..8 {
                let mut other = message.clone();
                other[at] ^= 1 << bit;
                assert!(Label::checked(&other).is_err(), "byte {at}, bit {bit}");
            }
            assert_eq!(Label::checked(&message[..at]), Err(LabelError::None), "cut at {at}");
        }
        let mut longer = message.clone();
        longer.push(b'\r');
        assert_eq!(Label::checked(&longer), Err(LabelError::None));
        let mut doubled = message.clone();
        doubled.insert(10, b'T');
        assert_eq!(Label::checked(&doubled), Err(LabelError::Changed { claimed: label }));
    }
}
