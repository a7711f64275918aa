//! Names in a system file: VM labels looked up with a suggestion, and what a name may look like.
//! Called by `manifest` and `check`.

use super::model::System;
use super::problem::{Problem, Span};
use super::reader::{Problems, nearest};

/// Most bytes of a VM's label: the info page keeps 32, one of them zero.
pub const LABEL_MAX: usize = strato_abi::info_page::LABEL_LEN - 1;
/// Most bytes of a handle's name: tables keep 40, one of them zero.
pub const NAME_MAX: usize = strato_abi::info_page::NAME_LEN - 1;

/// The labels of a system's VMs.
#[derive(Debug)]
pub struct Names(Vec<String>);

impl Names {
    /// Returns the labels of `system`.
    #[must_use]
    pub fn of(system: &System) -> Self {
        Self(system.vms.iter().map(|vm| vm.label.value.clone()).collect())
    }

    /// Returns the number of the VM that is called `label`; an unknown one is a problem at `span`.
    #[must_use]
    pub fn vm(&self, label: &str, span: &Span, problems: &Problems) -> Option<usize> {
        let found = self.0.iter().position(|name| name == label);
        if found.is_none() {
            let fix = match nearest(label, self.0.iter().map(String::as_str)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("VMs of this system: {}", self.0.join(", ")),
            };
            problems.add(Problem::new(format!("there is no VM `{label}`"), span, "unknown VM", fix));
        }
        found
    }
}

/// Returns why `name` cannot be a label (`max` = [`LABEL_MAX`]) or a handle's name ([`NAME_MAX`]).
#[must_use]
pub fn flaw(name: &str, max: usize) -> Option<String> {
    if name.is_empty() {
        return Some("it is empty".into());
    }
    if name.len() > max {
        return Some(format!("it has {} characters, the limit is {max}", name.len()));
    }
    let odd = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'))?;
    Some(format!("it contains `{}`", odd.escape_default()))
}
