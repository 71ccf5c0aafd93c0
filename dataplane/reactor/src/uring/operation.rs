//! What a completion belongs to: an operation's kind and the slot it concerns, in the 64 bits that the kernel carries for us.
//!
//! It does not know what the slot means. **Invariant:** no generation is needed: a slot is not used again before its last operation has
//! completed.

/// Kinds of operation that are in flight on a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Operation {
    /// Multishot accept; the slot is the listener's.
    Accept = 1,
    /// Connect of a connection.
    Connect = 2,
    /// Multishot receive of a connection.
    Receive = 3,
    /// Send of a connection.
    Send = 4,
    /// A cancel of one of the others; its own completion is of no interest.
    Cancel = 5,
    /// Read of this driver's eventfd.
    Eventfd = 6,
    /// Arrives on the sleeper's ring: another ring's message.
    Woken = 7,
    /// Completes on the waker's ring, and only when the message could not be delivered; the slot is the sibling's.
    Wake = 8,
}

impl Operation {
    /// The user data of this operation on a slot.
    pub(crate) fn on(self, slot: u32) -> u64 {
        (self as u64) << 32 | u64::from(slot)
    }

    /// What user data says. `None` for data that we never made.
    pub(crate) fn of(user_data: u64) -> Option<(Self, u32)> {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the slot")]
        let slot = user_data as u32;
        let operation = match user_data >> 32 {
            1 => Self::Accept,
            2 => Self::Connect,
            3 => Self::Receive,
            4 => Self::Send,
            5 => Self::Cancel,
            6 => Self::Eventfd,
            7 => Self::Woken,
            8 => Self::Wake,
            _ => return None,
        };
        Some((operation, slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_tells_operation_and_slot_back() {
        use Operation::{Accept, Cancel, Connect, Eventfd, Receive, Send, Wake, Woken};
        for operation in [Accept, Connect, Receive, Send, Cancel, Eventfd, Woken, Wake] {
            for slot in [0, 1, u32::MAX] {
                assert_eq!(Operation::of(operation.on(slot)), Some((operation, slot)));
            }
        }
        assert_eq!(Operation::of(0), None);
        assert_eq!(Operation::of(u64::MAX), None);
    }
}
