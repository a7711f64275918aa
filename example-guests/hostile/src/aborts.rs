//! AB: refused accesses, at each level and of each kind: the syndrome says what the guest's own map says.

use strato_guest::abi::Call;
use strato_guest::{Failure, Info, ensure, ensure_equal, memory};

use crate::raw::succeeds;
use crate::scratch::{Scratch, ipa, peek};
use crate::words::LOAD_X0;

/// STR x0, [x0].
const STORE_X0: u32 = 0xf900_0000;
const FREE: u64 = 0x8000_0000;
const PAGE: u64 = 4096;
const BLOCK: u64 = 2 << 20;
const GIGABYTE: u64 = 1 << 30;

fn access(scratch: &Scratch, word: u32, address: u64) -> Result<u64, Failure> {
    let seen = scratch.execute(word, &mut [address; 30])?;
    ensure_equal("faults of an access", seen.count, 1)?;
    ensure_equal("FAR_EL1", seen.address, address)?;
    Ok(seen.syndrome)
}

/// Translation and permission faults of loads and stores: class, level, direction and address, and nothing else.
pub(crate) fn ab01_faults_tell_what_the_map_says(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const ABORT: u64 = 0x25 << 26 | 1 << 25;
    let ram = u64::from(scratch.ram.0.bits());
    // A page in one block of a gigabyte that is otherwise empty.
    succeeds("a page", Call::AsMap, &[0, FREE, ram, BLOCK, 1, 1])?;
    let at = [(FREE + PAGE, 3), (FREE + BLOCK, 2), (FREE + 2 * GIGABYTE, 1), (1 << 39, 0)];
    for (address, level) in at {
        let load = access(scratch, LOAD_X0, address)?;
        ensure_equal("the syndrome of a load", load, ABORT | 4 | level)?;
        let store = access(scratch, STORE_X0, address)?;
        ensure_equal("the syndrome of a store", store, ABORT | 1 << 6 | 4 | level)?;
    }
    ensure_equal("a store to a read-only page", access(scratch, STORE_X0, FREE)?, ABORT | 1 << 6 | 0xc | 3)?;
    ensure(peek(FREE).is_ok(), "the page does not load any more")?;
    memory::unmap(ipa(FREE)?, 1)?;
    succeeds("a block", Call::AsMap, &[0, FREE, ram, BLOCK, 512, 1])?;
    ensure_equal("a store to a read-only block", access(scratch, STORE_X0, FREE + 8)?, ABORT | 1 << 6 | 0xc | 2)?;
    memory::unmap(ipa(FREE)?, 512)?;
    // Beyond the core's own physical addresses EL1 itself refuses: an address size fault, without the hypervisor.
    for address in [1 << 40, 1 << 44, 1 << 47, 1 << 48, 1 << 63, 0xffff_ffff_ffff_fff8] {
        let seen = scratch.execute(LOAD_X0, &mut [address; 30])?;
        ensure_equal("faults of a far address", seen.count, 1)?;
        ensure_equal("the class of a far address", seen.syndrome >> 26, 0x25)?;
    }
    // An unaligned exclusive, and one to nothing.
    let seen = scratch.execute(0xc85f_7c00, &mut [FREE + 1; 30])?;
    ensure(seen.count == 1 && seen.syndrome >> 26 == 0x25, "an exclusive to nothing does not fault")
}
