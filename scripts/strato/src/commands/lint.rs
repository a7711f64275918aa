//! `strato lint`: the rules on the source, then on what is built from it. Called by `commands::run`.

use anyhow::Context;

use crate::exit::{FAILED, PASSED, say};
use crate::lint::{Finding, barriers, guests, hypervisor, listing, source};
use crate::project::Project;
use crate::system::{self, model::Vm};

const LIST: &str = "guest-sdk/allowed-instructions.txt";
const NATIVE_LIST: &str = "guest-sdk/native-instructions.txt";

/// Checks the rules; `is_source_only` leaves out what has to be built. Returns 0 when no rule is broken.
///
/// # Errors
/// A file cannot be read, the toolchain is missing, or a build failed.
pub fn lint(project: &mut Project, is_source_only: bool) -> anyhow::Result<u8> {
    let mut findings = source::check(project.root()).context("cannot read the source")?;
    if !is_source_only {
        let program = project.hypervisor()?;
        let instructions = listing::disassemble(&program)?;
        findings.extend(hypervisor::check("strato-hyp", &instructions));
        findings.extend(barriers::check("strato-hyp", &instructions));
        findings.extend(audit(project)?);
    }
    for finding in &findings {
        say(finding)?;
    }
    let errors = findings.iter().filter(|finding| finding.is_error).count();
    say(format_args!("lint: {errors} error(s), {} warning(s)", findings.len() - errors))?;
    Ok(if errors == 0 { PASSED } else { FAILED })
}

fn audit(project: &mut Project) -> anyhow::Result<Vec<Finding>> {
    let list = std::fs::read_to_string(project.root().join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let (allowed, mut findings) = guests::Allowed::read(LIST, &list);
    let native = std::fs::read_to_string(project.root().join(NATIVE_LIST))
        .with_context(|| format!("cannot read {NATIVE_LIST}"))?;
    let (native, more) = allowed.clone().with_native(NATIVE_LIST, &native);
    findings.extend(more);
    for guest in project.guests() {
        let has_fp = has(project, &guest, |vm| vm.has_fp);
        let allowed = if has(project, &guest, |vm| vm.is_native) { &native } else { &allowed };
        let program = project.guest(&guest, has_fp)?;
        let own = format!("example-guests/{guest}/allowed-instructions.txt");
        let allowed = match std::fs::read_to_string(project.root().join(&own)) {
            Ok(text) => {
                let (allowed, more) = allowed.clone().with_own(&guest, &own, &text);
                findings.extend(more);
                allowed
            }
            Err(_) => allowed.clone(), // most have none
        };
        findings.extend(guests::check(&guest, &listing::disassemble(&program)?, &allowed));
    }
    Ok(findings)
}

// A guest is audited as its own system runs it; one without a system, or with a broken one, without FP and an MMU of its own.
fn has(project: &Project, guest: &str, what: fn(&Vm) -> bool) -> bool {
    let path = project.root().join("example-guests").join(guest).join("system.toml");
    system::load(&path, guest).is_ok_and(|(system, _)| system.vms.iter().any(what))
}
