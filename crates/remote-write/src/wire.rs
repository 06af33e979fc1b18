//! Protocol Buffers on slices: a tolerant reader whose errors carry offsets, and writers into a `Vec<u8>`.
//! It knows no message: the modules that use it know the field numbers.

/// The bytes are not a message of the expected schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf at byte {offset}: {what}")]
pub struct Malformed {
    /// Where, in bytes from the start of the message.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// How a field's value is written (Protocol Buffers encoding, "message structure").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    /// 0: int32, int64, uint32, uint64, sint32, sint64, bool, enum.
    Varint,
    /// 1: fixed64, sfixed64, double.
    Fixed64,
    /// 2: strings, bytes, messages, packed scalars.
    Len,
    /// 3: the start of a group; skipped whole.
    StartGroup,
    /// 4: the end of a group.
    EndGroup,
    /// 5: fixed32, sfixed32, float.
    Fixed32,
}

/// A field number with its wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 1 to 2²⁹ − 1.
    pub field: u32,
    /// How the value after it is written.
    pub wire: WireType,
}

/// Groups nested deeper than this are malformed, as in every protobuf library.
const MAX_GROUP_DEPTH: usize = 100;

const MAX_FIELD: u64 = (1 << 29) - 1;

/// Reads one message from the front; a reader of a sub-message reports offsets in the outermost message.
///
/// It is tolerant where protobuf is: varints may be longer than needed, fields may come in any order.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The outermost message, cut at the end of this one.
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Reads `message` from its first byte.
    pub const fn new(message: &'a [u8]) -> Self {
        Self { bytes: message, position: 0 }
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.position >= self.bytes.len()
    }

    /// Where the next byte is, in bytes from the start of the outermost message.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// The bytes between an earlier [`Self::position`] and this one: a field with its tag, for copying it whole.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.position).unwrap_or_default()
    }

    /// An error at the next byte.
    pub const fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { offset: self.position, what }
    }

    /// A varint of up to ten bytes, minimal or not.
    ///
    /// # Errors
    /// When it is cut short or does not fit in 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.get(self.position) {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (index, &byte) in self.rest().iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.position += index + 1;
                return Ok(value);
            }
        }
        let what = if self.rest().len() < 10 { "varint is cut short" } else { "varint is longer than 64 bits" };
        Err(self.malformed(what))
    }

    /// A varint in its only canonical form, or `None` (and nothing read) when it is anything else.
    #[inline]
    pub fn minimal_varint(&mut self) -> Option<u64> {
        let before = self.position;
        let value = self.varint().ok()?;
        if self.position - before == varint_len(value) {
            return Some(value);
        }
        self.position = before;
        None
    }

    /// The next field's number and wire type.
    ///
    /// # Errors
    /// When the number is 0 or too large, or the wire type is 6 or 7.
    #[inline]
    pub fn tag(&mut self) -> Result<Tag, Malformed> {
        let before = *self;
        let key = self.varint()?;
        let wire = match key & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Len,
            3 => WireType::StartGroup,
            4 => WireType::EndGroup,
            5 => WireType::Fixed32,
            _ => return Err(before.malformed("unknown wire type")),
        };
        match u32::try_from(key >> 3) {
            Ok(field) if field != 0 && key >> 3 <= MAX_FIELD => Ok(Tag { field, wire }),
            _ => Err(before.malformed("field number out of range")),
        }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// When there are fewer.
    #[inline]
    pub fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest().get(..length));
        let Some(taken) = taken else {
            return Err(self.malformed("field is cut short"));
        };
        self.position += taken.len();
        Ok(taken)
    }

    /// A length-delimited value: a string, bytes, packed scalars.
    ///
    /// # Errors
    /// When its length or content is cut short.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.varint()?;
        self.take(length)
    }

    /// A length-delimited value, to be read as a message.
    ///
    /// # Errors
    /// When its length or content is cut short.
    #[inline]
    pub fn message(&mut self) -> Result<Self, Malformed> {
        let length = self.varint()?;
        let start = self.position;
        self.take(length)?;
        Ok(Self { bytes: self.bytes.get(..self.position).unwrap_or_default(), position: start })
    }

    /// A fixed64 value: the bits of a double.
    ///
    /// # Errors
    /// When it is cut short.
    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, Malformed> {
        match self.rest().first_chunk::<8>() {
            Some(bytes) => {
                self.position += 8;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(self.malformed("field is cut short")),
        }
    }

    /// A double, its NaN payload untouched.
    ///
    /// # Errors
    /// When it is cut short.
    #[inline]
    pub fn double(&mut self) -> Result<f64, Malformed> {
        self.fixed64().map(f64::from_bits)
    }

    /// Passes over the value that follows `tag`; a group is passed over whole, with what it nests.
    ///
    /// # Errors
    /// When the value is cut short, a group's end is missing or does not match, or groups nest too deep.
    pub fn skip(&mut self, tag: Tag) -> Result<(), Malformed> {
        let mut open = Vec::new();
        let mut tag = tag;
        loop {
            match tag.wire {
                WireType::Varint => drop(self.varint()?),
                WireType::Fixed64 => drop(self.take(8)?),
                WireType::Len => drop(self.bytes()?),
                WireType::Fixed32 => drop(self.take(4)?),
                WireType::StartGroup if open.len() == MAX_GROUP_DEPTH => {
                    return Err(self.malformed("groups nest too deep"));
                }
                WireType::StartGroup => open.push(tag.field),
                WireType::EndGroup if open.pop() == Some(tag.field) => {}
                WireType::EndGroup => return Err(self.malformed("end of a group that is not open")),
            }
            if open.is_empty() {
                return Ok(());
            }
            tag = self.tag()?;
        }
    }
}

/// How many bytes [`put_varint`] writes: 1 to 10.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    // Each byte carries seven bits; (bits * 9 + 64) / 64 is ceil(bits / 7) for 1 to 64 bits.
    let bits = (u64::BITS - (value | 1).leading_zeros()) as usize;
    (bits * 9 + 64) / 64
}

/// The unsigned form of a sint32 or sint64.
#[inline]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The sint64 whose unsigned form this is; a sint32 is its low 32 bits.
#[inline]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Appends a minimal varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a field's number and wire type.
#[inline]
pub fn put_tag(out: &mut Vec<u8>, field: u32, wire: WireType) {
    put_varint(out, u64::from(field) << 3 | wire as u64);
}

/// Appends a whole field whose value is a varint. A negative int32, int64 or enum is sign-extended by the caller.
#[inline]
pub fn put_varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    put_tag(out, field, WireType::Varint);
    put_varint(out, value);
}

/// Appends a whole fixed64 field: the bits of a double.
#[inline]
pub fn put_fixed64(out: &mut Vec<u8>, field: u32, bits: u64) {
    put_tag(out, field, WireType::Fixed64);
    out.extend_from_slice(&bits.to_le_bytes());
}

/// Appends a whole length-delimited field.
#[inline]
pub fn put_len_delimited(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    put_tag(out, field, WireType::Len);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Starts a length-delimited field whose content is appended next; give what it returns to [`end_message`].
#[inline]
pub fn begin_message(out: &mut Vec<u8>, field: u32) -> usize {
    put_tag(out, field, WireType::Len);
    out.push(0);
    out.len()
}

/// Puts the length in front of the content that starts at `start`.
///
/// A content of 128 bytes or more is moved once by one to nine bytes.
#[inline]
pub fn end_message(out: &mut Vec<u8>, start: usize) {
    let end = out.len();
    let length = end.saturating_sub(start);
    let width = varint_len(length as u64);
    if width > 1 {
        out.resize(end + width - 1, 0);
        out.copy_within(start..end, start + width - 1);
    }
    let mut rest = length;
    for (index, byte) in out.iter_mut().skip(start.saturating_sub(1)).take(width).enumerate() {
        let more = if index + 1 < width { 0x80 } else { 0 };
        *byte = (rest & 0x7f).to_le_bytes()[0] | more;
        rest >>= 7;
    }
}

/// Appends a length-delimited field whose content `write` appends.
#[inline]
pub fn put_message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = begin_message(out, field);
    write(out);
    end_message(out, start);
}

#[cfg(test)]
mod tests {
    use super::{
        Malformed, Reader, Tag, WireType, begin_message, end_message, put_fixed64, put_len_delimited, put_message,
        put_tag, put_varint, put_varint_field, unzigzag, varint_len, zigzag,
    };
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn varint_lengths_change_at_every_seventh_bit() {
        for bits in 0..64 {
            let value = 1_u64 << bits;
            assert_eq!(varint_len(value), bits / 7 + 1, "{value}");
            assert_eq!(varint_len(value - 1), bits.saturating_sub(1) / 7 + 1, "{}", value - 1);
        }
        assert_eq!(varint_len(u64::MAX), 10);
    }

    #[test]
    fn a_varint_longer_than_needed_is_read_but_is_not_minimal() {
        let padded = [0x81, 0x80, 0x00];
        assert_eq!(Reader::new(&padded).varint(), Ok(1));
        let mut reader = Reader::new(&padded);
        assert_eq!(reader.minimal_varint(), None);
        assert_eq!(reader.position(), 0);
        assert_eq!(Reader::new(&[0xac, 0x02]).minimal_varint(), Some(300));
    }

    #[test]
    fn a_varint_that_ends_too_early_or_too_late_is_malformed() {
        let short = Malformed { offset: 0, what: "varint is cut short" };
        assert_eq!(Reader::new(&[]).varint(), Err(short));
        assert_eq!(Reader::new(&[0x80]).varint(), Err(short));
        let long = Malformed { offset: 0, what: "varint is longer than 64 bits" };
        assert_eq!(Reader::new(&[0xff; 11]).varint(), Err(long));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint(), Err(long));
    }

    #[test]
    fn field_numbers_and_wire_types_outside_the_format_are_malformed() {
        for bytes in [&[0x00][..], &[0x07], &[0x0e], &[0xf8, 0xff, 0xff, 0xff, 0x7f]] {
            assert!(Reader::new(bytes).tag().is_err(), "{bytes:?}");
        }
        let mut largest = Vec::new();
        put_tag(&mut largest, (1 << 29) - 1, WireType::Fixed32);
        let tag = Tag { field: (1 << 29) - 1, wire: WireType::Fixed32 };
        assert_eq!(Reader::new(&largest).tag(), Ok(tag));
    }

    #[test]
    fn offsets_count_from_the_start_of_the_outermost_message() {
        let bytes = [0x0a, 0x03, 0x12, 0x05, 0x61];
        let mut outer = Reader::new(&bytes);
        outer.tag().expect("a tag");
        let mut inner = outer.message().expect("a message");
        inner.tag().expect("a tag");
        assert_eq!(inner.bytes(), Err(Malformed { offset: 4, what: "field is cut short" }));
        assert!(outer.is_empty());
    }

    #[test]
    fn a_group_is_skipped_with_all_that_it_nests() {
        // Group 1 holds a varint, a string, group 2 with a fixed32, and a fixed64.
        let mut bytes = vec![0x0b, 0x08, 0x01, 0x12, 0x01, b'x', 0x13, 0x1d, 1, 2, 3, 4, 0x14];
        put_fixed64(&mut bytes, 4, 7);
        bytes.push(0x0c);
        let mut reader = Reader::new(&bytes);
        let tag = reader.tag().expect("a tag");
        assert_eq!(reader.skip(tag), Ok(()));
        assert!(reader.is_empty());
    }

    #[test]
    fn groups_without_an_end_with_a_wrong_end_or_too_deep_are_malformed() {
        for bytes in [vec![0x0b], vec![0x0b, 0x14], vec![0x0c], vec![0x0b; 1000]] {
            let mut reader = Reader::new(&bytes);
            let tag = reader.tag().expect("a tag");
            assert!(reader.skip(tag).is_err(), "{:?}", bytes.get(..2));
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_malformed_even_when_it_overflows() {
        for length in [1, 1 << 20, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, length);
            assert!(Reader::new(&bytes).bytes().is_err());
            assert!(Reader::new(&bytes).message().is_err());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any::<u64>(), signed in any::<i64>(), length in 0_usize..40_000) {
            let content = vec![7; length];
            let mut out = Vec::new();
            put_varint_field(&mut out, 3, value);
            put_fixed64(&mut out, 4, value);
            put_len_delimited(&mut out, 5, &content);
            put_message(&mut out, 6, |out| out.extend_from_slice(&content));
            let start = begin_message(&mut out, 7);
            put_varint(&mut out, zigzag(signed));
            end_message(&mut out, start);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.tag(), Ok(Tag { field: 3, wire: WireType::Varint }));
            prop_assert_eq!(reader.minimal_varint(), Some(value));
            prop_assert_eq!(reader.tag(), Ok(Tag { field: 4, wire: WireType::Fixed64 }));
            prop_assert_eq!(reader.double().map(f64::to_bits), Ok(value));
            for field in [5, 6] {
                prop_assert_eq!(reader.tag(), Ok(Tag { field, wire: WireType::Len }));
                prop_assert_eq!(reader.bytes(), Ok(&content[..]));
            }
            let start = reader.position();
            reader.tag()?;
            let mut message = reader.message()?;
            prop_assert_eq!(unzigzag(message.varint()?), signed);
            prop_assert!(message.is_empty() && reader.is_empty());
            prop_assert_eq!(reader.since(start).len(), 2 + varint_len(zigzag(signed)));
        }

        #[test]
        fn skipping_through_arbitrary_bytes_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                let before = reader.position();
                let Ok(tag) = reader.tag() else { break };
                if reader.skip(tag).is_err() {
                    break;
                }
                prop_assert!(reader.position() > before);
            }
        }
    }
}
