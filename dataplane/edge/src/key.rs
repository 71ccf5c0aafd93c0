//! Whose message it is: the key of the actor that a message goes to, and whom a merge ends.
//!
//! `patient`, with the patient's id from PID-3, else the visit's number from PV1-19, and the facility from MSH-4. The first PID decides. A
//! message with several patients is stored with the first, and where the others are merged, [`merges`] names them.

use std::borrow::Cow;

use waterpark_ring::{Key, KeyRef};

use crate::hl7::{Hl7Error, Message, Repetition, Segment};

/// The kind of all actors that HL7 messages go to.
pub const KIND: &str = "patient";

/// Which of a patient's ids is the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// Assigning authorities, the most wanted first, each as the name or the universal id in the fourth component of PID-3. Where no id is of
    /// any of them, the first id is taken.
    pub authorities: Vec<Vec<u8>>,
}

/// What a merge ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A patient, who goes on as another (A18, A30, A34, A36, A39, A40, A46, A47).
    Patient(Key),
    /// Nobody: something moves from the patient that MRG-1 names, who stays, or is the one that it moves to.
    Nobody(Key),
    /// An account (MRG-3), of a patient who stays.
    Account(Vec<u8>),
    /// A visit (MRG-5), of a patient who stays.
    Visit(Vec<u8>),
}

/// One merge of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The patient that stays: of the PID before the MRG.
    pub into: Key,
    /// What ends.
    pub ended: Ended,
}

/// The key of the actor that a message goes to.
///
/// # Errors
/// `NoPatient` if neither PID-3 of the first PID nor PV1-19 of the first PV1 has an id, `KeyTooLong` if id and facility do not fit a key.
pub fn key_of(message: &Message<'_>, rules: &KeyRules) -> Result<Key, Hl7Error> {
    let mut bytes = Vec::with_capacity(64);
    Ok(write_key(message, rules, &mut bytes)?.to_key())
}

/// As [`key_of`], into a buffer that is used again: what stood in it is gone.
///
/// # Errors
/// As [`key_of`].
pub fn write_key<'k>(message: &Message<'_>, rules: &KeyRules, out: &'k mut Vec<u8>) -> Result<KeyRef<'k>, Hl7Error> {
    let mut visit = None;
    let mut is_patient_passed = false;
    for segment in message.segments() {
        match segment.name() {
            b"PID" if !is_patient_passed => {
                if let Some(id) = patient_id(&segment, 3, rules) {
                    return write(out, message, &id);
                }
                is_patient_passed = true;
            }
            b"PV1" if visit.is_none() => visit = Some(segment.field(19).component(1).value()),
            _ => {}
        }
        // The visit may stand before the patient only in messages that are out of order; so the patient is waited for.
        if is_patient_passed && visit.is_some() {
            break;
        }
    }
    match visit {
        Some(visit) if !visit.is_empty() => write(out, message, &visit),
        _ => Err(Hl7Error::NoPatient),
    }
}

/// The merges of a message, one after the other: one for each MRG, with the PID before it. None for messages without MRG.
///
/// # Errors
/// As [`key_of`] for the patient that stays; `MergedId` for an MRG that names nothing, `KeyTooLong` if the one that ends does not fit a key.
pub fn merges<'m, 'a>(
    message: &'m Message<'a>,
    rules: &'m KeyRules,
) -> impl Iterator<Item = Result<Merge, Hl7Error>> + use<'m, 'a> {
    let ends_patient = ends_patient(message.header().message_type().trigger);
    let mut patient = None;
    // Looked for once: a message may have as many MRG without an id before them as fit in it.
    let mut fallback = None;
    message.segments().filter_map(move |segment| match segment.name() {
        b"PID" => {
            patient = patient_id(&segment, 3, rules).map(|id| key(message, &id));
            None
        }
        b"MRG" => {
            let into = match &patient {
                Some(key) => key.clone(),
                None => fallback.get_or_insert_with(|| key_of(message, rules)).clone(),
            };
            Some(into.and_then(|into| {
                let ended = ended(message, &segment, &into, ends_patient, rules)?;
                Ok(Merge { into, ended })
            }))
        }
        _ => None,
    })
}

/// Whether MRG-1 names somebody who ends. In all other merges it repeats the patient whose account or visit moves.
fn ends_patient(trigger: &[u8]) -> bool {
    matches!(
        trigger,
        b"A18" | b"A30" | b"A34" | b"A36" | b"A39" | b"A40" | b"A46" | b"A47"
    )
}

fn ended(
    message: &Message<'_>,
    merge: &Segment<'_>,
    into: &Key,
    ends_patient: bool,
    rules: &KeyRules,
) -> Result<Ended, Hl7Error> {
    if ends_patient {
        let key = merged_key(message, merge, rules)?;
        return Ok(if key == *into {
            Ended::Nobody(key)
        } else {
            Ended::Patient(key)
        });
    }
    let visit = merge.field(5).component(1).value();
    if !visit.is_empty() {
        return Ok(Ended::Visit(visit.into_owned()));
    }
    let account = merge.field(3).component(1).value();
    if !account.is_empty() {
        return Ok(Ended::Account(account.into_owned()));
    }
    merged_key(message, merge, rules).map(Ended::Nobody)
}

/// The key of the patient that MRG-1 names.
fn merged_key(message: &Message<'_>, merge: &Segment<'_>, rules: &KeyRules) -> Result<Key, Hl7Error> {
    let id = patient_id(merge, 1, rules).ok_or(Hl7Error::MergedId)?;
    key(message, &id)
}

/// The id of a field of patient ids: of the most wanted authority, else the first that there is.
fn patient_id<'a>(segment: &Segment<'a>, field: usize, rules: &KeyRules) -> Option<Cow<'a, [u8]>> {
    let field = segment.field(field);
    let ids = || field.repetitions().filter(|id| !id.component(1).is_empty());
    let of = |wanted: &Vec<u8>| ids().find(|id| is_assigned_by(id, wanted));
    let id = rules.authorities.iter().find_map(of).or_else(|| ids().next())?;
    let value = id.component(1).value();
    // `&x` has a component and no first subcomponent.
    (!value.is_empty()).then_some(value)
}

fn is_assigned_by(id: &Repetition<'_>, wanted: &[u8]) -> bool {
    let authority = id.component(4);
    [1, 2]
        .iter()
        .any(|part| *authority.subcomponent(*part).value() == *wanted)
}

fn key(message: &Message<'_>, id: &[u8]) -> Result<Key, Hl7Error> {
    let mut bytes = Vec::with_capacity(64);
    Ok(write(&mut bytes, message, id)?.to_key())
}

/// Writes the canonical form: fields ascend by name, so the facility stands first.
fn write<'k>(out: &'k mut Vec<u8>, message: &Message<'_>, id: &[u8]) -> Result<KeyRef<'k>, Hl7Error> {
    let facility = message.header().facility().value();
    out.clear();
    push_text(out, KIND.as_bytes());
    out.push(2);
    for (name, value) in [(&b"facility"[..], &*facility), (b"id", id)] {
        push_text(out, name);
        let length = u16::try_from(value.len()).map_err(|_| Hl7Error::KeyTooLong)?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(value);
    }
    // Kind, names and their order are ours and good: only the length can be wrong.
    KeyRef::new_checked(out).map_err(|_| Hl7Error::KeyTooLong)
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(u8::try_from(text.len()).expect("kind and names are short"));
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(segments: &str, rules: &KeyRules) -> Result<String, Hl7Error> {
        let text = format!("MSH|^~\\&|A|HOSPX|B|G|1||ADT^A08|1|P|2.5\r{segments}");
        key_of(&Message::parse(text.as_bytes()).unwrap(), rules).map(|key| key.to_string())
    }

    fn by(authorities: &[&str]) -> KeyRules {
        KeyRules {
            authorities: authorities.iter().map(|name| name.as_bytes().to_vec()).collect(),
        }
    }

    #[test]
    fn the_key_follows_the_rules_case_by_case() {
        let none = by(&[]);
        for (segments, rules, key) in [
            ("PID|1||1001", &none, Ok("patient/1001,facility=HOSPX")),
            (
                "PID|1||1001^5^M11^EPI&1.2&ISO^MR~77^^^SSA",
                &none,
                Ok("patient/1001,facility=HOSPX"),
            ),
            (
                "PID|1||1001^^^EPI&1.2&ISO~77^^^SSA",
                &by(&["SSA"]),
                Ok("patient/77,facility=HOSPX"),
            ),
            (
                "PID|1||1001^^^EPI&1.2&ISO~77^^^SSA",
                &by(&["1.2"]),
                Ok("patient/1001,facility=HOSPX"),
            ),
            (
                "PID|1||1^^^A~2^^^B~3^^^C",
                &by(&["C", "B"]),
                Ok("patient/3,facility=HOSPX"),
            ),
            ("PID|1||1^^^A~2^^^B", &by(&["C", "B"]), Ok("patient/2,facility=HOSPX")),
            ("PID|1||1^^^A~2^^^B", &by(&["nobody"]), Ok("patient/1,facility=HOSPX")),
            ("PID|1||~^^^SSA~2^^^B", &by(&["SSA"]), Ok("patient/2,facility=HOSPX")),
            ("PID|1||\"\"~ 2 ", &none, Ok("patient/2,facility=HOSPX")),
            ("PID|1||a\\T\\b", &none, Ok("patient/a&b,facility=HOSPX")),
            ("PID|1||1\rPID|2||2", &none, Ok("patient/1,facility=HOSPX")),
            (
                "PID|1||\rPV1|1|I|||||||||||||||||V7^^^X",
                &none,
                Ok("patient/V7,facility=HOSPX"),
            ),
            (
                "PV1|1|I|||||||||||||||||V7\rPID|1||1",
                &none,
                Ok("patient/1,facility=HOSPX"),
            ),
            ("PV1|1|I|||||||||||||||||V7", &none, Ok("patient/V7,facility=HOSPX")),
            ("PID|1||\rPID|2||2\rPV1|1|I", &none, Err(Hl7Error::NoPatient)),
            ("EVN|A08", &none, Err(Hl7Error::NoPatient)),
            ("PID|1||&x", &none, Err(Hl7Error::NoPatient)),
            ("", &none, Err(Hl7Error::NoPatient)),
        ] {
            assert_eq!(keyed(segments, rules), key.map(str::to_owned), "{segments} {rules:?}");
        }
    }

    #[test]
    fn the_facility_is_msh_4_by_name_else_by_universal_id_else_empty() {
        for (facility, said) in [
            ("HOSPX^1.2^ISO", "HOSPX"),
            ("^1.2^ISO", "1.2"),
            ("", ""),
            ("\"\"", ""),
            ("H\\S\\X", "H^X"),
        ] {
            let text = format!("MSH|^~\\&|A|{facility}|B|G|1||ADT^A08|1\rPID|||7");
            let key = key_of(&Message::parse(text.as_bytes()).unwrap(), &by(&[])).unwrap();
            assert_eq!(
                key,
                Key::new(KIND, &[("id", b"7"), ("facility", said.as_bytes())]).unwrap()
            );
        }
    }

    #[test]
    fn a_key_is_as_long_as_a_key_may_be_and_no_longer() {
        // 25 bytes are the kind, the names and the lengths; five the facility.
        let longest = "x".repeat(512 - 25 - 5);
        assert!(keyed(&format!("PID|||{longest}"), &by(&[])).is_ok());
        assert_eq!(keyed(&format!("PID|||{longest}x"), &by(&[])), Err(Hl7Error::KeyTooLong));
        let huge = "x".repeat(70_000);
        assert_eq!(keyed(&format!("PID|||{huge}"), &by(&[])), Err(Hl7Error::KeyTooLong));
    }

    fn merged(trigger: &str, segments: &str) -> Result<Vec<(String, String)>, Hl7Error> {
        let text = format!("MSH|^~\\&|A|H|B|G|1||ADT^{trigger}|1|P|2.5\r{segments}");
        let (message, rules) = (Message::parse(text.as_bytes()).unwrap(), by(&[]));
        let merges: Vec<Merge> = merges(&message, &rules).collect::<Result<_, _>>()?;
        let said = |ended| match ended {
            Ended::Patient(key) => key.to_string(),
            Ended::Nobody(key) => format!("nobody, from {key}"),
            Ended::Account(id) => format!("account {}", id.escape_ascii()),
            Ended::Visit(id) => format!("visit {}", id.escape_ascii()),
        };
        Ok(merges
            .into_iter()
            .map(|merge| (merge.into.to_string(), said(merge.ended)))
            .collect())
    }

    #[test]
    fn many_merges_without_a_patient_take_one_search() {
        // Searching for each of them would take minutes.
        let text = format!("{}PV1|1|I|||||||||||||||||V7", "PID|||\rMRG|||A\r".repeat(50_000));
        let merges = merged("A41", &text).unwrap();
        assert_eq!(merges.len(), 50_000);
        assert_eq!(merges[49_999].0, "patient/V7,facility=H");
    }

    #[test]
    fn a_merge_names_who_ends_and_who_stays() {
        let pair = |into: &str, ended: &str| (format!("patient/{into},facility=H"), ended.to_owned());
        for (trigger, segments, expected) in [
            ("A08", "PID|||1", Ok(vec![])),
            ("A40", "PID|||1\rMRG|2", Ok(vec![pair("1", "patient/2,facility=H")])),
            (
                "A47",
                "PID|||1\rMRG|2^^^X||ACC",
                Ok(vec![pair("1", "patient/2,facility=H")]),
            ),
            (
                "A40",
                "PID|||1\rMRG|2\rPID|||3\rMRG|4",
                Ok(vec![
                    pair("1", "patient/2,facility=H"),
                    pair("3", "patient/4,facility=H"),
                ]),
            ),
            (
                "A40",
                "PID|||1\rMRG|1",
                Ok(vec![pair("1", "nobody, from patient/1,facility=H")]),
            ),
            ("A40", "PID|||1\rMRG|||ACC", Err(Hl7Error::MergedId)),
            ("A41", "PID|||1\rMRG|1||ACC^5", Ok(vec![pair("1", "account ACC")])),
            ("A45", "PID|||1\rMRG|1||ACC||V9^^^X", Ok(vec![pair("1", "visit V9")])),
            ("A06", "PID|||1\rMRG|||ACC", Ok(vec![pair("1", "account ACC")])),
            (
                "A43",
                "PID|||1\rMRG|2",
                Ok(vec![pair("1", "nobody, from patient/2,facility=H")]),
            ),
            ("A41", "PID|||1\rMRG|", Err(Hl7Error::MergedId)),
            ("A40", "MRG|2", Err(Hl7Error::NoPatient)),
        ] {
            assert_eq!(merged(trigger, segments), expected, "{trigger} {segments}");
        }
    }
}
