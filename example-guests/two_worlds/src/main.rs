//! Two worlds in one VM: a kernel at EL1 with an MMU of its own, and a process at EL0 that reaches its own pages and nothing else.
#![cfg_attr(target_os = "none", no_std, no_main)]

use strato_guest::abi::Ipa;
use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::address_space::Attributes;
use strato_guest::fault::Fault;
use strato_guest::memory::{self, READ, READ_WRITE, Window};
use strato_guest::native::{self, Exit, PROCESS_BASE, Process, Rights, World};
use strato_guest::{Failure, Info, Needs, ensure, ensure_equal, println};

strato_guest::entry!(two_worlds, Needs::new().native().fault_handler());

/// What the process does, an instruction a line.
const PROGRAM: [u32; 4] = [
    0xf940_0000, // ldr x0, [x0]     its kernel's code
    0xf900_0023, // str x3, [x1]     its own data
    0xf900_0043, // str x3, [x2]     its own address, behind which the VM has nothing
    0xd400_00e1, // svc #7
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

    ensure_equal("the kernel's own code", physical(kernel, World::Kernel)?, kernel)?;
    println!("the kernel's own code: virtual {kernel:#x} is guest-physical too");
    println!("the process's code: virtual {CODE:#x} is guest-physical {:#x}", physical(CODE, World::Process)?);
    println!("the process's data: virtual {DATA:#x} is guest-physical {:#x}", physical(DATA, World::Process)?);
    ensure(native::translate(kernel, World::Process).is_none(), "the process sees its kernel")?;
    println!("the kernel's code is nothing to the process");

    let mut process = Process::new(CODE, 0);
    for (register, value) in [kernel, DATA, NOTHING, 0x1234].into_iter().enumerate() {
        process.set(register, value);
    }
    let fault = fault_of(&mut process)?;
    ensure(fault.is_permission() && fault.address == kernel && fault.pc == CODE, "not the fault of its first line")?;
    println!("the process touched its kernel: {fault}");
    let fault = fault_of(&mut process)?;
    ensure(fault.is_translation() && fault.address == NOTHING, "not the fault of its third line")?;
    println!("the process touched what the VM has no memory for: {fault}");
    ensure(run(&mut process) == Exit::Call(7), "not the call of its last line")?;
    let left = Window::new(data, PAGE_SIZE).ok_or("no room")?.load(0)?;
    ensure_equal("what it left", left, process.get(3))?;
    println!("the process made call 7 and left {left:#x} in its data");
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

fn physical(address: u64, by: World) -> Result<u64, Failure> {
    Ok(native::translate(address, by).ok_or("an address does not translate")?.bytes())
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

/// Returns the fault that the process runs into, with the process behind it.
fn fault_of(process: &mut Process) -> Result<Fault, Failure> {
    let Exit::Fault(fault) = run(process) else { return Err("the process ran on where it had to fault".into()) };
    process.skip();
    Ok(fault)
}
