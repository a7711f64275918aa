//! The note of an image: ABI version, groups, handles and features that the guest needs (layout: `strato_abi::note`).
//! Called by `image::read`; `fit` compares it with a system.

use strato_abi::Kind;
use strato_abi::note::{GroupNeed, HandleNeed, Header, NOTE_TYPE, OWNER};
use zerocopy::FromBytes;

/// What an image says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// ABI version, `major << 16 | minor`.
    pub abi_version: u32,
    /// `strato_abi::note::FLAG_*`.
    pub flags: u32,
    /// Groups of calls: number, major, least minor.
    pub groups: Vec<(u16, u16, u16)>,
    /// Handles by kind and name.
    pub handles: Vec<(Kind, String)>,
}

impl Note {
    /// Returns the Strato note among the notes of a segment, or `None` when it has none.
    ///
    /// # Errors
    /// What is wrong with the note, to follow "the image".
    pub fn find(segment: &[u8]) -> Result<Option<Self>, String> {
        let mut rest = segment;
        while let Some((header, body)) = rest.split_at_checked(12) {
            let [name_len, desc_len, kind] = words(header);
            let damaged = || "has a damaged note".to_string();
            let (name, body) = take(body, name_len).ok_or_else(damaged)?;
            let (desc, body) = take(body, desc_len).ok_or_else(damaged)?;
            if name.strip_suffix(&[0]) == Some(OWNER.as_bytes()) && kind == NOTE_TYPE {
                return Self::parse(desc).map(Some);
            }
            rest = body;
        }
        Ok(None)
    }

    fn parse(desc: &[u8]) -> Result<Self, String> {
        let short = || "has a Strato note that is cut short".to_string();
        let (header, mut rest) = Header::read_from_prefix(desc).map_err(|_| short())?;
        let mut note =
            Self { abi_version: header.abi_version, flags: header.flags, groups: Vec::new(), handles: Vec::new() };
        for _ in 0..header.groups {
            let (need, tail) = GroupNeed::read_from_prefix(rest).map_err(|_| short())?;
            note.groups.push((need.group, need.major, need.minor));
            rest = tail;
        }
        for _ in 0..header.handles {
            let (need, tail) = HandleNeed::read_from_prefix(rest).map_err(|_| short())?;
            let kind = Kind::from_u16(need.kind).ok_or(format!("needs a handle of the unknown kind {}", need.kind))?;
            let name = need.name.split(|byte| *byte == 0).next().unwrap_or(&[]);
            note.handles.push((kind, String::from_utf8_lossy(name).into_owned()));
            rest = tail;
        }
        Ok(note)
    }
}

fn words(header: &[u8]) -> [u32; 3] {
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(header.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

// Name and descriptor are padded to four bytes; the last padding may be missing.
fn take(bytes: &[u8], len: u32) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(len).ok()?;
    let (part, _) = bytes.split_at_checked(len)?;
    let padded = len.checked_next_multiple_of(4)?.min(bytes.len());
    Some((part, bytes.get(padded..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(owner: &[u8], desc: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [owner.len(), desc.len(), 1] {
            bytes.extend(u32::try_from(word).unwrap().to_le_bytes());
        }
        for part in [owner, desc] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn a_note_of_another_owner_is_passed_over() {
        let mut bytes = note(b"GNU\0", &[1, 2, 3]);
        assert_eq!(Note::find(&bytes), Ok(None));
        let mut desc = [0; 24];
        desc[2] = 1;
        bytes.extend(note(b"Strato\0", &desc));
        assert_eq!(Note::find(&bytes).unwrap().unwrap().abi_version, 1 << 16);
    }

    #[test]
    fn a_note_that_claims_more_than_it_has_is_refused() {
        let mut desc = [0; 24];
        desc[8] = 1;
        assert_eq!(Note::find(&note(b"Strato\0", &desc)), Err("has a Strato note that is cut short".into()));
        let mut bytes = note(b"Strato\0", &desc);
        bytes[4] = 200;
        assert_eq!(Note::find(&bytes), Err("has a damaged note".into()));
    }
}
