//! What can be wrong with bytes from a peer or client. Their fault, never ours: the connection gets a named refusal and is closed, our
//! state is as before.

/// Defines the error with the list of all its kinds, so that a test can demand that each was reached.
macro_rules! frame_errors {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $text:literal;)+) => {
        /// Malformed bytes. Nothing of the frame was acted on; the sender has to be mended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum FrameError {
            $($(#[doc = $doc])+ $name = $code,)+
        }

        impl FrameError {
            /// Every kind there is.
            pub const ALL: &'static [FrameError] = &[$(FrameError::$name),+];

            /// The kind with this number, as a refusal carries it.
            #[must_use]
            pub fn from_code(code: u8) -> Option<FrameError> {
                match code {
                    $($code => Some(FrameError::$name),)+
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for FrameError {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $(FrameError::$name => $text,)+ })
            }
        }

        impl core::error::Error for FrameError {}
    };
}

frame_errors! {
    /// The first four bytes are not a frame's.
    Magic = 1, "not a Waterpark frame";
    /// A format version that this release does not read.
    Version = 2, "unknown format version";
    /// A frame kind that this release does not know.
    Kind = 3, "unknown frame kind";
    /// A flag that this release does not know, or a combination that means nothing.
    Flags = 4, "unknown frame flag";
    /// The length is above the limit of this connection; nothing was reserved for it.
    TooLong = 5, "frame longer than this connection allows";
    /// The length is no multiple of 16, or disagrees with the bytes that came.
    Length = 6, "frame length wrong";
    /// The checksum does not fit the bytes.
    Checksum = 7, "checksum wrong";
    /// The items do not fill the frame exactly.
    ItemCount = 8, "items do not fill the frame";
    /// An item is shorter than its kind's fixed part, or reaches beyond its frame.
    ItemLength = 9, "item length wrong";
    /// An item kind that this release does not know, or that has no place in this kind of frame.
    ItemKind = 10, "item kind has no place here";
    /// A run without entries, above its limits, or numbered from zero.
    Run = 11, "run malformed";
    /// An entry's length or sections do not fit.
    Entry = 12, "entry malformed";
    /// An entry flag that this release does not know.
    EntryFlags = 13, "unknown entry flag";
    /// A request's key or message does not fit its item.
    Request = 14, "request malformed";
    /// A request asks for an operation that this release does not know.
    Operation = 15, "unknown operation";
    /// A reply's body does not fit its item or its outcome is unknown.
    Reply = 16, "reply malformed";
    /// A list of exceptions does not fit its item or names an unknown answer.
    Acked = 17, "ack malformed";
    /// An archive did not validate.
    Body = 18, "body does not validate";
    /// A part outside its whole, or out of order.
    Part = 19, "part out of place";
    /// A compressed frame that does not unfold to the length it states.
    Compressed = 20, "compressed frame does not unfold";
    /// A schema number outside the two releases that this one reads.
    Schema = 22, "schema unknown";
}
