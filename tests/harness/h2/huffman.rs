//! The Huffman code of HPACK (RFC 7541 appendix B). It is canonical: the lengths alone determine the codes.

use std::sync::OnceLock;

/// The end of a string; never a part of one.
const EOS: usize = 256;

/// The length of each symbol's code in bits.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The symbols in the order of their codes, and for each length its first code and where its symbols begin.
#[derive(Debug)]
struct Code {
    symbols: Vec<usize>,
    first: [(u32, usize); 32],
}

fn code() -> &'static Code {
    static CODE: OnceLock<Code> = OnceLock::new();
    CODE.get_or_init(|| {
        let mut symbols = (0..LENGTHS.len()).collect::<Vec<_>>();
        symbols.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
        let mut first = [(0, 0); 32];
        let (mut next, mut at) = (0_u32, 0);
        for (length, entry) in first.iter_mut().enumerate().skip(1) {
            next <<= 1;
            *entry = (next, at);
            let count = LENGTHS.iter().filter(|bits| usize::from(**bits) == length).count();
            next += u32::try_from(count).unwrap();
            at += count;
        }
        Code { symbols, first }
    })
}

/// The string that `bytes` encode; refuses what RFC 7541 section 5.2 says must be an error.
pub fn decode(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let code = code();
    let mut text = Vec::new();
    let (mut value, mut length) = (0_u32, 0_usize);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| u32::from(byte >> shift & 1))) {
        value = value << 1 | bit;
        length += 1;
        let (first, at) = code.first[length];
        let count = code.first.get(length + 1).map_or(code.symbols.len(), |(_, next)| *next) - at;
        if let Some(nth) = value.checked_sub(first).and_then(|nth| usize::try_from(nth).ok()).filter(|nth| *nth < count)
        {
            match code.symbols[at + nth] {
                EOS => return Err("EOS in a Huffman string".to_owned()),
                symbol => text.push(u8::try_from(symbol).unwrap()),
            }
            (value, length) = (0, 0);
        }
    }
    if length > 7 || value + 1 != 1 << length {
        return Err(format!("{length} bits of padding with the value {value:b}"));
    }
    Ok(text)
}
