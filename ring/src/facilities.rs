//! From a facility to its class: an open-addressed table, because this question stands on the path of every message
//! whose key names a facility.
//!
//! Built once with the topology and never changed. Hashes are keyed by the cluster, so that a stranger who names
//! facilities cannot make the probes long.

use std::collections::BTreeMap;

use crate::keyspace::Keyspace;

/// Classes of bound facilities.
#[derive(Debug, Clone)]
pub(crate) struct Facilities {
    /// A power of two, at most half of it filled: a probe ends at the first empty place.
    places: Box<[Option<Place>]>,
}

#[derive(Debug, Clone)]
struct Place {
    hash: u64,
    name: Box<[u8]>,
    class: u32,
}

impl Facilities {
    pub(crate) fn new(classes: &BTreeMap<String, u32>, keyspace: &Keyspace) -> Self {
        let len = if classes.is_empty() {
            0
        } else {
            (2 * classes.len()).next_power_of_two()
        };
        let mut places = vec![None; len];
        for (name, &class) in classes {
            let hash = keyspace.hash(name.as_bytes());
            let empty = probe(hash, len)
                .find(|&at| places[at].is_none())
                .expect("half of the places are empty");
            places[empty] = Some(Place {
                hash,
                name: name.as_bytes().into(),
                class,
            });
        }
        Self { places: places.into() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The class of a facility, if it is bound.
    #[inline]
    pub(crate) fn class_of(&self, facility: &[u8], keyspace: &Keyspace) -> Option<u32> {
        let hash = keyspace.hash(facility);
        for at in probe(hash, self.places.len()) {
            let place = self.places[at].as_ref()?;
            if place.hash == hash && *place.name == *facility {
                return Some(place.class);
            }
        }
        None
    }
}

/// All places from the one that a hash names onward, around the end.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a table is smaller than any usize")]
fn probe(hash: u64, len: usize) -> impl Iterator<Item = usize> {
    (0..len).map(move |step| (hash as usize).wrapping_add(step) & (len - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::ClusterId;

    #[test]
    fn every_bound_facility_is_found_and_no_other() {
        let keyspace = Keyspace::new(ClusterId([3; 16]), 64, 4).unwrap();
        for count in [0, 1, 2, 3, 1000] {
            let classes: BTreeMap<String, u32> = (0..count).map(|id| (format!("HOSP{id}"), id % 4)).collect();
            let facilities = Facilities::new(&classes, &keyspace);
            assert_eq!(facilities.is_empty(), count == 0);
            for id in 0..2 * count + 10 {
                let name = format!("HOSP{id}");
                let wanted = (id < count).then_some(id % 4);
                assert_eq!(facilities.class_of(name.as_bytes(), &keyspace), wanted, "{name}");
            }
        }
    }
}
