//! Why a handshake ends without a connection. Numbers are stable and lie above those of [`crate::FrameError`] and
//! below 512, so that one field can carry either, or what a [`crate::ConnectionRefusal`] has of its own.

/// Defines the refusals with their numbers, so that the list of all of them cannot miss one.
macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal
        $({ $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty = $zero:expr),+ $(,)? })?,
        $text:literal $(, $argument:expr)*;)+) => {
        /// Why a handshake was refused. The connection is closed; nothing else of our state has changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        pub enum HandshakeRefusal {
            $(
                $(#[doc = $doc])+
                #[error($text $(, $argument)*)]
                $name $({ $($(#[doc = $field_doc])+ $field: $type),+ })?,
            )+
        }

        impl HandshakeRefusal {
            /// Every refusal there is, details zeroed.
            pub const ALL: &'static [HandshakeRefusal] =
                &[$(HandshakeRefusal::$name $({ $($field: $zero),+ })?),+];

            /// Its number, the same in every release.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(HandshakeRefusal::$name { .. } => $number,)+ }
            }

            /// The refusal with this number, details zeroed.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<HandshakeRefusal> {
                match number {
                    $($number => Some(HandshakeRefusal::$name $({ $($field: $zero),+ })?),)+
                    _ => None,
                }
            }
        }
    };
}

refusals! {
    /// Bytes that are no handshake message, or one that has no place here. The sender has to be mended, or is no
    /// Waterpark at all.
    Malformed = 256,
        "not a handshake message that has a place here: the other end must be mended, or speaks another protocol";
    /// A length above the limit; nothing was reserved for it. The sender has to be mended.
    TooLong = 257, "handshake message longer than is allowed: the other end must be mended";
    /// The other side speaks a handshake that this release does not read. Its operator or ours should upgrade.
    Format = 258 {
        /// The format that the other side speaks.
        theirs: u8 = 0,
    }, "the other side speaks handshake format {theirs}, this release format 1: upgrade the older side";
    /// The other side belongs to another cluster. The operator should correct the address.
    Cluster = 259, "the other side belongs to another cluster: correct the address or the configuration";
    /// The proof of the cluster key does not match. The operator should give both sides the same key.
    Key = 260, "the proof of the cluster key does not match: give both sides the same key file";
    /// The two topologies differ. The operator should give both nodes the same configuration.
    Topology = 261 {
        /// Digest of the other side's.
        theirs: [u8; 16] = [0; 16],
        /// Digest of ours.
        ours: [u8; 16] = [0; 16],
    }, "the topologies differ, theirs {:032x}, ours {:032x}: give both nodes the same configuration",
        u128::from_be_bytes(*theirs), u128::from_be_bytes(*ours);
    /// No node with the id that the dialer claims belongs to the cluster. The operator should let it join, or correct its configuration; one
    /// that left takes another name and id.
    UnknownNode = 262,
        "no node of that id belongs to the cluster: let it join (`waterpark cluster join`), or correct the dialer's configuration";
    /// A process has dialled itself. The operator should correct the address of one node.
    Oneself = 263, "the process has dialled itself: two nodes have the same address in the configuration";
    /// The other node dials this link. The dialer has to be mended.
    WrongDialer = 264, "this link is dialled by the other side: the dialer must be mended";
    /// There is no link of that number between these nodes, or another shard holds it. The dialer has to be mended.
    WrongLink = 265, "no link of that number ends at this shard: the dialer must be mended";
    /// A newer process of the dialer's name was met. The older one has to end.
    StaleIncarnation = 266, "a newer process of that node was met: the older one must end";
    /// The shard has as many clients, or the port as many handshakes at once, as it takes. The dialer comes back later.
    Busy = 267, "too many clients, or too many handshakes at once: come back later";
    /// The process is ending. The dialer goes elsewhere or comes back later.
    Stopping = 268, "the process is stopping: come back later";
    /// Without a cluster key only loopback is accepted. The operator should make a key.
    NotLoopback = 269, "without a cluster key only loopback is accepted: make a key";
    /// The port is not for what the dialer wants. The operator should correct the port.
    Purpose = 270, "the port is not for that: correct the port";
    /// The handshake was not done in time. The dialer comes back, has to be mended, or is no Waterpark at all.
    Late = 271, "the handshake was not done in time: the other end hangs, or speaks another protocol";
}
