//! Filter: a refused access to registers that are for several VMs is done for the guest, as far as the manifest lets it. What bits
//! those are is `board`'s to know.

use strato_abi::Ipa;
use strato_abi::address_space::Attributes;

use super::abort::{Abort, Wanted};
use crate::arch::frame::Frame;
use crate::board::Broken;
use crate::machine::Cx;

/// Does the access that `abort` reports, if it is to filtered registers; else returns `None`.
///
/// # Errors
/// The rule that it breaks, in words; nothing was accessed.
pub(super) fn access(frame: &mut Frame, cx: &mut Cx<'_>, abort: &Abort) -> Option<Result<(), &'static str>> {
    let ipa = Ipa::new(abort.ipa)?;
    let (inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
    let leaf = inner.spaces.get(cx.context.space.slot)?.query(ipa.page_base())?;
    if !leaf.attr.is_answered() || abort.is_walk() {
        return None;
    }
    let Some(register) = abort.transfer() else {
        return Some(Err("other access to filtered registers than a plain one of 32 bits"));
    };
    if !abort.ipa.is_multiple_of(4) {
        return Some(Err("access to filtered registers that is not aligned"));
    }
    let value = match abort.wanted {
        Wanted::Read | Wanted::Fetch => None,
        Wanted::Write if !leaf.attr.most().contains(Attributes::WRITE) => {
            return Some(Err("write to filtered registers that are mapped for reading"));
        }
        #[allow(clippy::cast_possible_truncation, reason = "a store of 32 bits stores the lower half")]
        Wanted::Write => Some(frame.read(register) as u32),
    };
    let at = leaf.pa.bytes().wrapping_add(abort.ipa & 0xfff);
    let done = cx.machine.devices.lock(&mut held).0.access(cx.vm.place, at, value);
    Some(match done {
        Ok(read) => {
            if value.is_none() {
                frame.write(register, read.into());
            }
            Ok(())
        }
        Err(Broken::Register) => Err("access to a register that its filter does not allow"),
        Err(Broken::Read) => Err("read of a filtered register that is only written"),
        Err(Broken::Write) => Err("write to a filtered register that is only read"),
    })
}
