//! Cases: what calls and info page say agrees, refusals read as they should, and `log` prints.

use ::core::time::Duration;

use strato_guest::abi::limit::LimitKey;
use strato_guest::abi::vcpu::RunState;
use strato_guest::abi::version::{ABI_VERSION, UID};
use strato_guest::abi::{Code, Group, Handle, Ipa, PortHandle};
use strato_guest::memory::{self, READ};
use strato_guest::time::ClockKind;
use strato_guest::{Failure, Hvc, Info, core, ensure, ensure_equal, event, println, smccc, time, vcpu, vcpu_area};

/// Asks for everything that the info page says as well.
pub(crate) fn discovery(info: &Info) -> Result<(), Failure> {
    ensure(smccc::uid(&Hvc) == UID, "the UID is another hypervisor's")?;
    ensure(smccc::revision(&Hvc) == (1, 2), "the revision is not 1.2")?;
    ensure(smccc::smccc_version(&Hvc) == 0x1_0002, "SMCCC is not 1.2")?;
    ensure(smccc::psci_version(&Hvc) == 0x1_0001, "PSCI is not 1.1")?;
    ensure(smccc::psci_features(&Hvc, 0xc400_0003) == 0, "CPU_ON is not there")?;
    ensure(smccc::psci_features(&Hvc, 0x8400_0001) < 0, "CPU_SUSPEND is there")?;
    let identity = core::info()?;
    ensure_equal("the ABI version", identity.abi_version.into(), ABI_VERSION.into())?;
    ensure_equal("the VM's number", identity.vm.into(), info.header().vm.into())?;
    ensure_equal("the vCPU's number", identity.vcpu.into(), vcpu::current() as u64)?;
    for &group in Group::ALL {
        let entry = info.group(group).ok_or("a group is not in the info page")?;
        let told = core::group(group as u64)?;
        ensure_equal("a group's calls", told.calls.into(), entry.calls.into())?;
        ensure_equal(
            "a group's version",
            told.version.into(),
            (u64::from(entry.major) << 16) + u64::from(entry.minor),
        )?;
    }
    for &key in LimitKey::ALL {
        ensure_equal("a limit", core::limit(key)?, key.value())?;
    }
    ensure_equal("the first NOP", core::nop()?, 1)?;
    ensure_equal("the second NOP", core::nop()?, 2)?;
    ensure(vcpu::state(0)? == Some(RunState::Running), "I am not running")?;
    let record = vcpu_area::record(0).ok_or("no vCPU record")?;
    ensure_equal("my state in the vCPU area", record.run_state, RunState::Running as u64)?;
    // On a machine with a clock the call and the area say the same of it, the call a moment later.
    let Some(now) = time::since_1970() else {
        let code = time::clock(ClockKind::Wall).err().map(|error| error.code());
        return ensure(code == Some(Code::State), "there is no wall clock, and TIME.CLOCK tells it");
    };
    let told = time::clock(ClockKind::Wall)?;
    let later = Duration::from_nanos(told.ns).checked_sub(now).ok_or("the wall clock goes back")?;
    ensure(now.as_secs() > 1_700_000_000 && later < Duration::from_secs(10), "the wall clock is not that of today")
}

/// Makes calls that must be refused and prints what the library makes of the refusals.
pub(crate) fn refusals(info: &Info) -> Result<(), Failure> {
    let ram = info.mem("ram")?.handle;
    let place = Ipa::new(0x8000_0800).ok_or("no address")?;
    if let Err(error) = memory::map(ram, 0, place, 1, READ) {
        println!("{error}");
    }
    let stranger = PortHandle(Handle::from_bits(0xffff));
    for refused in [event::send(stranger), event::send(PortHandle(ram.0)), vcpu::state(9).map(drop)] {
        if let Err(error) = refused {
            println!("{error}");
        }
    }
    let code = memory::unmap(place.page_base(), 1).err().map(|error| error.code());
    ensure(code == Some(Code::NotMapped), "unmapping nothing is not refused")
}

/// Logs a line on each level.
pub(crate) fn logging() {
    log::error!("a line of level {}", "error");
    log::warn!("a line of level {}", "warn");
    log::info!("a line of level {}", "info");
    log::debug!("a line of level {}", "debug");
    log::trace!("a line of level {}", "trace");
    println!("{:>150}", "a line that takes two calls");
}
