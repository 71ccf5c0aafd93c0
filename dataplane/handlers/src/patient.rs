//! `patient`: keeps each HL7 message once. Its projection is where the patient is and since when, the last kinds of messages, and counts.
//!
//! Knows nothing of frames and acknowledgements. A message that is no HL7 is kept as it is, and says nothing about the patient.
//! **Invariant:** of messages with the same facility, control id and bytes one is stored, as far back as [`waterpark_edge::resend::RECENT`].

use std::collections::VecDeque;

use serde_json::{Value, json};
use waterpark_core::behaviour::{Answer, Event, Verdict};
use waterpark_core::state_bytes::{StateReader, StateWriter};
use waterpark_edge::hl7::Message;
use waterpark_edge::resend::{Fingerprint, KNOWN, REUSED_ID, Recent, Sighting};

/// Kinds of messages that are shown, newest first.
const TYPES: usize = 5;
/// Bytes of a location or type that are kept.
const TEXT_MAX: usize = 60;

/// A patient's projection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Patient {
    messages: u64,
    reused_ids: u64,
    last_ms: u64,
    /// PV1-3 as it was sent; empty before the first and after a discharge.
    location: Vec<u8>,
    since_ms: u64,
    discharged: bool,
    types: VecDeque<(Vec<u8>, u64)>,
    recent: Recent,
}

/// What a message says about its patient, as the event carries it.
#[derive(Debug)]
struct Said<'a> {
    fingerprint: Fingerprint,
    reused_id: bool,
    /// Code and trigger of MSH-9: `ADT^A01`.
    kind: &'a [u8],
    /// Absent where the message says nothing of it.
    location: Option<&'a [u8]>,
    discharges: bool,
}

const REUSED: u8 = 1;
const LOCATED: u8 = 2;
const DISCHARGES: u8 = 4;
/// Bytes of an event before its texts: fingerprint, flags, length of the kind.
const FIXED: usize = 8 + 16 + 1 + 1;

pub(crate) fn execute(patient: Option<&Patient>, bytes: &[u8], answer: &mut Answer) {
    let Ok(message) = Message::parse(bytes) else {
        // Kept all the same: whoever sends by another way than MLLP may have other things to say.
        answer.event = Event::Bytes;
        return;
    };
    let fingerprint = Fingerprint::of(&message);
    let sighting = patient.map_or(Sighting::New, |patient| patient.recent.sighting(fingerprint));
    match sighting {
        Sighting::Same => {
            answer.verdict = Verdict::Known;
            return answer.reply_with(KNOWN);
        }
        Sighting::OtherBytes => answer.reply_with(REUSED_ID),
        Sighting::New => (),
    }
    answer.event = Event::Bytes;
    write(
        &message,
        fingerprint,
        sighting == Sighting::OtherBytes,
        &mut answer.event_bytes,
    );
}

/// The event of a message.
fn write(message: &Message<'_>, fingerprint: Fingerprint, reused_id: bool, out: &mut Vec<u8>) {
    let segment = message.segment("PV1");
    let location = segment.as_ref().map(|segment| short(segment.field(3).first().raw()));
    let location = location.filter(|location| !location.is_empty());
    let kind = message.header().message_type();
    let discharges = kind.code == b"ADT" && kind.trigger == b"A03";
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(reused_id, REUSED) | flag(location.is_some(), LOCATED) | flag(discharges, DISCHARGES);
    let kind = [kind.code, kind.trigger].join(&b'^');
    let kind = short(kind.strip_suffix(b"^").unwrap_or(&kind));
    out.extend_from_slice(&fingerprint.id.to_le_bytes());
    out.extend_from_slice(&fingerprint.bytes.to_le_bytes());
    out.push(flags);
    out.push(u8::try_from(kind.len()).expect("cut to TEXT_MAX"));
    out.extend_from_slice(kind);
    out.extend_from_slice(location.unwrap_or_default());
}

impl<'a> Said<'a> {
    /// `None` for the event of a message that was no HL7.
    fn read(event: &'a [u8]) -> Option<Said<'a>> {
        let (fixed, texts) = event.split_at_checked(FIXED)?;
        let (kind, location) = texts.split_at_checked(usize::from(fixed[25]))?;
        let flags = fixed[24];
        Some(Said {
            fingerprint: Fingerprint {
                id: u64::from_le_bytes(*fixed.first_chunk()?),
                bytes: u128::from_le_bytes(*fixed[8..].first_chunk()?),
            },
            reused_id: flags & REUSED != 0,
            kind,
            location: (flags & LOCATED != 0).then_some(location),
            discharges: flags & DISCHARGES != 0,
        })
    }
}

fn short(text: &[u8]) -> &[u8] {
    &text[..text.len().min(TEXT_MAX)]
}

impl Patient {
    /// Bytes that it has set aside outside of itself.
    pub(crate) fn beside_bytes(&self) -> usize {
        let kinds: usize = self.types.iter().map(|(kind, _)| kind.capacity()).sum();
        let types = self.types.capacity() * size_of::<(Vec<u8>, u64)>();
        self.location.capacity() + types + kinds + self.recent.beside_bytes()
    }

    pub(crate) fn save(&self, to: &mut StateWriter<'_>) {
        to.number(self.messages);
        to.number(self.reused_ids);
        to.number(self.last_ms);
        to.bytes(&self.location);
        to.number(self.since_ms);
        to.number(self.discharged.into());
        to.number(self.types.len() as u64);
        for (kind, time_ms) in &self.types {
            to.bytes(kind);
            to.number(*time_ms);
        }
        to.number(self.recent.len() as u64);
        for fingerprint in self.recent.iter() {
            to.number(fingerprint.id);
            to.bytes(&fingerprint.bytes.to_le_bytes());
        }
    }

    pub(crate) fn load(from: &mut StateReader<'_>) -> Option<Patient> {
        let mut patient = Patient {
            messages: from.number()?,
            reused_ids: from.number()?,
            last_ms: from.number()?,
            location: from.bytes()?.to_vec(),
            since_ms: from.number()?,
            discharged: from.number()? != 0,
            ..Patient::default()
        };
        patient.types.reserve_exact(TYPES);
        for _ in 0..from.number()? {
            patient.types.push_back((from.bytes()?.to_vec(), from.number()?));
        }
        for _ in 0..from.number()? {
            patient.recent.remember(Fingerprint {
                id: from.number()?,
                bytes: u128::from_le_bytes(from.bytes()?.try_into().ok()?),
            });
        }
        Some(patient)
    }

    pub(crate) fn apply(&mut self, event: &[u8], time_ms: u64) {
        self.messages += 1;
        self.last_ms = time_ms;
        let Some(said) = Said::read(event) else { return };
        self.recent.remember(said.fingerprint);
        self.reused_ids += u64::from(said.reused_id);
        self.types.truncate(TYPES - 1);
        // Room for as many as are shown: doubling would set aside half as much again, for each of many patients.
        self.types.reserve_exact(TYPES - self.types.len());
        self.types.push_front((said.kind.to_vec(), time_ms));
        let location = if said.discharges { Some(&b""[..]) } else { said.location };
        if let Some(location) = location.filter(|location| *location != self.location) {
            self.location = location.to_vec();
            self.since_ms = time_ms;
        }
        if said.discharges || said.location.is_some() {
            self.discharged = said.discharges;
        }
    }

    pub(crate) fn show(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let types: Vec<Value> = self
            .types
            .iter()
            .map(|(kind, time_ms)| json!({ "type": text(kind), "time_ms": time_ms }))
            .collect();
        let location = (!self.location.is_empty()).then(|| text(&self.location));
        let since_ms = (self.since_ms > 0).then_some(self.since_ms);
        json!({
            "messages": self.messages,
            "reused_ids": self.reused_ids,
            "last_ms": self.last_ms,
            "location": location,
            "since_ms": since_ms,
            "discharged": self.discharged,
            "last_types": types,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(patient: &mut Patient, time_ms: u64, message: &str) -> (Verdict, Vec<u8>) {
        let mut answer = Answer::default();
        execute(Some(patient), message.as_bytes(), &mut answer);
        if answer.event == Event::Bytes {
            patient.apply(&answer.event_bytes, time_ms);
        }
        (answer.verdict, answer.reply)
    }

    fn adt(trigger: &str, id: &str, location: &str) -> String {
        format!("MSH|^~\\&|A|H|B|G|1||ADT^{trigger}^ADT_{trigger}|{id}\rPID|1||7\rPV1|1|I|{location}\r")
    }

    fn shown(patient: &Patient) -> Value {
        serde_json::from_str(&patient.show()).expect("it is JSON")
    }

    #[test]
    fn a_patient_is_where_the_last_message_says_since_the_first_that_said_so() {
        let mut patient = Patient::default();
        send(&mut patient, 10, &adt("A01", "1", "W^1^2"));
        send(&mut patient, 20, &adt("A08", "2", "W^1^2"));
        assert_eq!(
            (&shown(&patient)["location"], &shown(&patient)["since_ms"]),
            (&json!("W^1^2"), &json!(10))
        );
        send(&mut patient, 30, &adt("A02", "3", "ICU^1^1"));
        send(&mut patient, 40, "MSH|^~\\&|A|H|B|G|1||ORU^R01|4\rPID|1||7\r");
        let said = shown(&patient);
        assert_eq!(
            (&said["location"], &said["since_ms"], &said["last_ms"]),
            (&json!("ICU^1^1"), &json!(30), &json!(40))
        );
        assert_eq!(said["last_types"][0], json!({ "type": "ORU^R01", "time_ms": 40 }));
        assert_eq!(said["messages"], json!(4));
        send(&mut patient, 50, &adt("A03", "5", "ICU^1^1"));
        let said = shown(&patient);
        assert_eq!(
            (&said["location"], &said["discharged"], &said["since_ms"]),
            (&Value::Null, &json!(true), &json!(50))
        );
        send(&mut patient, 60, &adt("A01", "6", "W"));
        assert_eq!(shown(&patient)["discharged"], json!(false));
        assert_eq!(shown(&patient)["last_types"].as_array().map(Vec::len), Some(TYPES));
    }

    #[test]
    fn a_patient_takes_a_fingerprint_for_each_message_and_a_few_words() {
        let mut patient = Patient::default();
        for message in 1..=45_usize {
            send(&mut patient, 10, &adt("A08", &message.to_string(), "W^1^2"));
            // 24 bytes for each, where room for at least four doubles; five kinds and a place.
            let fingerprints = 24 * message.next_power_of_two().max(4);
            let words = TYPES * (size_of::<(Vec<u8>, u64)>() + "ADT^A08".len()) + "W^1^2".len();
            let bytes = patient.beside_bytes();
            assert!(bytes <= fingerprints + words, "{bytes} after {message}");
            assert!(bytes >= 24 * message, "{bytes} after {message}");
        }
    }

    #[test]
    fn a_repeat_is_known_and_another_message_with_its_id_is_stored_and_counted() {
        let mut patient = Patient::default();
        let first = adt("A01", "1", "W");
        assert_eq!(send(&mut patient, 1, &first), (Verdict::Done, vec![]));
        assert_eq!(send(&mut patient, 2, &first), (Verdict::Known, KNOWN.to_vec()));
        assert_eq!(
            send(&mut patient, 3, &adt("A02", "1", "W")),
            (Verdict::Done, REUSED_ID.to_vec())
        );
        assert_eq!(send(&mut patient, 4, &first), (Verdict::Known, KNOWN.to_vec()));
        let said = shown(&patient);
        assert_eq!(
            (&said["messages"], &said["reused_ids"], &said["last_ms"]),
            (&json!(2), &json!(1), &json!(3))
        );
    }

    #[test]
    fn what_is_no_hl7_is_kept_each_time() {
        let mut patient = Patient::default();
        for time_ms in 1..=2 {
            assert_eq!(send(&mut patient, time_ms, "good morning"), (Verdict::Done, vec![]));
        }
        assert_eq!(shown(&patient)["messages"], json!(2));
        assert_eq!(shown(&patient)["location"], Value::Null);
    }

    #[test]
    fn texts_of_any_length_and_bytes_fit() {
        let mut patient = Patient::default();
        let long = "é".repeat(500);
        let message = format!("MSH|^~\\&|A|H|B|G|1||{long}^{long}|1\rPV1|1|I|{long}\r");
        assert_eq!(send(&mut patient, 1, &message).0, Verdict::Done);
        assert!(
            shown(&patient)["location"]
                .as_str()
                .is_some_and(|location| location.starts_with("éé"))
        );
    }
}
