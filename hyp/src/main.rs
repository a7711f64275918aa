//! Image: the panic handler, the statics and the jump into boot. On a PC it is an empty program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod image {
    use core::panic::PanicInfo;

    use spin::Once;
    use strato_hyp::arch::CoreIndex;
    use strato_hyp::boot::{self, secondary};
    use strato_hyp::console::Console;
    use strato_hyp::machine::Machine;
    use strato_hyp::sync::Ordering;

    static CONSOLE: Console = Console::new();
    static MACHINE: Once<Machine> = Once::new();

    strato_hyp::image_entry!(start, core_start);

    fn start(device_tree: u64, started_ticks: u64) -> ! {
        let mut parts = boot::cold(device_tree, started_ticks, &CONSOLE);
        let expected = secondary::start_all(&parts.board, &parts.cores, parts.spin_page.as_ref());
        let cores = secondary::wait_all(expected);
        let plan = boot::start::plan(&mut parts, cores);
        let machine = MACHINE.call_once(|| boot::start::machine(parts, plan, cores));
        boot::replay::replay(machine);
        secondary::announce();
        boot::start::run(machine, CoreIndex::BOOT)
    }

    fn core_start(core: CoreIndex) -> ! {
        secondary::arrive(core);
        let machine =
            secondary::await_published(|| MACHINE.get().filter(|machine| machine.is_ready.load(Ordering::Acquire)));
        if let Err(error) = machine.gic.init_core(core) {
            boot::refuse(&error);
        }
        strato_hyp::arch::panic::heed();
        boot::start::run(machine, core)
    }

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        boot::panic::report(info, &CONSOLE)
    }
}
