//! HL7 v2 as it is sent: views over the bytes of a message that copy nothing.
//!
//! What is refused is little, because the bytes are kept whatever they mean: a message must begin with a header that says how it is
//! delimited, what it is and under which id. All the rest is looked up when it is asked for, and what is not there is empty. Character sets
//! are not known here; values are bytes.

mod batch;
mod delimiters;
mod error;
mod escape;
mod header;
mod message;
mod value;

pub use batch::{Batch, Contents, Messages, contents};
pub use delimiters::Delimiters;
pub use error::Hl7Error;
pub(crate) use escape::encode;
pub use header::{Header, HeaderKind, MessageType, Version};
pub use message::{Message, Segment, Segments};
pub use value::{Component, Field, Repetition, Subcomponent};
