//! Changing an input a little.

use crate::random::Random;

/// No input grows beyond this.
pub const BYTES_MAX: usize = 4096;

/// Bytes at which parsers decide: ends of ranges, delimiters, wildcards.
const TELLING: &[u8] = b"\x00\x01\x02\x04\x05\x7f\x80\xff\xc0\xed\xf4/+#$\n\"[]={}.%";

/// Changes `input` in one to eight ways, with parts of `other`.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(8).min(random.below(8)) {
        once(input, other, random);
    }
    input.truncate(BYTES_MAX);
}

fn once(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len());
    match random.below(10) {
        0 => change(input, at, |byte| byte ^ 1 << (random.bits() & 7)),
        1 => change(input, at, |_| random.byte()),
        2 => change(input, at, |_| telling(random)),
        3 => change(input, at, |byte| byte.wrapping_add(if random.below(2) == 0 { 1 } else { 0xff })),
        4 => {
            let count = 1 + random.below(4);
            let bytes: Vec<u8> = (0..count)
                .map(|_| if random.below(2) == 0 { telling(random) } else { random.byte() })
                .collect();
            put_in(input, random.below(input.len() + 1), &bytes);
        }
        5 => {
            let end = (at + 1 + random.below(8)).min(input.len());
            input.drain(at.min(end)..end);
        }
        6 => input.truncate(at),
        7 => {
            // A part of another input, put in or written over.
            let from = random.below(other.len());
            let part = other.get(from..).unwrap_or_default();
            let part = part.get(..1 + random.below(part.len())).unwrap_or(part);
            let end = if random.below(2) == 0 { at } else { (at + part.len()).min(input.len()) };
            put_over(input, at, end, part);
        }
        8 => {
            // A part of its own, twice.
            let end = (at + 1 + random.below(16)).min(input.len());
            let part = input.get(at..end).unwrap_or_default().to_vec();
            put_in(input, end, &part);
        }
        _ => tweak_length(input, at, random),
    }
}

fn telling(random: &mut Random) -> u8 {
    TELLING.get(random.below(TELLING.len())).copied().unwrap_or(0)
}

fn change(input: &mut [u8], at: usize, to: impl FnOnce(u8) -> u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = to(*byte);
    }
}

fn put_in(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    put_over(input, at, at, bytes);
}

fn put_over(input: &mut Vec<u8>, from: usize, to: usize, bytes: &[u8]) {
    let to = to.min(input.len());
    input.splice(from.min(to)..to, bytes.iter().copied());
}

/// Writes two bytes that say how much is left, or a little more or less: a length that nearly fits.
fn tweak_length(input: &mut [u8], at: usize, random: &mut Random) {
    let left = input.len().saturating_sub(at + 2);
    let said = match random.below(4) {
        0 => left,
        1 => left + 1,
        2 => left.saturating_sub(1),
        _ => random.below(left + 1),
    };
    let said = u16::try_from(said).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(place) = input.get_mut(at..at + 2) {
        place.copy_from_slice(&said);
    } else if let Some(last) = input.last_mut() {
        *last = said[1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_changes_most_inputs_and_bounds_all() {
        let mut random = Random::new(3);
        let mut changed = 0;
        for round in 0..10_000 {
            let before = vec![random.byte(); round % 50];
            let mut after = before.clone();
            mutate(&mut after, b"another input", &mut random);
            changed += usize::from(after != before);
        }
        assert!(changed > 8000, "{changed}");
        let mut long = vec![b'x'; 3 * BYTES_MAX];
        mutate(&mut long, b"", &mut random);
        assert!(long.len() <= BYTES_MAX);
    }
}
