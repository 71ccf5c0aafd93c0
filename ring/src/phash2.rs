//! `phash2` of Erlang/OTP over the terms that keys and names of nodes are made of, so that a ring of libring's is
//! reproduced point for point.
//!
//! The function is Bob Jenkins' 96-bit mix (1996), seeded per kind of term with multiples of the golden ratio: the k-th
//! kind starts from k × 0x9e3779b9. Terms are hashed depth first with one running value; pairs of a map are hashed each
//! from zero and combined with exclusive or, so that the order of a map's keys does not show.
//!
//! Deliberately absent: lists, floats, references, pids and functions, which no key is made of. Strings are Elixir's,
//! that is binaries.

/// The range that libring asks for: hashes are taken modulo 2^32 - 1, not 2^32.
pub const RANGE: u32 = u32::MAX;

/// An Erlang term, as far as keys need one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Term {
    /// A binary; Elixir's strings are these.
    Binary(Vec<u8>),
    /// An integer, small or not.
    Integer(i128),
    /// An atom by its name.
    Atom(String),
    /// A tuple.
    Tuple(Vec<Term>),
    /// A map as pairs with distinct keys, in any order.
    Map(Vec<(Term, Term)>),
}

impl Term {
    /// An Elixir string.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Binary(text.as_bytes().to_vec())
    }

    /// An atom.
    #[must_use]
    pub fn atom(name: &str) -> Self {
        Self::Atom(name.to_owned())
    }
}

/// `erlang:phash2(term, 4294967295)`: below [`RANGE`].
#[must_use]
pub fn phash2(term: &Term) -> u32 {
    fold(term, 0) % RANGE
}

/// `phash2` of the binary of these bytes, without making a term of them.
#[must_use]
pub fn phash2_binary(bytes: &[u8]) -> u32 {
    binary(bytes, 0) % RANGE
}

/// `phash2({Name, I}, 4294967295)`: the point number `index` of a node on libring's ring.
#[must_use]
pub fn phash2_point(name: &str, index: u32) -> u32 {
    let hash = word(2, kind(9), 0);
    let hash = binary(name.as_bytes(), hash);
    integer(i128::from(index), hash) % RANGE
}

/// The seed of the k-th kind of term.
const fn kind(k: u32) -> u32 {
    k.wrapping_mul(0x9e37_79b9)
}

fn fold(term: &Term, hash: u32) -> u32 {
    match term {
        Term::Binary(bytes) => binary(bytes, hash),
        Term::Integer(value) => integer(*value, hash),
        // An atom that comes first is its own hash, unmixed: a shortcut of the original that its callers now depend on.
        Term::Atom(name) if hash == 0 => atom(name),
        Term::Atom(name) => word(atom(name), kind(3), hash),
        Term::Tuple(elements) => {
            let hash = word(length(elements.len()), kind(9), hash);
            elements.iter().fold(hash, |hash, element| fold(element, hash))
        }
        Term::Map(pairs) => {
            let hash = word(length(pairs.len()), kind(16), hash);
            if pairs.is_empty() {
                return hash;
            }
            let all = pairs
                .iter()
                .fold(0, |all, (key, value)| all ^ fold(value, fold(key, 0)));
            word(all, kind(19), hash)
        }
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("a term of a key has few elements")
}

fn binary(bytes: &[u8], hash: u32) -> u32 {
    let start = kind(13).wrapping_add(hash);
    if bytes.is_empty() {
        return start;
    }
    let (mut a, mut b, mut c) = (kind(1), kind(1), start);
    let (blocks, tail) = bytes.as_chunks::<12>();
    for block in blocks {
        let at = |i: usize| u32::from_le_bytes([block[i], block[i + 1], block[i + 2], block[i + 3]]);
        a = a.wrapping_add(at(0));
        b = b.wrapping_add(at(4));
        c = c.wrapping_add(at(8));
        mix(&mut a, &mut b, &mut c);
    }
    // The length goes in with the tail. It takes the lowest byte of c, so the tail's bytes 8 to 10 stand one byte
    // higher. A length beyond 32 bits is cut off by the original, too; keys are shorter by far.
    c = c.wrapping_add(length(bytes.len()));
    let mut last = [0; 12];
    last[..tail.len().min(8)].copy_from_slice(&tail[..tail.len().min(8)]);
    if let Some(high) = tail.get(8..) {
        last[9..9 + high.len()].copy_from_slice(high);
    }
    let at = |i: usize| u32::from_le_bytes([last[i], last[i + 1], last[i + 2], last[i + 3]]);
    a = a.wrapping_add(at(0));
    b = b.wrapping_add(at(4));
    c = c.wrapping_add(at(8));
    mix(&mut a, &mut b, &mut c);
    c
}

/// Integers of 28 bits with their sign are one word; larger ones are their magnitude in pieces of 64 bits, lowest
/// first.
fn integer(value: i128, hash: u32) -> u32 {
    if let Ok(small) = i32::try_from(value)
        && (-(1 << 27)..1 << 27).contains(&small)
    {
        let hash = if small < 0 {
            word(small.unsigned_abs(), kind(1), hash)
        } else {
            hash
        };
        return word(small.cast_unsigned(), kind(1), hash);
    }
    let seed = if value < 0 { kind(10) } else { kind(11) };
    let mut rest = value.unsigned_abs();
    let mut hash = hash;
    while rest != 0 {
        hash = words(low_word(rest), low_word(rest >> 32), seed, hash);
        rest >>= 64;
    }
    hash
}

#[expect(clippy::cast_possible_truncation, reason = "the low word is what is wanted")]
fn low_word(value: u128) -> u32 {
    value as u32
}

/// The hash of an atom's name: the one that ELF tables use. A character of the Latin-1 range counts as its one byte
/// there.
fn atom(name: &str) -> u32 {
    let mut hash = 0_u32;
    let mut add = |byte: u8| {
        hash = (hash << 4).wrapping_add(u32::from(byte));
        let high = hash & 0xf000_0000;
        hash ^= high >> 24 | high;
    };
    for character in name.chars() {
        match u8::try_from(character) {
            Ok(latin1) => add(latin1),
            Err(_) => character.encode_utf8(&mut [0; 4]).bytes().for_each(&mut add),
        }
    }
    hash
}

fn word(value: u32, seed: u32, hash: u32) -> u32 {
    words(value, 0, seed, hash)
}

fn words(first: u32, second: u32, seed: u32, hash: u32) -> u32 {
    let (mut a, mut b, mut c) = (seed.wrapping_add(first), seed.wrapping_add(second), hash);
    mix(&mut a, &mut b, &mut c);
    c
}

fn mix(a: &mut u32, b: &mut u32, c: &mut u32) {
    let less = |x: u32, y: u32, z: u32| x.wrapping_sub(y).wrapping_sub(z);
    *a = less(*a, *b, *c) ^ *c >> 13;
    *b = less(*b, *c, *a) ^ *a << 8;
    *c = less(*c, *a, *b) ^ *b >> 13;
    *a = less(*a, *b, *c) ^ *c >> 12;
    *b = less(*b, *c, *a) ^ *a << 16;
    *c = less(*c, *a, *b) ^ *b >> 5;
    *a = less(*a, *b, *c) ^ *c >> 3;
    *b = less(*b, *c, *a) ^ *a << 10;
    *c = less(*c, *a, *b) ^ *b >> 15;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden values of OTP 25.
    #[test]
    fn every_golden_term_has_its_hash() {
        let point = |name: &str, i| Term::Tuple(vec![Term::text(name), Term::Integer(i)]);
        let patient = |first: usize| {
            let mut pairs = vec![
                (Term::atom("id"), Term::text("1001")),
                (Term::atom("facility"), Term::text("HOSPX")),
            ];
            pairs.swap(0, first);
            Term::Map(pairs)
        };
        let rows = [
            (Term::text(""), 147_926_629),
            (Term::text("a"), 1_589_197_455),
            (Term::text("abc"), 1_306_188_027),
            (Term::text("actor-key-1001"), 2_972_939_521),
            (point("s7", 1), 2_456_529_712),
            (point("FL-A-1", 128), 3_636_834_128),
            (Term::atom("kid"), 29_172),
            (Term::atom("room_den"), 107_175_214),
            (Term::Integer(1001), 1_238_816_297),
            (Term::Tuple(vec![Term::atom("room"), Term::atom("den")]), 3_395_781_989),
            (patient(0), 148_562_336),
            (patient(1), 148_562_336),
        ];
        for (term, hash) in rows {
            assert_eq!(phash2(&term), hash, "{term:?}");
        }
    }

    #[test]
    fn the_short_cuts_equal_the_terms_that_they_stand_for() {
        for index in [1, 128, 70_000] {
            let term = Term::Tuple(vec![Term::text("FL-A-1"), Term::Integer(i128::from(index))]);
            assert_eq!(phash2_point("FL-A-1", index), phash2(&term));
        }
        for len in 0..40 {
            let bytes = vec![b'x'; len];
            assert_eq!(phash2_binary(&bytes), phash2(&Term::Binary(bytes)));
        }
    }

    #[test]
    fn integers_on_both_sides_of_28_bits_are_told_apart_by_sign_and_size() {
        let edge = 1 << 27;
        let values = [
            0,
            1,
            -1,
            edge - 1,
            edge,
            -edge,
            -edge - 1,
            1 << 40,
            -(1 << 40),
            1 << 64,
            1 << 100,
            -(1 << 100),
        ];
        let hashes: std::collections::BTreeSet<u32> = values.map(|value| phash2(&Term::Integer(value))).into();
        assert_eq!(hashes.len(), values.len());
    }

    #[test]
    fn an_atom_is_mixed_only_where_something_came_before_it() {
        let alone = phash2(&Term::atom("kid"));
        assert_ne!(phash2(&Term::Tuple(vec![Term::atom("kid")])), alone);
        assert_eq!(atom("\u{e9}"), 0xe9, "a Latin-1 character is one byte");
    }
}
