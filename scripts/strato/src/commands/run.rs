//! `strato run`: boots one system and shows each VM's lines with its name. Called by `commands::run`.

use std::time::Duration;

use super::place::{self, Place};
use super::resolve::Resolver;
use super::{boot, build, ready, trace};
use crate::cli::{Machine, Serial};
use crate::exit::{FAILED, INTERRUPTED, PASSED, TIMED_OUT, Usage, say, say_in_color};
use crate::machine::End;
use crate::project::Project;
use crate::system::System;
use crate::trace::explain;
use crate::transcript::show::Palette;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name or path of the system.
    pub system: String,
    /// The machine.
    pub machine: Machine,
    /// The board, if it is to run on one.
    pub serial: Serial,
    /// Cores, or as the system says.
    pub cores: Option<u8>,
    /// Time limit, or as the system says.
    pub timeout_s: Option<u32>,
    /// Whether lines are shown as they are.
    pub is_raw: bool,
    /// What is explained afterwards.
    pub explain: Option<Explain>,
}

/// What `--explain` asks for.
#[derive(Clone, Debug)]
pub struct Explain {
    /// log2 of the frames of each core's ring.
    pub ring_order: u32,
    /// The VM that alone is explained.
    pub vm: Option<String>,
}

/// Boots a system and returns 0 when every VM ended as expected.
///
/// # Errors
/// QEMU or the toolchain is missing, the serial line cannot be had, the system is refused, or a build failed.
pub fn run(project: &mut Project, request: &Request) -> anyhow::Result<u8> {
    place::can_be_had(&request.serial, request.machine.board)?;
    let mut ready = ready(project, &request.system)?;
    ready.system.is_followed &= !request.is_raw;
    let mut place = place::of(&request.machine, &request.serial, request.cores, &ready.system)?;
    match &mut place {
        Place::Qemu(_, virt) => virt.is_traced = request.explain.is_some(),
        Place::Board(line) => line.is_typed = ready.system.vms.iter().any(|vm| vm.has_console_input),
    }
    let cores = place.cores();
    let image = match &request.explain {
        Some(explain) => {
            known_vm(&ready.system, explain.vm.as_deref())?;
            build::traced_image(project, &ready, cores, explain.ring_order)?
        }
        None => build::image_to_run(project, &ready, Some(cores))?,
    };
    let limit = Duration::from_secs(u64::from(request.timeout_s.unwrap_or(ready.system.time_limit_s)));
    let palette = Palette::new(ready.system.vms.iter().map(|vm| vm.label.value.clone()));
    let resolver = if request.is_raw {
        Resolver::default()
    } else {
        Resolver::new(&project.hypervisor_of(&ready.system)?, &ready)
    };
    let show = |line: &str| {
        if request.is_raw {
            return say(line);
        }
        say_in_color(palette.paint(line))?;
        let mut frames = resolver.explain(line).into_iter();
        frames.try_for_each(|frame| say_in_color(palette.paint(&format!("strato:     {frame}"))))
    };
    // The machine runs to its end even when nobody reads on, so that nothing of it stays behind.
    let mut shown = Ok(());
    let run = boot::boot(&place, &image, &ready, limit, |line| {
        if shown.is_ok() {
            shown = show(line);
        }
    })?;
    shown?;
    if let Some(instructions) = run.instructions {
        eprintln!("{instructions} instructions, of all cores together");
    }
    if let Some(explain) = &request.explain {
        let trace = trace::of(&run, &ready, place.is_counted())?;
        let files = trace::files(&ready);
        explain::lines(&trace, &trace::symbols(&files), explain.vm.as_deref()).iter().try_for_each(say)?;
    }
    verdict(&ready.system.name, &run)
}

fn known_vm(system: &System, vm: Option<&str>) -> anyhow::Result<()> {
    let labels = || system.vms.iter().map(|vm| vm.label.value.as_str());
    match vm {
        Some(vm) if !labels().any(|label| label == vm) => {
            let fix = format!("it has {}", labels().collect::<Vec<_>>().join(", "));
            Err(Usage { what: format!("`{}` has no VM `{vm}`", system.name), fix }.into())
        }
        _ => Ok(()),
    }
}

/// Says why a run failed, if it did, and returns the status.
///
/// # Errors
/// None today.
pub(super) fn verdict(name: &str, run: &boot::Run) -> anyhow::Result<u8> {
    if run.reasons.is_empty() {
        return Ok(PASSED);
    }
    let red = anstyle::AnsiColor::Red.on_default().bold();
    anstream::eprintln!("{red}{name}: failed{red:#}");
    for reason in &run.reasons {
        anstream::eprintln!("  {reason}");
    }
    Ok(match run.end {
        End::TimedOut | End::Silent { .. } => TIMED_OUT,
        End::Interrupted => INTERRUPTED,
        End::PoweredOff { .. }
        | End::Failed { .. }
        | End::Crashed { .. }
        | End::Told
        | End::TooLong
        | End::Lost { .. }
        | End::BeganAgain => FAILED,
    })
}
