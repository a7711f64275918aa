//! What the addresses in a transcript mean: functions and lines of the hypervisor and of each guest. Called by `run` and `test`.

use std::path::Path;

use super::Ready;
use crate::transcript::backtrace::{Symbols, address_after};
use crate::transcript::{BEFORE, Line};

/// Resolves the addresses in reports to functions and lines.
#[derive(Debug, Default)]
pub struct Resolver {
    hypervisor: Vec<u8>,
    guests: Vec<(String, Vec<u8>)>,
}

impl Resolver {
    /// Returns a resolver for a hypervisor and the images of a system; a file that cannot be read resolves nothing.
    #[must_use]
    pub fn new(hypervisor: &Path, ready: &Ready) -> Self {
        let read = |path: &Path| std::fs::read(path).unwrap_or_default();
        let vms = ready.system.vms.iter().zip(&ready.images);
        let guests = vms.map(|(vm, loaded)| (vm.label.value.clone(), read(&loaded.file))).collect();
        Self { hypervisor: read(hypervisor), guests }
    }

    /// Returns the functions and lines that a line of the transcript points at, to be shown under it.
    #[must_use]
    pub fn explain(&self, line: &str) -> Vec<String> {
        // A panic that is said again: only an image of the same build says it.
        if let Some(panic) = line.strip_prefix(BEFORE).filter(|line| line.starts_with("strato: panic: ")) {
            return self.explain(panic);
        }
        match Line::parse(line) {
            Line::Guest { label, text } => return self.explain_guest(label, text),
            Line::Hypervisor(_) => {}
            Line::Other(_) => return Vec::new(),
        }
        if line.starts_with("strato: panic: ") {
            let Some(address) = address_after(line, "+") else { return Vec::new() };
            // A return address points behind its call.
            return resolve(&self.hypervisor, address.saturating_sub(1));
        }
        let named = |(label, _): &&(String, Vec<u8>)| line.contains(&format!("vm {label}: "));
        let Some((_, file)) = self.guests.iter().find(named) else { return Vec::new() };
        let mut frames: Vec<String> = address_after(line, "pc ").into_iter().flat_map(|pc| resolve(file, pc)).collect();
        // The caller, which the link register names only until a call was made; so it comes with a `?`.
        let caller = address_after(line, "lr ").filter(|lr| *lr != 0).map(|lr| resolve(file, lr.saturating_sub(1)));
        frames.extend(caller.into_iter().flatten().map(|frame| format!("{frame} ?")));
        frames
    }

    // What a guest writes leads to its own image only.
    fn explain_guest(&self, label: &str, text: &str) -> Vec<String> {
        let Some(address) = text.strip_prefix("panic: ").and_then(|rest| address_after(rest, "called from ")) else {
            return Vec::new();
        };
        let own = self.guests.iter().find(|(name, _)| name == label);
        own.map(|(_, file)| resolve(file, address.saturating_sub(1))).unwrap_or_default()
    }
}

fn resolve(file: &[u8], address: u64) -> Vec<String> {
    Symbols::of(file).map(|symbols| symbols.resolve(address)).unwrap_or_default()
}
