//! What the guest library promises, tried on the machine: each VM runs the case that its command line names.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod discovery;
mod events;
mod faults;
mod pages;
mod shares;
mod trouble;
mod typed;

use strato_guest::{Failure, Info, Needs, println};

strato_guest::entry!(selftest, Needs::new().fault_handler().stack(8192).stack_room(16384));

fn selftest(info: &'static Info) -> Result<(), Failure> {
    match info.option("case") {
        Some("discovery") => discovery::discovery(info)?,
        Some("refusals") => discovery::refusals(info)?,
        Some("log") => discovery::logging(),
        Some("deadline") => events::deadline()?,
        Some("upcall") => events::upcalls(info)?,
        Some("answer") => events::answer(info)?,
        Some("offer") => events::offer(info)?,
        Some("connect") => events::connect(info)?,
        Some("copies") => shares::copies()?,
        Some("lend") => shares::lend(info)?,
        Some("borrow") => shares::borrow(info)?,
        Some("overflow") => println!("{}", trouble::overflow(0)),
        Some("panic") => trouble::panic(),
        Some("panic_elsewhere") => trouble::panic_elsewhere()?,
        Some("fault") => trouble::fault()?,
        Some("pages") => pages::pages(info)?,
        Some("stack_grows") => faults::stack_grows()?,
        Some("told") => faults::told(info)?,
        Some("in_the_handler") => faults::in_the_handler()?,
        Some("on_the_handlers_stack") => faults::on_the_handlers_stack()?,
        Some("echo") => typed::echo()?,
        Some("error") => return Err("I was told to".into()),
        _ => return Err("the command line names no case".into()),
    }
    println!("selftest: ok");
    Ok(())
}
