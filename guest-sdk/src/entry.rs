//! From the first instruction to the guest's entry function and from its end to the VM's. Called by `arch/start.rs`.

use ::core::fmt::Display;

use crate::println;

/// What an entry function returns: nothing, or a result whose error is the reason of the failure.
pub trait Outcome {
    /// Prints `<name>: failed: <reason>` and returns 1 after a failure, else 0.
    fn exit_code(self, name: &str) -> u64;
}

impl Outcome for () {
    fn exit_code(self, _: &str) -> u64 {
        0
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn exit_code(self, name: &str) -> u64 {
        match self {
            Ok(()) => 0,
            Err(reason) => {
                println!("{name}: failed: {reason}");
                1
            }
        }
    }
}

/// Ends the VM as `outcome` says; `entry!` calls it.
pub fn finish(name: &str, outcome: impl Outcome) -> ! {
    crate::core::shutdown(outcome.exit_code(name))
}

/// Names the guest's entry function, `fn(&'static Info)` with an [`Outcome`], and what the image needs.
///
/// Places the ELF note `.note.strato`, the first vCPU's stack, and on a PC a `main` that says how to run the guest.
///
/// ```
/// use strato_guest::{Info, Needs, println};
///
/// strato_guest::entry!(hello, Needs::new().port("to_peer"));
///
/// fn hello(info: &'static Info) -> Result<(), strato_guest::Error> {
///     println!("hello from {}", info.label());
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! entry {
    ($function:path) => {
        $crate::entry!($function, $crate::Needs::new());
    };
    ($function:path, $needs:expr) => {
        const STRATO_NEEDS: $crate::Needs = $needs;

        #[cfg(target_os = "none")]
        const _: () = {
            #[used]
            #[unsafe(link_section = ".note.strato")]
            static NOTE: $crate::needs::Note<{ STRATO_NEEDS.note_len() }> = STRATO_NEEDS.note();

            #[used]
            #[unsafe(link_section = ".stack")]
            static STACK: $crate::StackMemory<{ STRATO_NEEDS.stack_size() }> = $crate::StackMemory::new();

            #[used]
            #[unsafe(link_section = ".stack_room")]
            static ROOM: $crate::StackMemory<{ STRATO_NEEDS.stack_room_size() }> = $crate::StackMemory::new();

            #[unsafe(no_mangle)]
            static STRATO_GUEST_MMU: ::core::option::Option<$crate::MmuStart> = STRATO_NEEDS.mmu();

            #[unsafe(no_mangle)]
            fn strato_guest_main(info: &'static $crate::Info) {
                $crate::entry::finish(::core::env!("CARGO_PKG_NAME"), $function(info))
            }
        };

        #[cfg(not(target_os = "none"))]
        fn main() {
            let _ = STRATO_NEEDS.note::<{ STRATO_NEEDS.note_len() }>();
            let _: fn(&'static $crate::Info) -> _ = $function;
            ::std::eprintln!("a guest of Strato: run it by `cargo strato run {}`", ::core::env!("CARGO_PKG_NAME"));
        }
    };
}

/// Runs the guest on its first vCPU; `version` is what the hypervisor passed in x1.
#[cfg(target_os = "none")]
pub(crate) fn begin(version: u64) -> ! {
    use strato_abi::version::{ABI_VERSION, major};

    use crate::exception::{REASON_REFUSED, REASON_VERSION};
    use crate::{Info, arch};

    if version >> 16 != u64::from(major(ABI_VERSION)) {
        println!("strato-guest: ABI version {version:#x} of the hypervisor is none that this guest knows");
        crate::core::crash(REASON_VERSION, 0, 0, 0);
    }
    let info = match Info::check(arch::info_bytes()) {
        Ok(info) => info,
        Err(broken) => {
            println!("strato-guest: {broken}");
            crate::core::crash(REASON_VERSION, 0, 0, 0);
        }
    };
    if let Ok(ram) = info.mem("ram") {
        crate::image::remember(ram.handle);
    }
    crate::logger::start(info.option("log"));
    arch::run_main(info);
    crate::core::crash(REASON_REFUSED, 0, 0, 0)
}

/// Ends a further vCPU whose function has returned.
#[cfg(target_os = "none")]
pub(crate) fn end_vcpu() -> ! {
    let _ = crate::vcpu::stop();
    crate::core::crash(crate::exception::REASON_REFUSED, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_exit_code_one_and_everything_else_zero() {
        assert_eq!(().exit_code("x"), 0);
        assert_eq!(Ok::<(), &str>(()).exit_code("x"), 0);
        assert_eq!(Err::<(), &str>("no port").exit_code("x"), 1);
    }
}
