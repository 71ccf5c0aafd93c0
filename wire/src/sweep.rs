//! Sweeps: what a logged decision on retention says, and what is left of an entry that lost its message.
//!
//! A sweep is an entry of the writer's own. It names the rules that it applies, so that what is dropped follows from the log alone and
//! never from what a member was configured with. Nothing here knows where entries lie or whose they are. **Invariant:** equal entries
//! leave equal bytes, whoever drops their messages.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FrameError;
use crate::run::{DROPPED, EntryHeader, EntryParts, EntryView, HAS_REPLY, INTRODUCES_ACTOR, INTRODUCES_LANE};

/// Bytes of a kind's name at most.
pub const KIND_BYTES_MAX: usize = 32;
/// Kinds that one sweep names at most.
pub const SWEEP_KINDS_MAX: usize = 256;

/// What a sweep's message begins with; the rules follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SweepHeader {
    /// Runs that end up to this seq are swept, later ones are not looked at. Below the sweep's own seq.
    pub upto: U64,
    /// How many rules follow.
    pub kinds: U16,
    /// Zero.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<SweepHeader>() == 16);

/// How much is kept of each actor of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepRule {
    /// The newest so many messages, at least one, counted back from where the sweep begins.
    Last(u32),
    /// Messages that are at most so many milliseconds of group time older than the sweep itself; more than none.
    For(u64),
    /// No message.
    None,
}

impl SweepRule {
    /// Its number and its amount, as they are written.
    #[must_use]
    pub fn to_parts(self) -> (u8, u64) {
        match self {
            SweepRule::Last(count) => (1, u64::from(count)),
            SweepRule::For(ms) => (2, ms),
            SweepRule::None => (3, 0),
        }
    }

    fn from_parts(number: u8, amount: u64) -> Option<SweepRule> {
        match number {
            1 => u32::try_from(amount)
                .ok()
                .filter(|count| *count > 0)
                .map(SweepRule::Last),
            2 => (amount > 0).then_some(SweepRule::For(amount)),
            3 => (amount == 0).then_some(SweepRule::None),
            _ => None,
        }
    }
}

/// Writes a sweep's message.
///
/// # Panics
/// If the rules are more than [`SWEEP_KINDS_MAX`] or a name is longer than [`KIND_BYTES_MAX`]: a bug in this process, which names only
/// kinds that it knows.
pub fn push_sweep(out: &mut Vec<u8>, upto: u64, rules: &[(&[u8], SweepRule)]) {
    assert!(rules.len() <= SWEEP_KINDS_MAX);
    let header = SweepHeader {
        upto: upto.into(),
        kinds: u16::try_from(rules.len()).expect("at most 256").into(),
        reserved: [0; 6],
    };
    out.extend_from_slice(header.as_bytes());
    for (kind, rule) in rules {
        assert!(kind.len() <= KIND_BYTES_MAX);
        let (number, amount) = rule.to_parts();
        out.push(number);
        out.push(u8::try_from(kind.len()).expect("at most 32"));
        out.extend_from_slice(&amount.to_le_bytes());
        out.extend_from_slice(kind);
    }
}

/// A checked sweep.
#[derive(Clone, Copy, Debug)]
pub struct SweepView<'a> {
    /// Runs that end up to this seq are swept.
    pub upto: u64,
    rules: &'a [u8],
}

impl<'a> SweepView<'a> {
    /// Checks a sweep's message whole.
    ///
    /// # Errors
    /// `Entry`: it is too short or too long, a rule is none that this release knows, or the kinds are not named in ascending order, each
    /// once.
    pub fn new_checked(message: &'a [u8]) -> Result<SweepView<'a>, FrameError> {
        let (header, rules) = SweepHeader::ref_from_prefix(message).map_err(|_| FrameError::Entry)?;
        let kinds = usize::from(header.kinds.get());
        if header.upto.get() == 0 || kinds == 0 || kinds > SWEEP_KINDS_MAX || header.reserved != [0; 6] {
            return Err(FrameError::Entry);
        }
        let mut rest = rules;
        let mut before: &[u8] = &[];
        for _ in 0..kinds {
            let (kind, _) = rule(&mut rest).ok_or(FrameError::Entry)?;
            if kind <= before || kind.len() > KIND_BYTES_MAX {
                return Err(FrameError::Entry);
            }
            before = kind;
        }
        if !rest.is_empty() {
            return Err(FrameError::Entry);
        }
        Ok(SweepView {
            upto: header.upto.get(),
            rules,
        })
    }

    /// Each kind that is named, with its rule, in ascending order of the names.
    pub fn rules(&self) -> impl Iterator<Item = (&'a [u8], SweepRule)> + use<'a> {
        let mut rest = self.rules;
        std::iter::from_fn(move || rule(&mut rest))
    }
}

/// Takes one rule off the front.
fn rule<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], SweepRule)> {
    let (head, tail) = rest.split_first_chunk::<10>()?;
    let (number, length) = (head[0], usize::from(head[1]));
    let amount = u64::from_le_bytes(*head[2..].first_chunk()?);
    let (kind, tail) = tail.split_at_checked(length)?;
    let rule = SweepRule::from_parts(number, amount)?;
    *rest = tail;
    Some((kind, rule))
}

/// What is left of an entry when its message and its event are dropped: the header with its flags and the message's length, what it
/// introduces, and its reply, which a repeat of its request is answered from.
fn left<'a>(entry: &EntryView<'a>) -> EntryParts<'a> {
    let flags = entry.header.flags.get() & !(INTRODUCES_ACTOR | INTRODUCES_LANE | HAS_REPLY);
    EntryParts {
        header: EntryHeader {
            flags: U16::new(flags | DROPPED),
            ..*entry.header
        },
        message: &[],
        key: entry.key,
        session: entry.session,
        event: None,
        reply: entry.reply,
    }
}

/// Bytes of what [`write_left`] writes.
#[must_use]
pub fn left_length(entry: &EntryView<'_>) -> usize {
    left(entry).length()
}

/// Writes an entry without its message and event to the start of `out`, and returns its new length. One that was dropped before stays
/// as it is.
///
/// # Panics
/// If `out` is shorter than [`left_length`]: a bug in this process.
pub fn write_left(entry: &EntryView<'_>, out: &mut [u8]) -> usize {
    let written = left(entry).write(out);
    let at = std::mem::offset_of!(EntryHeader, message_length);
    let length: U32 = entry.header.message_length;
    out[at..at + 4].copy_from_slice(length.as_bytes());
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{EVENT_IS_MESSAGE, HAS_EVENT};

    fn sweep(rules: &[(&[u8], SweepRule)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_sweep(&mut bytes, 40, rules);
        bytes
    }

    fn written(parts: &EntryParts<'_>) -> Vec<u8> {
        let mut bytes = vec![0xA5; parts.length()];
        parts.write(&mut bytes);
        bytes
    }

    #[test]
    fn a_sweep_reads_as_it_was_written() {
        let rules: [(&[u8], SweepRule); 3] = [
            (b"meter", SweepRule::Last(7)),
            (b"session", SweepRule::For(1_000)),
            (b"trace", SweepRule::None),
        ];
        let bytes = sweep(&rules);
        let view = SweepView::new_checked(&bytes).unwrap();
        assert_eq!(view.upto, 40);
        assert!(view.rules().eq(rules));
    }

    #[test]
    fn a_sweep_that_is_cut_or_says_nothing_known_is_refused() {
        let good = sweep(&[(b"meter", SweepRule::Last(7)), (b"trace", SweepRule::None)]);
        for length in 0..good.len() {
            assert!(SweepView::new_checked(&good[..length]).is_err(), "{length} bytes");
        }
        let longer = [&good[..], &[0]].concat();
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let bad = [
            longer,
            sweep(&[]),
            sweep(&[(b"meter", SweepRule::Last(0))]),
            sweep(&[(b"meter", SweepRule::For(0))]),
            sweep(&[(b"", SweepRule::None)]),
            sweep(&[(b"trace", SweepRule::None), (b"meter", SweepRule::None)]),
            sweep(&[(b"meter", SweepRule::None), (b"meter", SweepRule::None)]),
            changed(0, 0),
            changed(10, 1),
            changed(16, 0),
            changed(16, 4),
            changed(22, 1),
        ];
        for bytes in bad {
            assert!(SweepView::new_checked(&bytes).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_left_keeps_what_others_need_and_loses_message_and_event() {
        let parts = EntryParts {
            header: EntryHeader {
                actor: 3.into(),
                back: 9.into(),
                number: 12.into(),
                time_delta_ms: 5.into(),
                mark_distance: 2,
                ..EntryHeader::default()
            },
            message: &[7; 100],
            key: Some(b"a key"),
            session: Some(&[2; 16]),
            event: Some(&[8; 300]),
            reply: b"the reply",
        };
        let whole = written(&parts);
        let (entry, _) = EntryView::new_checked(&whole).unwrap();
        let mut bytes = vec![0; left_length(&entry)];
        assert_eq!(write_left(&entry, &mut bytes), bytes.len());
        let (left, tail) = EntryView::new_checked(&bytes).unwrap();
        assert!(tail.is_empty() && bytes.len() == 32 + 16 + 16 + 16);
        assert_eq!((left.message, left.event), (&[][..], None));
        assert_eq!(
            (left.key, left.session, left.reply),
            (parts.key, parts.session, parts.reply)
        );
        let (before, after) = (entry.header, left.header);
        assert_eq!(after.message_length.get(), 100);
        assert_eq!(after.flags.get(), before.flags.get() | DROPPED);
        assert!(after.flags.get() & HAS_EVENT != 0);
        assert_eq!(after.as_bytes()[4..20], before.as_bytes()[4..20]);
        assert_eq!(left.mark(), entry.mark());
        let mut again = vec![0; left_length(&left)];
        write_left(&left, &mut again);
        assert_eq!(again, bytes, "dropping twice changes nothing");
    }

    #[test]
    fn an_entry_whose_event_was_its_message_has_no_event_when_both_are_gone() {
        let parts = EntryParts {
            header: EntryHeader {
                flags: EVENT_IS_MESSAGE.into(),
                ..EntryHeader::default()
            },
            message: b"the message",
            ..EntryParts::default()
        };
        let whole = written(&parts);
        let (entry, _) = EntryView::new_checked(&whole).unwrap();
        let mut bytes = vec![0; left_length(&entry)];
        write_left(&entry, &mut bytes);
        let (left, _) = EntryView::new_checked(&bytes).unwrap();
        assert_eq!((left.event, bytes.len()), (None, 32));
    }
}
