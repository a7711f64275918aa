//! A VM with a share of a core's time has something to do in each period, beside neighbors on the same core that never wait, never stop
//! calling, and have the highest priority. It prints how late it was at worst, and how often it was not done in its period.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod control;

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::address_space::{Attributes, UnmapFlags};
use strato_guest::abi::mem::MemoryType;
use strato_guest::abi::time::TIMERS_PER_VM;
use strato_guest::abi::vcpu::YieldHint;
use strato_guest::abi::{AddressSpaceHandle, Ipa};
use strato_guest::memory::Window;
use strato_guest::vcpu::Stack;
use strato_guest::{Failure, Info, Needs, address_space, console, event, mem, println, time, vcpu};

strato_guest::entry!(realtime, Needs::new().mem("over"));

static STACK: Stack = Stack::new();

const HERE: AddressSpaceHandle = AddressSpaceHandle::CURRENT;

fn realtime(info: &'static Info) -> Result<(), Failure> {
    let shared = info.mem("over")?;
    let address = shared.address.ok_or("the manifest maps \"over\" nowhere")?;
    let over = Window::new(address, shared.size).ok_or("\"over\" lies in the image")?;
    let goes_on = || over.load(0).is_ok_and(|word| word == 0);
    match info.option("role") {
        Some("control") => control::control(info)?,
        Some("share") => control::share(info)?,
        // Interrupts are masked from the first instruction on.
        Some("spin") => while goes_on() {},
        Some(role @ ("idle" | "wake")) => {
            let ticks = if role == "idle" { time::counter_hz() / 100 } else { 1 };
            while goes_on() {
                vcpu::wait(time::counter() + ticks)?;
            }
        }
        Some("flood") => {
            while goes_on() {
                println!("one line after the other, as fast as they are taken");
            }
        }
        // All timers there are, as often as they may come, all at one moment.
        Some("timers") => {
            let period = time::counter_hz() / 10_000;
            for _ in 0..TIMERS_PER_VM {
                time::timer_set(event::own_port()?, 0, period, period)?;
            }
            while goes_on() {}
        }
        // The text that takes longest.
        Some("write") => {
            while goes_on() {
                console::write(&[0xf0; 112])?;
            }
            console::write(b"\n")?;
        }
        // Two that give each other whatever the share of either has.
        Some("lend") => {
            vcpu::launch(1, &STACK, lend_on, 0)?;
            while goes_on() {
                vcpu::yield_to(YieldHint::Vcpu, 1)?;
            }
        }
        Some("zero") => {
            while goes_on() {
                // Pages that are zeroed are what takes the hypervisor longest.
                let made = loop {
                    if let Some(mem) = mem::alloc(16, MemoryType::Normal)?.mem {
                        break mem;
                    }
                };
                while mem::free(made)?.left != 0 {}
            }
        }
        Some("map") => {
            let ram = info.mem("ram")?.handle;
            let page = |n: u64| Ipa::new(0x9000_0000 + n * PAGE_SIZE).ok_or("no address");
            while goes_on() {
                // Either call ends early when an interrupt waits.
                let (mapped, mut done) = (address_space::map(HERE, page(0)?, ram, 0, 64, Attributes::READ)?.done, 0);
                while done < mapped {
                    done += address_space::unmap(HERE, page(done)?, mapped - done, UnmapFlags::empty())?;
                }
            }
        }
        _ => return Err("the role is control, share, idle, spin, wake, flood, timers, write, lend, map or zero".into()),
    }
    over.store(0, 1)?;
    println!("realtime: ok");
    Ok(())
}

/// Gives the first vCPU what it is given, until its VM ends.
fn lend_on(_: usize) {
    while vcpu::yield_to(YieldHint::Vcpu, 0).is_ok() {}
}
