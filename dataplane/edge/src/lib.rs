//! EDGES: what other systems speak, turned into keys and messages and back: MLLP frames, HL7 v2 messages, acknowledgements, a sender.
//!
//! All of it is calculation on bytes. There is no socket, thread, clock or randomness here: bytes come in as slices, time and control ids
//! as arguments, frames leave into a caller's buffer. Views borrow from the bytes that came, and **no bytes make them panic**. `docs/mllp.md`
//! has the rules.

pub mod ack;
pub mod hl7;
pub mod inbound;
pub mod key;
pub mod mllp;
pub mod resend;
mod scan;
pub mod sender;
