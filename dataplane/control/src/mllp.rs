//! `[mllp]`: who may send HL7 to a node and how it is served; from TOML to values.
//!
//! Knows nothing of frames or messages: what the values do is `waterpark_edge`'s. **Invariant:** the authorities are of the file alone. They
//! decide which actor a message goes to, so a variable that gave one node others would give one patient two actors.

use std::fmt;

use toml::de::DeTable;

use crate::draft::Ledger;
use crate::fields::{Fields, Got, Reader};
use crate::problem::What;
use crate::quantities::{Bytes, Duration};
use crate::read::{one_of, size, time};
use crate::source::{Place, quoted};

/// Longest message that a node takes, over MLLP as over the native protocol.
pub const MESSAGE_MAX: Bytes = Bytes::new(1 << 20);
/// Below this ordinary messages are refused.
const MESSAGE_MIN: Bytes = Bytes::new(1 << 10);
/// The default: senders wait half a minute and more.
const TIMEOUT: Duration = Duration::from_us(10_000_000);
/// Below this an acknowledgement over a wide network comes too late.
const TIMEOUT_MIN: Duration = Duration::from_us(100_000);
/// Above this every sender has long given up.
const TIMEOUT_MAX: Duration = Duration::from_us(600_000_000);
/// Longest authority that is worth comparing.
const AUTHORITY_BYTES_MAX: usize = 255;

/// How HL7 messages over MLLP come in. A node has one port for them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mllp {
    /// Whether nodes listen for them: true, if the file says nothing.
    pub listen: bool,
    /// Who may connect.
    pub from: MllpFrom,
    /// How messages are acknowledged.
    pub mode: MllpMode,
    /// A message whose end is not known after this is answered with an error: 100 ms to 10 min, 10 s if the file says nothing.
    pub timeout: Duration,
    /// Longest message that is taken, from 1 KiB to [`MESSAGE_MAX`], which it is if the file says nothing.
    pub message_max: Bytes,
    /// Assigning authorities whose patient ids are keys, the most wanted first; none, if the file says nothing.
    pub authorities: Vec<String>,
}

/// Who may connect to a node's MLLP port. MLLP has no proof of identity, so strangers are kept out by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum MllpFrom {
    /// Senders on the node's own machine.
    #[default]
    Loopback,
    /// Whoever reaches the port.
    Any,
}

/// How messages are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum MllpMode {
    /// Once each, whatever MSH-15 and MSH-16 say.
    #[default]
    Original,
    /// As MSH-15 and MSH-16 ask.
    Enhanced,
}

impl MllpFrom {
    const WORDS: &'static [&'static str] = &["loopback", "any"];

    fn from_word(word: &str) -> Option<MllpFrom> {
        match word {
            "loopback" => Some(MllpFrom::Loopback),
            "any" => Some(MllpFrom::Any),
            _ => None,
        }
    }
}

impl fmt::Display for MllpFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MllpFrom::Loopback => "loopback",
            MllpFrom::Any => "any",
        })
    }
}

impl MllpMode {
    const WORDS: &'static [&'static str] = &["original", "enhanced"];

    fn from_word(word: &str) -> Option<MllpMode> {
        match word {
            "original" => Some(MllpMode::Original),
            "enhanced" => Some(MllpMode::Enhanced),
            _ => None,
        }
    }
}

impl fmt::Display for MllpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MllpMode::Original => "original",
            MllpMode::Enhanced => "enhanced",
        })
    }
}

/// The table as far as it could be read.
pub(crate) struct DraftMllp {
    listen: Option<Got<bool>>,
    from: Option<Got<MllpFrom>>,
    mode: Option<Got<MllpMode>>,
    timeout: Option<Got<Duration>>,
    message_max: Option<Got<Bytes>>,
    authorities: Option<Got<Vec<String>>>,
}

impl DraftMllp {
    /// The values, each noted; `None` if one could not be read, which was named then.
    pub(crate) fn finish(self, ledger: &mut Ledger) -> Option<Mllp> {
        let DraftMllp {
            listen,
            from,
            mode,
            timeout,
            message_max,
            authorities,
        } = self;
        let (listen, from, mode) = (listen?, from?, mode?);
        ledger.note("mllp.listen", &listen, listen.value);
        ledger.note("mllp.from", &from, from.value);
        ledger.note("mllp.mode", &mode, mode.value);
        let (timeout, message_max, authorities) = (timeout?, message_max?, authorities?);
        ledger.note("mllp.timeout", &timeout, timeout.value);
        ledger.note("mllp.message_max", &message_max, message_max.value);
        ledger.note("mllp.authorities", &authorities, format!("{:?}", authorities.value));
        Some(Mllp {
            listen: listen.value,
            from: from.value,
            mode: mode.value,
            timeout: timeout.value,
            message_max: message_max.value,
            authorities: authorities.value,
        })
    }
}

/// Reads the table, or what a file without it means.
pub(crate) fn read_mllp<'a>(reader: &mut Reader<'a>, table: Option<&'a DeTable<'a>>, header: Place) -> DraftMllp {
    let file = reader.source.file();
    let mut fields = Fields::new(reader, table, "mllp", "[mllp]", header);
    let unset = |fields: &Fields<'_, '_>, key: &'static str| fields.is_unset(key);
    let (no_listen, no_from, no_mode) = (unset(&fields, "listen"), unset(&fields, "from"), unset(&fields, "mode"));
    let (no_timeout, no_message_max) = (unset(&fields, "timeout"), unset(&fields, "message_max"));
    let mut draft = DraftMllp {
        listen: fields.flag("listen"),
        from: fields.parsed("from", |text| {
            one_of("from", text, MllpFrom::WORDS, MllpFrom::from_word)
        }),
        mode: fields.parsed("mode", |text| {
            one_of("mode", text, MllpMode::WORDS, MllpMode::from_word)
        }),
        timeout: fields.parsed("timeout", timeout),
        message_max: fields.parsed("message_max", |text| {
            size("message_max", text, MESSAGE_MIN, MESSAGE_MAX)
        }),
        authorities: None,
    };
    draft.authorities = read_authorities(&mut fields);
    fields.finish();
    if no_listen {
        draft.listen = Some(Got::default(true, file.clone()));
    }
    if no_from {
        draft.from = Some(Got::default(MllpFrom::default(), file.clone()));
    }
    if no_mode {
        draft.mode = Some(Got::default(MllpMode::default(), file.clone()));
    }
    if no_timeout {
        draft.timeout = Some(Got::default(TIMEOUT, file.clone()));
    }
    if no_message_max {
        draft.message_max = Some(Got::default(MESSAGE_MAX, file));
    }
    draft
}

/// The list, in its order; empty if there is none.
fn read_authorities(fields: &mut Fields<'_, '_>) -> Option<Got<Vec<String>>> {
    const KEY: &str = "authorities";
    if fields.is_unset(KEY) {
        fields.value(KEY);
        return Some(Got::default(Vec::new(), fields.reader.source.file()));
    }
    let list = fields.texts(KEY)?;
    let mut names: Vec<String> = Vec::new();
    let mut whole = true;
    for one in &list.value {
        let name: &str = &one.value;
        let again = names.iter().any(|known| known == name);
        if again || name.trim() != name || !(1..=AUTHORITY_BYTES_MAX).contains(&name.len()) {
            let found = quoted(name);
            fields.reader.push(What::Authority { found, again }, one.place.clone());
            whole = false;
        }
        names.push(name.to_owned());
    }
    whole.then(|| list.map(|_| names))
}

fn timeout(text: &str) -> Result<Duration, What> {
    time("timeout", text, TIMEOUT_MIN, TIMEOUT_MAX)
}
