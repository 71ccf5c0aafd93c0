//! Feeds of HL7 v2 as hospitals send them: long visits of synthetic patients over several facilities and data centres, from a seed alone.
//!
//! ```
//! use waterpark_bench::hl7::{Feed, Label, Shape};
//!
//! let mut feed = Feed::new(7, Shape::default())?;
//! let mut message = Vec::new();
//! let event = feed.next(&mut message);
//! assert!(message.starts_with(b"MSH"));
//! assert_eq!(Label::checked(&message), Ok(Label { seed: 7, serial: event.serial }));
//! # Ok::<(), waterpark_bench::hl7::ShapeError>(())
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | `feed` | all visits in the order of virtual time |
//! | `visit` | one patient's visit: which message comes next |
//! | `compose` | the segments of a message, and how long it becomes |
//! | `texts`, `panels` | templates of segments |
//! | `block` | a template with holes, copied and filled |
//! | `label` | the last segment of each message: seed, serial, check |
//! | `facility` | who sends, in which version and with which delimiters |
//! | `shape` | what an operator can choose |
//! | `event` | what a message is about |
//!
//! Knows no socket, clock, cluster or host. Every person is marked as a test. **Invariant:** the same seed and shape give the same bytes on
//! every machine; the bytes of the first messages are held by a test.

mod block;
mod compose;
mod event;
mod facility;
mod feed;
mod label;
mod panels;
mod rng;
mod shape;
mod stamp;
mod texts;
mod visit;

pub use compose::MESSAGE_BYTES_MAX;
pub use event::{Event, MessageKind, Number};
pub use facility::{DATA_CENTRES, Dialect, Facility, VERSIONS};
pub use feed::Feed;
pub use label::{LABEL_BYTES, Label, LabelError};
pub use shape::{ATTACHMENT_BYTES_MAX, FACILITIES_MAX, GAP_MS_MAX, PATIENTS_MAX, START_MS_MAX, Shape, ShapeError};
pub use stamp::NUMBER_DIGITS;
