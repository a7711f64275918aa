//! What an image needs, as the ELF note `.note.strato` says it; the host tool checks it before the VM starts.

use strato_abi::Group;
use strato_abi::handle::Kind;
use strato_abi::info_page::NAME_LEN;
use strato_abi::note::{FLAG_FAULT_HANDLER, FLAG_FP, FLAG_NATIVE, GroupNeed, HandleNeed, Header, NOTE_TYPE, OWNER};
use strato_abi::version::ABI_VERSION;

/// Most handles that a note can ask for.
const HANDLES: usize = 16;
/// ELF: three words, then the owner's name with its zero, padded to a multiple of four.
const NAME_AT: usize = 12;
const DESCRIPTOR_AT: usize = NAME_AT + (OWNER.len() + 1).next_multiple_of(4);

/// What an image needs: every group of calls at the version it was built for, and what is added here.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    handles: [Option<(Kind, &'static str)>; HANDLES],
    count: usize,
    flags: u32,
    stack: usize,
    stack_room: usize,
}

/// The note's bytes as they stand in the section.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4))]
pub struct Note<const LEN: usize>(pub [u8; LEN]);

#[allow(clippy::new_without_default, reason = "a const builder")]
#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error")]
#[allow(clippy::cast_possible_truncation, reason = "runs in the compiler, on numbers far below the limits")]
impl Needs {
    /// Returns the needs of a guest that asks for nothing: no handle, no fault handler, no FP, 16 KiB of stack.
    #[must_use]
    pub const fn new() -> Self {
        Self { handles: [None; HANDLES], count: 0, flags: 0, stack: 16 * 1024, stack_room: 0 }
    }

    /// Returns the needs with a port of this name.
    #[must_use]
    pub const fn port(self, name: &'static str) -> Self {
        self.handle(Kind::Port, name)
    }

    /// Returns the needs with a Mem object of this name.
    #[must_use]
    pub const fn mem(self, name: &'static str) -> Self {
        self.handle(Kind::Mem, name)
    }

    /// Returns the needs with a peer of this name.
    #[must_use]
    pub const fn peer(self, name: &'static str) -> Self {
        self.handle(Kind::Peer, name)
    }

    /// Returns the needs with registers of a device of this name.
    #[must_use]
    pub const fn device(self, name: &'static str) -> Self {
        self.handle(Kind::Device, name)
    }

    /// Returns the needs with a device interrupt of this name.
    #[must_use]
    pub const fn irq(self, name: &'static str) -> Self {
        self.handle(Kind::Irq, name)
    }

    /// Returns the needs with a handle of this kind and name.
    ///
    /// # Panics
    /// In the compiler: a name longer than 39 bytes, or more than 16 handles.
    #[must_use]
    pub const fn handle(mut self, kind: Kind, name: &'static str) -> Self {
        assert!(name.len() < NAME_LEN, "a handle's name has at most 39 bytes");
        assert!(self.count < HANDLES, "a note asks for at most 16 handles");
        self.handles[self.count] = Some((kind, name));
        self.count += 1;
        self
    }

    /// Returns the needs of a guest that handles faults: refused accesses are delivered to it instead of ending the VM.
    #[must_use]
    pub const fn fault_handler(mut self) -> Self {
        self.flags |= FLAG_FAULT_HANDLER;
        self
    }

    /// Returns the needs of a guest that uses FP and SIMD.
    #[must_use]
    pub const fn fp(mut self) -> Self {
        self.flags |= FLAG_FP;
        self
    }

    /// Returns the needs of a guest that can run with `mmu = "native"`; see [`native`](crate::native).
    #[must_use]
    pub const fn native(mut self) -> Self {
        self.flags |= FLAG_NATIVE;
        self
    }

    /// Returns what turns the MMU on, for a guest that declares it; `entry!` keeps it for `start.S`.
    ///
    /// # Panics
    /// In the compiler: a guest that uses FP, whose registers a process would change.
    #[cfg(target_os = "none")]
    #[doc(hidden)]
    #[must_use]
    pub const fn mmu(&self) -> Option<crate::MmuStart> {
        assert!(self.flags & (FLAG_NATIVE | FLAG_FP) != FLAG_NATIVE | FLAG_FP, "a native guest uses no FP yet");
        if self.flags & FLAG_NATIVE != 0 { Some(crate::arch::turn_on) } else { None }
    }

    /// Returns the needs with a stack of `bytes` for the first vCPU.
    ///
    /// # Panics
    /// In the compiler: not a multiple of the page size, or zero.
    #[must_use]
    pub const fn stack(mut self, bytes: usize) -> Self {
        assert!(bytes > 0 && bytes.is_multiple_of(4096), "a stack is a whole number of pages");
        self.stack = bytes;
        self
    }

    /// Returns the needs with room for the first vCPU's stack to grow by `bytes`: addresses between the stack and its guard page, with
    /// RAM of the VM for them, that nothing maps. A fault handler maps what is touched of them, by
    /// [`memory::map_ram`](crate::memory::map_ram).
    ///
    /// # Panics
    /// In the compiler: not a multiple of the page size.
    #[must_use]
    pub const fn stack_room(mut self, bytes: usize) -> Self {
        assert!(bytes.is_multiple_of(4096), "the room of a stack is a whole number of pages");
        self.stack_room = bytes;
        self
    }

    /// Returns the bytes into which the first vCPU's stack may grow.
    #[must_use]
    pub const fn stack_room_size(&self) -> usize {
        self.stack_room
    }

    /// Returns the bytes of the first vCPU's stack.
    #[must_use]
    pub const fn stack_size(&self) -> usize {
        self.stack
    }

    /// Returns the bytes of the note.
    #[must_use]
    pub const fn note_len(&self) -> usize {
        DESCRIPTOR_AT + self.descriptor_len()
    }

    const fn descriptor_len(&self) -> usize {
        size_of::<Header>() + Group::ALL.len() * size_of::<GroupNeed>() + self.count * size_of::<HandleNeed>()
    }

    /// Returns the note; `LEN` is [`note_len`](Self::note_len).
    #[must_use]
    pub const fn note<const LEN: usize>(&self) -> Note<LEN> {
        assert!(LEN == self.note_len());
        let mut note = Bytes { bytes: [0; LEN], at: 0 };
        note.put(&(OWNER.len() as u32 + 1).to_le_bytes());
        note.put(&(self.descriptor_len() as u32).to_le_bytes());
        note.put(&NOTE_TYPE.to_le_bytes());
        note.put(OWNER.as_bytes());
        note.at = DESCRIPTOR_AT;
        note.put(&ABI_VERSION.to_le_bytes());
        note.put(&self.flags.to_le_bytes());
        note.put(&(Group::ALL.len() as u16).to_le_bytes());
        note.put(&(self.count as u16).to_le_bytes());
        note.put(&[0; 4]);
        note.put(&(self.stack as u64).to_le_bytes());
        let mut n = 0;
        while n < Group::ALL.len() {
            let (major, minor) = Group::ALL[n].version();
            note.put(&(Group::ALL[n] as u16).to_le_bytes());
            note.put(&major.to_le_bytes());
            note.put(&minor.to_le_bytes());
            note.put(&[0; 2]);
            n += 1;
        }
        let mut n = 0;
        while n < self.count {
            if let Some((kind, name)) = self.handles[n] {
                let start = note.at;
                note.put(&(kind as u16).to_le_bytes());
                note.put(&[0; 6]);
                note.put(name.as_bytes());
                note.at = start + size_of::<HandleNeed>();
            }
            n += 1;
        }
        Note(note.bytes)
    }
}

struct Bytes<const LEN: usize> {
    bytes: [u8; LEN],
    at: usize,
}

impl<const LEN: usize> Bytes<LEN> {
    #[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error")]
    const fn put(&mut self, bytes: &[u8]) {
        let mut n = 0;
        while n < bytes.len() {
            self.bytes[self.at] = bytes[n];
            self.at += 1;
            n += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use zerocopy::FromBytes;

    use super::*;

    const NEEDS: Needs = Needs::new().port("to_pong").mem("shared").fault_handler().stack(8192);

    #[test]
    fn the_notes_bytes_are_these() {
        let note = NEEDS.note::<{ NEEDS.note_len() }>();
        let mut golden = Vec::new();
        golden.extend([7, 0, 0, 0, 184, 0, 0, 0, 1, 0, 0, 0]);
        golden.extend(*b"Strato\0\0");
        golden.extend([2, 0, 1, 0, 1, 0, 0, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0]);
        for (group, minor) in [(0, 1), (1, 2), (2, 0), (3, 1), (4, 0), (5, 2), (6, 0), (7, 0)] {
            golden.extend([group, 0, 1, 0, minor, 0, 0, 0]);
        }
        for (kind, name) in [(1, "to_pong"), (2, "shared")] {
            golden.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
            golden.extend(name.as_bytes());
            golden.resize(golden.len() + NAME_LEN - name.len(), 0);
        }
        assert_eq!(note.0.as_slice(), golden);
        assert_eq!(align_of_val(&note), 4);
    }

    #[test]
    fn the_note_reads_back_as_the_contracts_records() {
        let note = NEEDS.note::<{ NEEDS.note_len() }>();
        let (header, rest) = Header::read_from_prefix(&note.0[DESCRIPTOR_AT..]).unwrap();
        assert_eq!((header.abi_version, header.flags, header.stack_size), (ABI_VERSION, FLAG_FAULT_HANDLER, 8192));
        let handles = &rest[usize::from(header.groups) * size_of::<GroupNeed>()..];
        let (first, rest) = HandleNeed::read_from_prefix(handles).unwrap();
        assert!(first.kind == Kind::Port as u16 && first.name.starts_with(b"to_pong\0"));
        let (second, rest) = HandleNeed::read_from_prefix(rest).unwrap();
        assert!(second.kind == Kind::Mem as u16 && second.name.starts_with(b"shared\0") && rest.is_empty());
    }
}
