//! Address spaces that end with their value. A program that leaves its own for another one needs its image there too.

use strato_abi::addr::PAGE_SIZE;
use strato_abi::address_space::Attributes;
use strato_abi::{AddressSpaceHandle, Ipa, MemHandle};

use crate::address_space::via;
use crate::conduit::Conduit;
use crate::error::Result;
use crate::memory::all;
use crate::{Hvc, arch, image};

/// An address space besides the one that the VM began with. Dropping it ends it, unless a vCPU is in it: then it stays.
#[derive(Debug)]
pub struct Space<'c, C: Conduit + ?Sized = Hvc> {
    conduit: &'c C,
    handle: AddressSpaceHandle,
}

impl Space<'static> {
    /// Returns a new address space in which only the hypervisor's window is mapped.
    ///
    /// # Errors
    /// Those of AS.CREATE.
    pub fn new() -> Result<Self> {
        Self::new_on(&Hvc)
    }
}

impl<'c, C: Conduit + ?Sized> Space<'c, C> {
    /// Returns a new address space, over a conduit of the caller's choice.
    ///
    /// # Errors
    /// Those of AS.CREATE.
    pub fn new_on(conduit: &'c C) -> Result<Self> {
        Ok(Self { conduit, handle: via::create(conduit)? })
    }

    /// Returns the handle, for the calls of [`crate::address_space`].
    #[must_use]
    pub const fn handle(&self) -> AddressSpaceHandle {
        self.handle
    }

    /// Maps `pages` pages of `mem`, from `offset` bytes on, at `address`.
    ///
    /// # Errors
    /// Those of [`map_on`](crate::memory::map_on).
    pub fn map(&self, mem: MemHandle, offset: u64, address: Ipa, pages: u64, attributes: Attributes) -> Result<()> {
        image::check(mem, offset, address, pages, attributes)?;
        all(pages, |done, left| {
            let by = done.saturating_mul(PAGE_SIZE);
            let at = address.checked_add(by).unwrap_or(address);
            let offset = offset.saturating_add(by);
            via::map(self.conduit, self.handle, at, mem, offset, left, attributes).map(|mapped| mapped.done)
        })
    }

    /// Maps the pages of the program itself as they are mapped in the caller's address space, its stacks among them.
    ///
    /// # Errors
    /// Those of AS.MAP.
    pub fn map_image(&self) -> Result<()> {
        let image = arch::image_range();
        let count = image.end.saturating_sub(image.start).div_ceil(PAGE_SIZE);
        for page in (0..count).filter_map(|n| Ipa::new(image.start + n * PAGE_SIZE)) {
            // A page that is not mapped guards a stack.
            if let Ok(found) = via::query(self.conduit, AddressSpaceHandle::CURRENT, page) {
                self.map(found.mem, found.offset, page, 1, found.attributes)?;
            }
        }
        Ok(())
    }

    /// Runs `work` in the address space, on the calling vCPU, and comes back; see [`Space::map_image`].
    ///
    /// # Errors
    /// Those of AS.SWITCH.
    pub fn within<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        let previous = via::switch(self.conduit, self.handle)?;
        let result = work();
        via::switch(self.conduit, previous)?;
        Ok(result)
    }
}

impl<C: Conduit + ?Sized> Drop for Space<'_, C> {
    fn drop(&mut self) {
        while via::destroy(self.conduit, self.handle).is_ok_and(|step| step.left != 0) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recorder;
    use strato_abi::Handle;
    use strato_abi::call::{AsCreateReply, AsDestroyReply, AsSwitchReply};

    const SPACE: AddressSpaceHandle = AddressSpaceHandle(Handle::new(4, 1));
    const FIRST: AddressSpaceHandle = AddressSpaceHandle(Handle::new(9, 1));

    #[test]
    fn a_space_is_left_again_and_ends_with_its_value_in_as_many_steps_as_it_takes() {
        let recorder = Recorder::new()
            .answer(AsCreateReply { space: SPACE })
            .answer(AsSwitchReply { previous: FIRST })
            .answer(AsSwitchReply { previous: SPACE })
            .answer(AsDestroyReply { left: 1, done: 0 })
            .answer(AsDestroyReply { left: 0, done: 3 });
        let space = Space::new_on(&recorder).unwrap();
        assert_eq!((space.handle(), space.within(|| 7)), (SPACE, Ok(7)));
        drop(space);
        let calls = recorder.calls();
        let named = calls.iter().skip(1).map(|(_, regs)| regs[0]);
        assert!(named.eq([SPACE, FIRST, SPACE, SPACE].map(|space| u64::from(space.0.bits()))), "{calls:?}");
    }
}
