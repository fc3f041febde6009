//! Numbers and bytes of the index's body: LEB128 varints, zigzag for signed ones. It knows no field's meaning.

use schemas::Digest;

use crate::error::FormatError;

pub(crate) const DIGEST_BYTES: usize = 32;
const WHAT: &str = "the index";

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Reads from the front of a slice; whatever is not there or too long is an error.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        if count > self.bytes.len() {
            return Err(FormatError::damaged(WHAT, "it ends too early"));
        }
        let (head, tail) = self.bytes.split_at(count);
        self.bytes = tail;
        Ok(head)
    }

    pub fn varint(&mut self) -> Result<u64, FormatError> {
        if let Some((&first, rest)) = self.bytes.split_first()
            && first < 0x80
        {
            self.bytes = rest;
            return Ok(first.into());
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // A number has one form, so that an index has one form.
                return if byte == 0 {
                    Err(FormatError::damaged(WHAT, "a number has a needless byte"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(FormatError::damaged(WHAT, "a number is longer than 64 bits"))
    }

    pub fn signed(&mut self) -> Result<i64, FormatError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, FormatError> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| FormatError::damaged(WHAT, format!("{what} {value} is too large")))
    }

    /// A number of things that each take at least `bytes_min` of what is left: nothing is allocated on a promise.
    pub fn count(&mut self, what: &'static str, bytes_min: usize, max: usize) -> Result<usize, FormatError> {
        let value = self.varint()?;
        let room = (self.left() / bytes_min.max(1)).min(max);
        match usize::try_from(value) {
            Ok(count) if count <= room => Ok(count),
            _ => Err(FormatError::damaged(WHAT, format!("it announces {value} {what}, more than it can hold"))),
        }
    }

    pub fn digests(&mut self, count: usize) -> Result<impl Iterator<Item = Digest> + use<'a>, FormatError> {
        let bytes = count.checked_mul(DIGEST_BYTES).ok_or_else(|| FormatError::damaged(WHAT, "it ends too early"))?;
        let (digests, _) = self.take(bytes)?.as_chunks::<DIGEST_BYTES>();
        Ok(digests.iter().map(|digest| Digest(*digest)))
    }

    pub fn end(&self) -> Result<(), FormatError> {
        match self.left() {
            0 => Ok(()),
            left => Err(FormatError::damaged(WHAT, format!("{left} bytes follow its end"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_have_one_form() {
        let mut out = Vec::new();
        let values = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        values.iter().for_each(|&value| put_varint(&mut out, value));
        let signed = [0, -1, 1, i64::MIN, i64::MAX];
        signed.iter().for_each(|&value| put_signed(&mut out, value));
        let mut reader = Reader::new(&out);
        assert!(values.iter().all(|&value| reader.varint() == Ok(value)));
        assert!(signed.iter().all(|&value| reader.signed() == Ok(value)));
        assert_eq!(reader.end(), Ok(()));
        for bad in
            [&[0x80u8, 0x00][..], &[0x80], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]]
        {
            assert!(Reader::new(bad).varint().is_err(), "{bad:?}");
        }
    }
}
