//! Two worlds in one VM: a kernel at EL1 with an MMU of its own, and a process at EL0 that reaches its own pages and nothing else.
#![cfg_attr(target_os = "none", no_std, no_main)]

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::address_space::Attributes;
use strato_guest::abi::{AddressSpaceHandle, Ipa};
use strato_guest::fault::Fault;
use strato_guest::memory::{self, READ, READ_WRITE, Window};
use strato_guest::native::{self, Exit, PROCESS_BASE, Process, Rights, World};
use strato_guest::{Failure, Info, Needs, address_space, ensure, ensure_equal, println};

strato_guest::entry!(two_worlds, Needs::new().native().fault_handler());

/// What the process does, an instruction a line.
const PROGRAM: [u32; 4] = [
    0xf900_0023, // str x3, [x1]     its own data
    0xd400_00e1, // svc #7
    0xf900_0043, // str x3, [x2]     its own address, behind which the VM has nothing
    0xf940_0000, // ldr x0, [x0]     its kernel's code
];
const CODE: u64 = PROCESS_BASE;
const DATA: u64 = PROCESS_BASE + PAGE_SIZE;
const NOTHING: u64 = PROCESS_BASE + 2 * PAGE_SIZE;

fn two_worlds(info: &'static Info) -> Result<(), Failure> {
    ensure(native::is_available(info), "this VM has no MMU of its own: add `mmu = \"native\"` to it")?;
    let kernel = (two_worlds as *const ()).addr() as u64;
    let (code, data, nothing) = pages(info)?;
    native::map(CODE, code, Rights::Execute).map_err(|_| "the code is not mapped")?;
    native::map(DATA, data, Rights::ReadWrite).map_err(|_| "the data is not mapped")?;
    native::map(NOTHING, nothing, Rights::ReadWrite).map_err(|_| "nothing is not mapped")?;
    show(info, "the kernel's own code", kernel, World::Kernel)?;
    show(info, "the process's code", CODE, World::Process)?;
    show(info, "the process's data", DATA, World::Process)?;
    ensure(native::translate(kernel, World::Process).is_none(), "the process sees its kernel")?;

    let mut process = Process::new(CODE, 0);
    for (register, value) in [kernel, DATA, NOTHING, 0x1234].into_iter().enumerate() {
        process.set(register, value);
    }
    ensure(run(&mut process) == Exit::Call(7), "not the call of its second line")?;
    let data = Window::new(data, PAGE_SIZE).ok_or("no room")?;
    ensure_equal("what it left", data.load(0)?, 0x1234)?;
    println!("the process made call 7 and left 0x1234 in its data");
    let fault = fault_of(&mut process)?;
    ensure(fault.is_translation() && fault.address == NOTHING, "not the fault of its third line")?;
    println!("the process touched what the VM has no memory for: {fault}");
    process.skip();
    let fault = fault_of(&mut process)?;
    ensure(fault.is_permission() && fault.address == kernel, "not the fault of its last line")?;
    println!("the process touched its kernel: {fault}");
    ensure_equal("what it got", process.get(0), kernel)?;

    // There is no second chance: its addresses lead nowhere from here on, and a process that ran there would fault at once.
    ensure([CODE, DATA, NOTHING].into_iter().all(native::unmap), "a page of the process was not mapped")?;
    let fault = fault_of(&mut Process::new(CODE, 0))?;
    ensure(fault.is_translation() && fault.address == CODE, "the process goes on")?;
    println!("the process is ended, and its kernel goes on");
    println!("two_worlds: ok");
    Ok(())
}

/// Returns two pages of RAM, the first with the program, executable, and one address of RAM where the VM has no page.
fn pages(info: &Info) -> Result<(Ipa, Ipa, Ipa), Failure> {
    let first = memory::free_ram(info).start;
    let page = |n: u64| Ipa::new(first + n * PAGE_SIZE).ok_or("no room");
    memory::map_ram(info.mem("ram")?.handle, page(0)?, 2, READ_WRITE)?;
    native::write_code(page(0)?, &PROGRAM)?;
    memory::protect(page(0)?, 1, READ.union(Attributes::EXECUTE))?;
    Ok((page(0)?, page(1)?, page(2)?))
}

/// Says what `address` is to the MMU, which is this program's, and which byte of the VM's memory that is, which is the hypervisor's.
fn show(info: &Info, what: &str, address: u64, by: World) -> Result<(), Failure> {
    let physical = native::translate(address, by).ok_or("an address does not translate")?;
    let mapping = address_space::query(AddressSpaceHandle::CURRENT, physical)?;
    ensure(mapping.mem == info.mem("ram")?.handle, "the page is not of `ram`")?;
    let byte = mapping.offset + physical.bytes() % PAGE_SIZE;
    println!("{what}: virtual {address:#x} -> guest-physical {:#x} (ram + {byte:#x})", physical.bytes());
    Ok(())
}

/// Runs the process; events for the VM, of which there are none here, do not concern it.
fn run(process: &mut Process) -> Exit {
    loop {
        match process.run() {
            Exit::Line => {}
            exit @ (Exit::Call(_) | Exit::Fault(_)) => return exit,
        }
    }
}

/// Returns the fault that the process runs into.
fn fault_of(process: &mut Process) -> Result<Fault, Failure> {
    let Exit::Fault(fault) = run(process) else { return Err("the process ran on where it had to fault".into()) };
    Ok(fault)
}
