//! What a feed is like: how many patients and facilities, how much time between messages, how rare and how large attachments are.
//!
//! Plain values that an operator can set. **Invariant:** a [`Shape`] that passed [`Shape::check`] can be generated from for ever.

/// Facilities that a feed has at most: their codes have five characters.
pub const FACILITIES_MAX: u16 = 1_000;
/// Patients that a feed has at once at most: their open visits are what the feed keeps in memory.
pub const PATIENTS_MAX: u32 = 10_000_000;
/// The largest attachment, in characters of Base64.
pub const ATTACHMENT_BYTES_MAX: u32 = 64 << 20;
/// The longest mean gap: a hundred days.
pub const GAP_MS_MAX: u64 = 8_640_000_000;
/// The latest start, in the year 2999: times have four digits for the year, and a feed may run for long.
pub const START_MS_MAX: u64 = 32_472_144_000_000;

/// What a feed is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Visits that are open at the same time, 1 to [`PATIENTS_MAX`]. Memory grows with them and with nothing else: about 2 KiB each.
    pub patients: u32,
    /// Facilities, 1 to [`FACILITIES_MAX`], dealt to the four data centres in turn. The last of several uses delimiters of its own.
    pub facilities: u16,
    /// Mean virtual time between two messages of a patient, in ms, 1 to [`GAP_MS_MAX`]. A visit has some forty messages.
    pub gap_ms: u64,
    /// Of a million messages, how many carry an attachment.
    pub attachments_ppm: u32,
    /// The smallest attachment, in characters of Base64.
    pub attachment_bytes_min: u32,
    /// The largest attachment, in characters of Base64, at most [`ATTACHMENT_BYTES_MAX`].
    pub attachment_bytes_max: u32,
    /// Virtual time of the feed's begin, in Unix milliseconds, at most [`START_MS_MAX`].
    pub start_ms: u64,
}

impl Default for Shape {
    /// A thousand patients in eight facilities, a message per patient every six hours: visits of one to two weeks.
    fn default() -> Shape {
        Shape {
            patients: 1_000,
            facilities: 8,
            gap_ms: 6 * 3_600_000,
            attachments_ppm: 500,
            attachment_bytes_min: 50_000,
            attachment_bytes_max: 500_000,
            // 2026-01-01T00:00:00Z.
            start_ms: 1_767_225_600_000,
        }
    }
}

impl Shape {
    /// Whether a feed of this shape can be generated.
    ///
    /// # Errors
    /// The first value that is out of its bounds.
    pub fn check(&self) -> Result<(), ShapeError> {
        if !(1..=PATIENTS_MAX).contains(&self.patients) {
            return Err(ShapeError::Patients {
                patients: self.patients,
            });
        }
        if !(1..=FACILITIES_MAX).contains(&self.facilities) {
            return Err(ShapeError::Facilities {
                facilities: self.facilities,
            });
        }
        if !(1..=GAP_MS_MAX).contains(&self.gap_ms) {
            return Err(ShapeError::Gap { gap_ms: self.gap_ms });
        }
        if self.attachments_ppm > 1_000_000 {
            return Err(ShapeError::AttachmentRate {
                ppm: self.attachments_ppm,
            });
        }
        let (least, most) = (self.attachment_bytes_min, self.attachment_bytes_max);
        if least > most || most > ATTACHMENT_BYTES_MAX {
            return Err(ShapeError::AttachmentBytes { least, most });
        }
        if self.start_ms > START_MS_MAX {
            return Err(ShapeError::Start {
                start_ms: self.start_ms,
            });
        }
        Ok(())
    }
}

/// Why a shape is refused. Nothing was generated; whoever set the value has to set another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// No patient, or more than memory is meant for.
    #[error("{patients} patients at once: 1 to {PATIENTS_MAX} are possible")]
    Patients {
        /// As asked for.
        patients: u32,
    },
    /// No facility, or more than there are codes.
    #[error("{facilities} facilities: 1 to {FACILITIES_MAX} are possible")]
    Facilities {
        /// As asked for.
        facilities: u16,
    },
    /// No time between messages, or too much.
    #[error("a mean gap of {gap_ms} ms: 1 to {GAP_MS_MAX} are possible")]
    Gap {
        /// As asked for.
        gap_ms: u64,
    },
    /// More attachments than messages.
    #[error("{ppm} attachments in a million messages")]
    AttachmentRate {
        /// As asked for.
        ppm: u32,
    },
    /// The smallest is larger than the largest, or that is larger than any.
    #[error("attachments of {least} to {most} bytes: from small to large, and {ATTACHMENT_BYTES_MAX} at most")]
    AttachmentBytes {
        /// The smallest asked for.
        least: u32,
        /// The largest asked for.
        most: u32,
    },
    /// A begin so late that years would need five digits.
    #[error("a begin at {start_ms} ms: {START_MS_MAX} is the latest")]
    Start {
        /// As asked for.
        start_ms: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_can_be_generated_and_values_out_of_bounds_are_refused_by_name() {
        let good = Shape::default();
        assert_eq!(good.check(), Ok(()));
        let none = Shape {
            patients: 0,
            ..good.clone()
        };
        assert_eq!(none.check(), Err(ShapeError::Patients { patients: 0 }));
        let many = Shape {
            facilities: 1_001,
            ..good.clone()
        };
        assert_eq!(many.check(), Err(ShapeError::Facilities { facilities: 1_001 }));
        let still = Shape {
            gap_ms: 0,
            ..good.clone()
        };
        assert_eq!(still.check(), Err(ShapeError::Gap { gap_ms: 0 }));
        let often = Shape {
            attachments_ppm: 1_000_001,
            ..good.clone()
        };
        assert_eq!(often.check(), Err(ShapeError::AttachmentRate { ppm: 1_000_001 }));
        let turned = Shape {
            attachment_bytes_min: 9,
            attachment_bytes_max: 8,
            ..good.clone()
        };
        assert_eq!(turned.check(), Err(ShapeError::AttachmentBytes { least: 9, most: 8 }));
        let late = Shape {
            start_ms: u64::MAX,
            ..good
        };
        assert_eq!(late.check(), Err(ShapeError::Start { start_ms: u64::MAX }));
    }
}
