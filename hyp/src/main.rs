//! Image: the panic handler, the statics and the jump into boot. On a PC it is an empty program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod image {
    use core::panic::PanicInfo;

    use log::info;
    use spin::Once;
    use strato_hyp::arch::{CoreIndex, firmware, timer};
    use strato_hyp::boot::{self, secondary};
    use strato_hyp::console::Console;
    use strato_hyp::gic::Gic;

    static CONSOLE: Console = Console::new();
    static MACHINE: Once<Gic> = Once::new();

    strato_hyp::image_entry!(start, core_start);

    fn start(device_tree: u64, started_ticks: u64) -> ! {
        let parts = boot::cold(device_tree, started_ticks, &CONSOLE);
        let ticks = timer::now();
        secondary::start_all(&parts.board, &parts.cores);
        let arrived = secondary::wait_all(&parts.board);
        MACHINE.call_once(|| parts.gic);
        secondary::announce();
        info!("cores {arrived:#b}, {} ticks since entry", ticks - parts.started_ticks);
        for pages in &parts.free {
            info!("free {:?}, {} frames", pages.pa(), pages.count());
        }
        let deadline = timer::now() + timer::frequency() / 20;
        while timer::now() < deadline {}
        CONSOLE.flush_polled();
        firmware::system_off();
        strato_hyp::arch::panic::park()
    }

    fn core_start(core: CoreIndex) -> ! {
        secondary::arrive(core);
        let gic = secondary::await_published(|| MACHINE.get());
        let ready = gic.init_core(core);
        info!("core {} is here: {ready:?}", core.index());
        loop {
            strato_hyp::arch::wait_for_interrupt();
            if strato_hyp::arch::panic::panicked() {
                strato_hyp::arch::panic::stop();
            }
        }
    }

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        boot::panic::report(info, &CONSOLE)
    }
}
