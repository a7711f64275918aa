//! Whether a VM is made again when it has ended: reading that, and what it may leave to others. Called by `manifest` and `check`.

use strato_abi::plan::{CreateVm, VM_REBOOT, VM_RESTART};

use super::model::System;
use super::problem::{Problem, Span};
use super::reader::Table;

/// After which ends a VM is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// After none.
    Never,
    /// After those that are none with exit code 0.
    OnFailure,
    /// After those, and when it asks for it.
    Always,
}

/// When a VM is made again.
#[derive(Clone, Debug)]
pub struct Restart {
    /// After which ends.
    pub policy: Policy,
    /// How often in each span.
    pub limit: u8,
    /// That span, in seconds.
    pub window_s: u16,
    /// Where it stands.
    pub span: Span,
}

impl Restart {
    /// Returns the flags of the VM's record.
    #[must_use]
    pub const fn flags(&self) -> u32 {
        match self.policy {
            Policy::Never => 0,
            Policy::OnFailure => VM_RESTART,
            Policy::Always => VM_RESTART | VM_REBOOT,
        }
    }

    /// Writes it into the VM's record.
    pub const fn write(&self, record: &mut CreateVm) {
        record.flags |= self.flags();
        (record.restart_limit, record.restart_window_s) = (self.limit, self.window_s);
    }
}

/// Returns what the table of a VM says.
pub fn read(table: &Table<'_>) -> Restart {
    const POLICIES: [(&str, Policy); 3] =
        [("never", Policy::Never), ("on-failure", Policy::OnFailure), ("always", Policy::Always)];
    let policy = table.choice("restart", &POLICIES).unwrap_or(Policy::Never);
    let span = table.span_of("restart");
    let limit = table.integer("restart_limit", 1..=255);
    let window = table.integer("restart_window_s", 1..=3600);
    for (key, value) in [("restart_limit", &limit), ("restart_window_s", &window)] {
        if let Some(value) = value.as_ref().filter(|_| policy == Policy::Never) {
            table.problems().add(Problem::new(
                format!("`{key}` of a VM that is never restarted"),
                &value.span,
                "it means nothing without `restart`",
                "add `restart = \"on-failure\"` or `\"always\"`, or remove it",
            ));
        }
    }
    Restart {
        policy,
        limit: limit.and_then(|at| u8::try_from(at.value).ok()).unwrap_or(5),
        window_s: window.and_then(|at| u16::try_from(at.value).ok()).unwrap_or(10),
        span,
    }
}

/// Returns whether a VM that is made again may leave memory to others: what it shared is theirs for as long as they hold it.
#[must_use]
pub fn may_leave(system: &System, number: usize) -> bool {
    let is_restarted = system.vms.get(number).is_some_and(|vm| vm.restart.policy != Policy::Never);
    is_restarted && system.peers.iter().any(|peer| peer.of == number)
}
