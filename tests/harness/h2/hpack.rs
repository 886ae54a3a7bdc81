//! HPACK (RFC 7541): literals that say exactly what they are told to, every other representation by hand, and a strict
//! decoder.

use std::collections::VecDeque;

use super::{
    fields::{Field, latin1_bytes},
    huffman,
};
use crate::harness::wire::latin1;

/// The size of the dynamic table unless a setting says otherwise.
const TABLE_SIZE: usize = 4_096;
/// What an entry takes beside its name and value (RFC 7541 section 4.1).
const ENTRY_OVERHEAD: usize = 32;

/// The static table (RFC 7541 appendix A); its first entry has the index 1.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// A field block of literals without indexing and without Huffman, in order.
pub fn block(fields: &[Field]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// A literal without indexing, with a new name.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    [vec![0], string(name), string(value)].concat()
}

/// A literal that goes into the dynamic table, with a new name.
pub fn indexed_literal(name: &str, value: &str) -> Vec<u8> {
    [vec![0x40], string(name), string(value)].concat()
}

/// The entry at `index` of both tables.
pub fn indexed(index: usize) -> Vec<u8> {
    integer(0x80, 7, index)
}

/// A change of the dynamic table's size.
pub fn table_size(size: usize) -> Vec<u8> {
    integer(0x20, 5, size)
}

fn string(text: &str) -> Vec<u8> {
    let bytes = latin1_bytes(text);
    [integer(0, 7, bytes.len()), bytes].concat()
}

/// An integer with a prefix of `bits` behind the pattern in `first` (RFC 7541 section 5.1).
pub fn integer(first: u8, bits: u8, mut value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![first | u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![first | u8::try_from(most).unwrap()];
    value -= most;
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// Reads field blocks; what one block puts into the table the next one may refer to.
#[derive(Debug)]
pub struct Decoder {
    entries: VecDeque<Field>,
    size: usize,
    capacity: usize,
    limit: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, capacity: TABLE_SIZE, limit: TABLE_SIZE }
    }
}

impl Decoder {
    /// A decoder that allows a table of `limit` bytes: a smaller one must be announced before the first field.
    pub fn with_table_of(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The fields of `block`.
    pub fn decode(&mut self, block: &[u8]) -> Result<Vec<Field>, String> {
        let mut cursor = Cursor(block);
        let mut fields = Vec::new();
        while let Some(first) = cursor.0.first().copied() {
            if first & 0xe0 != 0x20 && self.capacity > self.limit {
                return Err(format!("a table of {} bytes where {} are allowed", self.capacity, self.limit));
            }
            if first & 0x80 != 0 {
                let index = cursor.integer(7)?;
                fields.push(self.entry(index)?);
            } else if first & 0x40 != 0 {
                let field = self.literal(&mut cursor, 6)?;
                self.insert(field.clone());
                fields.push(field);
            } else if first & 0x20 != 0 {
                let capacity = cursor.integer(5)?;
                if !fields.is_empty() || capacity > self.limit {
                    return Err(format!("a table size of {capacity} behind {} fields", fields.len()));
                }
                self.capacity = capacity;
                self.evict();
            } else {
                fields.push(self.literal(&mut cursor, 4)?);
            }
        }
        Ok(fields)
    }

    fn literal(&self, cursor: &mut Cursor<'_>, bits: u8) -> Result<Field, String> {
        let name = match cursor.integer(bits)? {
            0 => cursor.string()?,
            index => self.entry(index)?.0,
        };
        Ok((name, cursor.string()?))
    }

    fn entry(&self, index: usize) -> Result<Field, String> {
        let at = index.checked_sub(1).ok_or("index 0")?;
        if let Some((name, value)) = STATIC.get(at) {
            return Ok(((*name).to_owned(), (*value).to_owned()));
        }
        self.entries.get(at - STATIC.len()).cloned().ok_or(format!("no entry at index {index}"))
    }

    fn insert(&mut self, field: Field) {
        self.size += cost(&field);
        self.entries.push_front(field);
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.capacity {
            let field = self.entries.pop_back().expect("a table without entries has the size 0");
            self.size -= cost(&field);
        }
    }
}

fn cost((name, value): &Field) -> usize {
    latin1_bytes(name).len() + latin1_bytes(value).len() + ENTRY_OVERHEAD
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.0.split_first().ok_or("the block ends within a field")?;
        self.0 = rest;
        Ok(*first)
    }

    fn integer(&mut self, bits: u8) -> Result<usize, String> {
        let most = (1_usize << bits) - 1;
        let mut value = usize::from(self.byte()?) & most;
        if value < most {
            return Ok(value);
        }
        for shift in (0..28).step_by(7) {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("an integer of more than four bytes".to_owned())
    }

    fn string(&mut self) -> Result<String, String> {
        let is_huffman = self.0.first().is_some_and(|byte| byte & 0x80 != 0);
        let length = self.integer(7)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or("the block ends within a string")?;
        self.0 = rest;
        Ok(latin1(&if is_huffman { huffman::decode(bytes)? } else { bytes.to_vec() }))
    }
}
