//! The fields of a message: their lines as they are sent, in one buffer, and where each of them stands in it.
//!
//! A head that goes on with few changes is copied to its reader in few pieces, and what is asked of it costs a look at a bit where the
//! name is not there. `http::HeaderMap` has a counted piece of memory for each value and a hash for each name; what that cost is in
//! `benches/peers/README.md`.

use std::{cell::RefCell, ops::Range};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::name::{Name, Names};

/// The fields of a message; names are in lower case.
///
/// Their room is boxed, since heads are moved about; without any field there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Option<Box<Room>>);

#[derive(Clone, Debug, Default)]
struct Room {
    /// Each field as `name: value` and the end of a line; between them what else came with them, and those that were removed since.
    text: Vec<u8>,
    lines: Vec<Line>,
    /// The known names among them.
    names: Names,
}

/// Where a field stands in the text.
#[derive(Clone, Copy, Debug)]
struct Line {
    name: Option<Name>,
    begin: usize,
    /// Where its value begins.
    value: usize,
    /// Behind the end of its line.
    end: usize,
}

/// What stands between a name and a value, and behind that.
const COLON: &[u8] = b": ";
const END: &[u8] = b"\r\n";

/// A name that is looked for, whether it is a known one or not.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    known: Option<Name>,
    name: HeaderName,
}

/// That of a message without any.
static NONE: Room = Room { text: Vec::new(), lines: Vec::new(), names: Names::NONE };

/// Rooms of one core that are kept, and how large they may be.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 16 * 1024;
const KEPT_LINES: usize = 128;

thread_local! {
    #[allow(clippy::vec_box, reason = "they come and go as boxes")]
    static ROOMS: RefCell<Vec<Box<Room>>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Fields {
    /// Leaves the room for another message.
    fn drop(&mut self) {
        let Some(mut room) = self.0.take() else { return };
        if room.text.capacity() > KEPT_BYTES || room.lines.capacity() > KEPT_LINES {
            return;
        }
        room.text.clear();
        room.lines.clear();
        room.names = Names::NONE;
        // A thread that ends has none any more.
        let _kept = ROOMS.try_with(|rooms| {
            let mut rooms = rooms.borrow_mut();
            if rooms.len() < KEPT {
                rooms.push(room);
            }
        });
    }
}

impl Fields {
    /// No fields, and room for some, of a message that is gone where there is any.
    pub(crate) fn with_room() -> Self {
        Self(Some(ROOMS.with_borrow_mut(Vec::pop).unwrap_or_default()))
    }

    fn room(&self) -> &Room {
        self.0.as_deref().unwrap_or(&NONE)
    }

    fn room_mut(&mut self) -> &mut Room {
        self.0.get_or_insert_default()
    }

    /// The fields that a parser has read in this head. A line that stands there as it is sent is copied with all of the head, and any other
    /// is written anew.
    pub(crate) fn read(head: &[u8], read: &[httparse::Header<'_>]) -> Self {
        let mut fields = Self::with_room();
        let room = fields.room_mut();
        room.text.extend_from_slice(head);
        for httparse::Header { name, value } in read {
            match Line::at(head, name.as_bytes(), value) {
                Some(line) => room.keep(line),
                None => room.push(name.as_bytes(), value),
            }
        }
        fields
    }

    /// Adds a field that a parser has found to be one: `name` is a token in any case, and `value` has no end of a line in it.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.room_mut().push(name, value);
    }

    /// Adds a field behind those of its name.
    pub(crate) fn add(&mut self, name: Name, value: &HeaderValue) {
        let room = self.room_mut();
        let begin = room.text.len();
        room.text.extend_from_slice(name.as_bytes());
        room.add_value(Some(name), begin, value.as_bytes());
    }

    /// Puts a field in the place of all of its name.
    pub(crate) fn set(&mut self, name: Name, value: &HeaderValue) {
        self.remove(name);
        self.add(name, value);
    }

    /// Removes all fields of a name; whether there was one.
    pub(crate) fn remove(&mut self, name: Name) -> bool {
        let was_there = self.has(name);
        if was_there {
            self.remove_all(Names::NONE.and(name));
        }
        was_there
    }

    /// Removes all fields of these names.
    pub(crate) fn remove_all(&mut self, names: Names) {
        let room = self.room_mut();
        room.lines.retain(|line| !line.name.is_some_and(|name| names.has(name)));
        room.names = room.names.without(names);
    }

    /// Removes the fields whose name, known or not, is not to be kept.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Option<Name>, &[u8]) -> bool) {
        let Room { text, lines, names } = self.room_mut();
        *names = Names::NONE;
        lines.retain(|line| {
            let is_kept = keep(line.name, line.name_in(text));
            if let Some(name) = line.name.filter(|_| is_kept) {
                *names = names.and(name);
            }
            is_kept
        });
    }

    /// How many fields there are.
    pub(crate) fn len(&self) -> usize {
        self.room().lines.len()
    }

    /// The known names among them.
    pub(crate) fn names(&self) -> Names {
        self.room().names
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: Name) -> bool {
        self.room().names.has(name)
    }

    /// The first value of a name.
    pub(crate) fn get(&self, name: Name) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// All values of a name, in their order.
    pub(crate) fn all(&self, name: Name) -> impl DoubleEndedIterator<Item = &[u8]> {
        let lines = if self.has(name) { self.room().lines.as_slice() } else { &[] };
        lines.iter().filter(move |line| line.name == Some(name)).map(|line| line.value_in(&self.room().text))
    }

    /// All values of a name that may be any, in their order.
    pub(crate) fn all_of<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a [u8]> {
        let lines = if key.known.is_none_or(|name| self.has(name)) { self.room().lines.as_slice() } else { &[] };
        let is_it = |line: &&Line| {
            line.name == key.known
                && (line.name.is_some() || line.name_in(&self.room().text) == key.name.as_str().as_bytes())
        };
        lines.iter().filter(is_it).map(|line| line.value_in(&self.room().text))
    }

    /// Those of known names, in their order.
    pub(crate) fn known(&self) -> impl Iterator<Item = (Name, &[u8])> {
        self.room().lines.iter().filter_map(|line| Some((line.name?, line.value_in(&self.room().text))))
    }

    /// All of them, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.room().lines.iter().map(|line| (line.name_in(&self.room().text), line.value_in(&self.room().text)))
    }

    /// The names of all of them, in their order.
    pub(crate) fn each_name(&self) -> impl Iterator<Item = (Option<Name>, &[u8])> {
        self.room().lines.iter().map(|line| (line.name, line.name_in(&self.room().text)))
    }

    /// Writes the line of each but those with these names.
    pub(crate) fn write(&self, left_out: Names, out: &mut Vec<u8>) {
        let piece = |begin, end| self.room().text.get(begin..end).unwrap_or_default();
        let (mut begin, mut end) = (0, 0);
        for line in &self.room().lines {
            if line.name.is_some_and(|name| left_out.has(name)) {
                continue;
            }
            // Most lines stand behind the one before them, and go with it.
            if line.begin != end {
                out.extend_from_slice(piece(begin, end));
                begin = line.begin;
            }
            end = line.end;
        }
        out.extend_from_slice(piece(begin, end));
    }
}

impl Room {
    /// Adds the line of a field that stands in the text already.
    fn keep(&mut self, mut line: Line) {
        let name = self.text.get_mut(line.name()).unwrap_or_default();
        make_lowercase(name);
        line.name = Name::of(name);
        self.add_line(line);
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let begin = self.text.len();
        self.text.extend_from_slice(name);
        let name = self.text.get_mut(begin..).unwrap_or_default();
        make_lowercase(name);
        let name = Name::of(name);
        self.add_value(name, begin, value);
    }

    fn add_value(&mut self, name: Option<Name>, begin: usize, value: &[u8]) {
        self.text.extend_from_slice(COLON);
        let at = self.text.len();
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(END);
        self.add_line(Line { name, begin, value: at, end: self.text.len() });
    }

    fn add_line(&mut self, line: Line) {
        self.lines.push(line);
        if let Some(name) = line.name {
            self.names = self.names.and(name);
        }
    }
}

impl Line {
    /// The line of a head in which this name and this value were found, if nothing else is there than what we write ourselves.
    fn at(head: &[u8], name: &[u8], value: &[u8]) -> Option<Self> {
        let offset = |piece: &[u8]| piece.as_ptr().addr().checked_sub(head.as_ptr().addr());
        let (begin, at) = (offset(name)?, offset(value)?);
        let end = at.checked_add(value.len() + END.len())?;
        let line = Self { name: None, begin, value: at, end };
        let is_whole = at == begin + name.len() + COLON.len()
            && head.get(begin + name.len()..at) == Some(COLON)
            && head.get(end - END.len()..end) == Some(END);
        is_whole.then_some(line)
    }

    fn name(self) -> Range<usize> {
        self.begin..self.value.saturating_sub(COLON.len())
    }

    fn name_in(self, text: &[u8]) -> &[u8] {
        text.get(self.name()).unwrap_or_default()
    }

    fn value_in(self, text: &[u8]) -> &[u8] {
        text.get(self.value..self.end.saturating_sub(END.len())).unwrap_or_default()
    }
}

/// Makes a name one in lower case, eight bytes at a time: it is done for every field.
fn make_lowercase(name: &mut [u8]) {
    name.as_chunks_mut().0.iter_mut().for_each(eight_lowercase);
    // What is left is in the last eight, some of which are done already.
    match name.last_chunk_mut() {
        Some(last) => eight_lowercase(last),
        None => name.make_ascii_lowercase(),
    }
}

/// The same, of eight bytes at once. The highest bit of each tells what it is, as long as nothing carries over into the next one.
fn eight_lowercase(bytes: &mut [u8; 8]) {
    const ALL: u64 = u64::MAX / 0xff;
    const HIGHEST: u64 = ALL << 7;
    let word = u64::from_ne_bytes(*bytes);
    let ascii = word & !HIGHEST;
    let (from_a, behind_z) = (ascii + ALL * u64::from(128 - b'A'), ascii + ALL * u64::from(127 - b'Z'));
    let is_upper = from_a & !behind_z & !word & HIGHEST;
    // The bit for lower case is two below that.
    *bytes = (word | is_upper >> 2).to_ne_bytes();
}

impl Key {
    /// This name.
    pub(crate) fn new(name: HeaderName) -> Self {
        Self { known: Name::of(name.as_str().as_bytes()), name }
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let mut fields = Self::with_room();
        map.iter().for_each(|(name, value)| fields.push(name.as_str().as_bytes(), value.as_bytes()));
        fields
    }
}

impl From<&Fields> for HeaderMap {
    /// The same fields. What a parser let through but the map does not, such as a name of more than 64 KiB, is left out.
    fn from(fields: &Fields) -> Self {
        let pair = |(name, value)| Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?));
        let mut map = Self::with_capacity(fields.len());
        for (name, value) in fields.iter().filter_map(pair) {
            map.append(name, value);
        }
        map
    }
}

#[cfg(test)]
impl<'a, const COUNT: usize> From<[(&'a str, &'a str); COUNT]> for Fields {
    fn from(list: [(&'a str, &'a str); COUNT]) -> Self {
        list.as_slice().into()
    }
}

#[cfg(test)]
impl From<&[(&str, &str)]> for Fields {
    fn from(list: &[(&str, &str)]) -> Self {
        let mut fields = Self::default();
        list.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
        fields
    }
}

#[cfg(test)]
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    fn written(fields: &Fields, left_out: Names) -> String {
        let mut out = Vec::new();
        fields.write(left_out, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn some() -> Fields {
        Fields::from([("Host", "ratings"), ("X-A", "1"), ("Via", "1.1 a"), ("x-a", "2"), ("via", "1.1 b"), ("TE", "")])
    }

    #[test]
    fn fields_are_found_by_their_names_in_their_order() {
        let fields = some();
        assert_eq!((fields.len(), fields.get(Name::Host)), (6, Some(&b"ratings"[..])));
        assert!(fields.all(Name::Via).eq([b"1.1 a", b"1.1 b"]));
        assert_eq!((fields.get(Name::Te), fields.get(Name::Cookie)), (Some(&b""[..]), None));
        let all =
            |name| fields.all_of(&Key::new(HeaderName::from_static(name))).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(
            (all("x-a"), all("via").len(), all("x-b").len(), all("cookie").len()),
            (vec![b"1".to_vec(), b"2".to_vec()], 2, 0, 0)
        );
    }

    #[test]
    fn a_line_that_is_read_is_written_as_we_write_it_however_it_came() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-A:1\r\nX-B:  2 \r\nX-C: 3\nX-D:\r\nVia: 1.1 b\r\n\r\nbody";
        let mut room = [httparse::EMPTY_HEADER; 8];
        let mut request = httparse::Request::new(&mut room);
        assert!(request.parse(head).unwrap().is_complete());
        let mut fields = Fields::read(head, request.headers);
        fields.add(Name::Te, &value("x"));
        let all = "host: a\r\nx-a: 1\r\nx-b: 2\r\nx-c: 3\r\nx-d: \r\nvia: 1.1 b\r\nte: x\r\n";
        assert_eq!(written(&fields, Names::NONE), all);
        assert_eq!((fields.get(Name::Via), fields.len()), (Some(&b"1.1 b"[..]), 7));
    }

    #[test]
    fn a_name_of_any_length_and_of_any_bytes_is_made_lower_case() {
        for length in 0..20u8 {
            for byte in 0..=u8::MAX {
                let mut name: Vec<u8> = (0..length).map(|at| byte.wrapping_add(at.wrapping_mul(31))).collect();
                let expected = name.to_ascii_lowercase();
                make_lowercase(&mut name);
                assert_eq!(name, expected);
            }
        }
    }

    #[test]
    fn they_are_written_in_lower_case_and_as_they_stand_but_for_what_is_left_out() {
        let all = "host: ratings\r\nx-a: 1\r\nvia: 1.1 a\r\nx-a: 2\r\nvia: 1.1 b\r\nte: \r\n";
        assert_eq!(written(&some(), Names::NONE), all);
        assert_eq!(written(&some(), Names::NONE.and(Name::Via).and(Name::Te)), "host: ratings\r\nx-a: 1\r\nx-a: 2\r\n");
        assert_eq!(written(&Fields::default(), Names::NONE), "");
    }

    #[test]
    fn what_is_set_is_there_once_and_what_is_removed_is_gone() {
        let mut fields = some();
        fields.set(Name::Via, &value("1.1 c"));
        fields.add(Name::Host, &value("reviews"));
        assert!(fields.remove(Name::Te) && !fields.remove(Name::Te) && !fields.has(Name::Te));
        let left = "host: ratings\r\nx-a: 1\r\nx-a: 2\r\nvia: 1.1 c\r\nhost: reviews\r\n";
        assert_eq!(written(&fields, Names::NONE), left);
        fields.add(Name::Te, &value("x"));
        fields.remove_all(Names::NONE.and(Name::Te).and(Name::Cookie));
        assert_eq!((written(&fields, Names::NONE), fields.has(Name::Te)), (left.to_owned(), false));
        fields.retain(|name, text| name != Some(Name::Host) && text != b"x-a");
        assert_eq!(
            (written(&fields, Names::NONE), fields.names()),
            ("via: 1.1 c\r\n".to_owned(), Names::NONE.and(Name::Via))
        );
    }

    #[test]
    fn a_map_has_the_same_fields_and_gives_them_back() {
        let map = HeaderMap::from(&some());
        assert_eq!((map.len(), map.get_all("x-a").iter().count()), (6, 2));
        assert_eq!(HeaderMap::from(&Fields::from(&map)), map);
    }

    #[test]
    fn room_is_left_for_the_next_message_without_anything_in_it() {
        drop(some());
        let again = Fields::with_room();
        assert!(again.room().text.capacity() > 0 && again.len() == 0 && again.names() == Names::NONE);
        let mut large = Fields::default();
        large.push(b"x-a", &vec![b'a'; KEPT_BYTES]);
        drop(large);
        assert_eq!(Fields::with_room().room().text.capacity(), 0);
    }
}
