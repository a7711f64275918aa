//! Golden numbers: every number, offset and size of the ABI as one text file that changes only on purpose.
//!
//! `STRATO_BLESS=1 cargo test -p strato-abi --test golden` writes the file anew. A changed line is a new major version, an
//! added line a new minor one (SPEC 17).

mod layouts;

use std::fmt::Write as _;

use strato_abi::Group;
use strato_abi::limit::LimitKey;
use strato_abi::{AddressSpaceHandle, Call, Code, Kind, Reason, Reply, Request, Rights};
use strato_abi::{
    addr, address_space, console, event, event_area, for_each_call, info_page, mem, note, plan, share, time, vcpu,
    vcpu_area, version,
};

/// Returns which registers a call looks at and which single bits each accepts: `x1:0x00000000ffffffff x2:...`.
///
/// Found by asking, not by reading types: a bit is accepted when the request with that bit alone decodes.
fn accepted<R: Request + PartialEq>() -> String {
    let zero = R::from_regs(&[0; 15]).ok();
    let mut text = String::new();
    for at in 0..15 {
        let (mut mask, mut is_read) = (0u64, false);
        for bit in 0..64 {
            let mut regs = [0; 15];
            if let Some(word) = regs.get_mut(at) {
                *word = 1 << bit;
            }
            let request = R::from_regs(&regs).ok();
            mask |= u64::from(request.is_some()) << bit;
            is_read |= request != zero;
        }
        if is_read {
            write!(text, " x{}:{mask:#018x}", at + 1).ok();
        }
    }
    text
}

fn calls(out: &mut String) {
    macro_rules! line {
        ($($name:ident),*) => { $(
            let call = Call::$name;
            writeln!(
                out,
                "call {} {:#010x} in {:?}{} out {:?} registers {}",
                call.name(), call.function_id(), call.arguments(), accepted::<strato_abi::call::$name>(),
                call.results(), <<strato_abi::call::$name as Request>::Reply as Reply>::REGS,
            ).ok();
        )* };
    }
    for_each_call!(line);
}

macro_rules! constants {
    ($out:ident: $($module:ident :: $name:ident),* $(,)?) => { $(
        writeln!($out, "const {}::{} {:#x?}", stringify!($module), stringify!($name), $module::$name).ok();
    )* };
}

macro_rules! numbers {
    ($out:ident: $type:path { $($name:ident),* $(,)? }) => { $(
        { use $type as E; writeln!($out, "{} {} {}", stringify!($type), stringify!($name), E::$name as u64).ok(); }
    )* };
}

fn golden() -> String {
    let mut out = String::new();
    constants!(out: version::ABI_VERSION, version::FUNCTION_BASE, version::FUNCTION_UID, version::FUNCTION_REVISION,
        version::FUNCTION_SVE_HINT, addr::PAGE_SIZE, addr::IPA_BITS, addr::RAM_BASE, addr::WINDOW_BASE, addr::WINDOW_SIZE,
        addr::INFO_PAGE, addr::INFO_PAGES_MAX, addr::VCPU_AREA, addr::EVENT_AREA, address_space::PAGES_PER_CALL, mem::MEM_PAGES_MAX, mem::SCRUB_PAGES_PER_CALL, share::BORROWED_RANGES,
        share::BORROWED_OBJECTS, share::OPEN_OFFERS, time::TIMERS_PER_VM, time::TIMER_PERIOD_MIN_NS,
        console::CONSOLE_BYTES, event_area::EVENT_RECORD_STRIDE, event_area::EVENT_WORDS, event_area::SELECTOR_KICK,
        info_page::MAGIC, info_page::LABEL_LEN, info_page::NAME_LEN, info_page::FEATURE_FP, info_page::FEATURE_JIT,
        info_page::FEATURE_CONSOLE_INPUT, info_page::FEATURE_NATIVE, info_page::FEATURE_CYCLES, info_page::BOOT_FIRST, info_page::BOOT_REQUEST,
        info_page::BOOT_FAILURE, note::NOTE_TYPE, note::FLAG_FAULT_HANDLER, note::FLAG_FP, note::FLAG_NATIVE, vcpu::NO_DEADLINE, vcpu::SCHED_WAKE_US,
        vcpu_area::VCPU_RECORD_STRIDE, plan::PAYLOAD_MAGIC, plan::PAYLOAD_VERSION, plan::ANY_CORE, plan::KIND_CREATE_VM,
        plan::KIND_LOAD, plan::KIND_CREATE_REGION, plan::KIND_GRANT_REGION, plan::KIND_PEER, plan::KIND_CHANNEL,
        plan::KIND_START, plan::KIND_GRANT_DEVICE, plan::KIND_GRANT_INTERRUPT, plan::KIND_GRANT_SCHED, plan::KIND_ALLOW_REGISTER, plan::KIND_EXPECT, plan::KIND_SCENARIO, plan::BOARD_NAME_LEN,
        plan::SCENARIO_NAME_LEN, plan::SERIES_MAX, plan::EXPECT_EXIT, plan::EXPECT_STOP, plan::SCENARIO_REPORT,
        plan::DEVICE_DMA_TRUSTED, plan::DEVICE_FILTERED, plan::INTERRUPT_EDGE, event::IRQ_ROUNDS_MAX, plan::VM_FP, plan::VM_JIT, plan::VM_FAULT_HANDLER, plan::VM_CONSOLE_INPUT,
        plan::VM_NATIVE, plan::VM_GUARDED, plan::VM_PLAIN, plan::VM_RESTART, plan::VM_REBOOT);
    writeln!(out, "const AddressSpaceHandle::FIRST {:#x}", AddressSpaceHandle::FIRST.0.bits()).ok();
    writeln!(out, "const version::UID {:08x?}", version::UID).ok();
    writeln!(out, "const note::SECTION {} note::OWNER {}", note::SECTION, note::OWNER).ok();
    writeln!(out, "checksum of 1..=20 {:#x}", plan::checksum(&(1..=20).collect::<Vec<u8>>())).ok();
    for group in Group::ALL {
        writeln!(out, "group {} {} {:?}", *group as u8, group.name(), group.version()).ok();
    }
    calls(&mut out);
    for code in Code::ALL {
        writeln!(out, "code {} {}", *code as i64, code.name()).ok();
    }
    for reason in (0..=255).filter_map(Reason::from_u8) {
        writeln!(out, "reason {} {reason:?}", reason as u8).ok();
    }
    for kind in (0..=u16::MAX).filter_map(Kind::from_u16) {
        writeln!(out, "kind {} {kind:?}", kind as u16).ok();
    }
    for (name, right) in Rights::all().iter_names() {
        writeln!(out, "right {} {name}", right.bits()).ok();
    }
    for (name, attribute) in address_space::Attributes::all().iter_names() {
        writeln!(out, "attribute {} {name}", attribute.bits()).ok();
    }
    for key in LimitKey::ALL {
        writeln!(out, "limit {} {key:?} {}", *key as u64, key.value()).ok();
    }
    numbers!(out: strato_abi::core::ExitKind { Off, Reboot });
    numbers!(out: strato_abi::vcpu::YieldHint { Any, Vcpu, Port, LockHolder });
    numbers!(out: strato_abi::vcpu::RunState { Off, Runnable, Running, Blocked, Stopped });
    numbers!(out: strato_abi::event::DeliveryMode { Poll, Upcall });
    numbers!(out: strato_abi::time::ClockKind { Monotonic, Wall, Run });
    numbers!(out: strato_abi::mem::MemoryType { Normal });
    numbers!(out: strato_abi::share::Verb { Share, Lend, Donate });
    numbers!(out: strato_abi::share::RevokePolicy { Ask, Force });
    numbers!(out: strato_abi::share::ShareState { Offered, Accepted, Asked, Revoking, Relinquished, Revoked, Donated });
    for (name, flag) in address_space::UnmapFlags::all().iter_names() {
        writeln!(out, "unmap flag {} {name}", flag.bits()).ok();
    }
    for (name, flag) in event::IrqFlags::all().iter_names() {
        writeln!(out, "irq flag {} {name}", flag.bits()).ok();
    }
    for (name, state) in strato_abi::mem::MemState::all().iter_names() {
        writeln!(out, "mem state {} {name}", state.bits()).ok();
    }
    for (name, step) in strato_abi::share::Steps::all().iter_names() {
        writeln!(out, "step {} {name}", step.bits()).ok();
    }
    numbers!(out: strato_abi::address_space::LastFault { None, Translation, Permission, Revoked });
    for layout in layouts::guest().into_iter().chain(layouts::boot_plan()) {
        writeln!(out, "struct {} {}", layout.name, layout.size).ok();
        for field in layout.fields {
            writeln!(out, "field {}.{} {} {}", layout.name, field.name, field.offset, field.size).ok();
        }
    }
    out
}

#[test]
fn every_number_offset_and_size_is_the_one_guests_were_built_with() {
    let now = golden();
    if std::env::var_os("STRATO_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.txt"), &now).unwrap();
        return;
    }
    let golden = include_str!("golden.txt");
    let removed: Vec<&str> = golden.lines().filter(|line| !now.lines().any(|l| l == *line)).collect();
    let added: Vec<&str> = now.lines().filter(|line| !golden.lines().any(|l| l == *line)).collect();
    assert!(
        removed.is_empty(),
        "gone or changed, which only a new major version may do:\n{removed:#?}\nnow:\n{added:#?}"
    );
    assert!(added.is_empty(), "new, which needs a new minor version and STRATO_BLESS=1:\n{added:#?}");
    assert_eq!(golden, now, "the order or number of lines has changed");
}

#[test]
fn every_layout_has_no_hole_and_is_a_multiple_of_eight() {
    for layout in layouts::guest().into_iter().chain(layouts::boot_plan()) {
        let mut end = 0;
        for field in &layout.fields {
            assert_eq!(
                field.offset, end,
                "{}.{} does not start where the field before it ends",
                layout.name, field.name
            );
            end = field.offset + field.size;
        }
        assert_eq!(end, layout.size, "{} has padding at its end", layout.name);
        assert!(layout.size % 8 == 0, "{} is not a multiple of 8 bytes", layout.name);
    }
}
