//! One VM touches a device that is not its own and is stopped with a report; its neighbor sees it go and goes on.
#![cfg_attr(target_os = "none", no_std, no_main)]

use strato_guest::abi::{Code, Ipa};
use strato_guest::memory::Window;
use strato_guest::{Failure, Info, Needs, event, println, time, vcpu};

strato_guest::entry!(faulty, Needs::new().port("to_other"));

/// The UART of QEMU's `virt` board: a real device, and the hypervisor's.
const NOT_MINE: Ipa = Ipa::new(0x0900_0000).unwrap();

fn faulty(info: &'static Info) -> Result<(), Failure> {
    let other = info.port("to_other")?;
    if info.option("role") == Some("culprit") {
        event::wait(other)?;
        println!("I write to {NOT_MINE}, which is not mine");
        let device = Window::new(NOT_MINE, 4096).ok_or("no room")?;
        // This image declares no fault handler, so the hypervisor does not let it go on from here.
        device.store(0, u64::from(b'!'))?;
        return Err("I was allowed to".into());
    }

    println!("I am the neighbor");
    event::send(other)?;
    loop {
        match event::send(other) {
            Ok(()) => drop(vcpu::wait(time::deadline_in(1000))),
            Err(error) if error.code() == Code::PeerGone => break,
            Err(error) => return Err(error.into()),
        }
    }
    println!("the culprit is gone, I go on");
    println!("faulty: ok");
    Ok(())
}
