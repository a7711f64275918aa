//! Loads the images of a system and checks that they fit. Called by the commands; where the bytes come from (a file, a
//! package that is built first) is the caller's `Supply`.

use std::path::PathBuf;

use super::{Image, fit};
use crate::system::{ImageRef, Problem, Refused, Source, System, Vm};

/// Where images come from.
pub trait Supply {
    /// Returns the file that holds the image, built if need be.
    ///
    /// # Errors
    /// The image is not there ([`Absent`]), or its build failed.
    fn file(&mut self, image: &ImageRef, has_fp: bool) -> anyhow::Result<Result<PathBuf, Absent>>;
}

/// Why there is no such image, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Why, to stand next to the name.
    pub why: String,
    /// What to do.
    pub fix: String,
}

/// An image and the file that it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// The ELF, for debuggers and backtraces.
    pub file: PathBuf,
}

/// Returns the image of every VM, in the order of the VMs.
///
/// # Errors
/// [`Refused`] with every image that is absent, no image, or does not fit; or the failure of a build.
pub fn images(system: &System, source: &Source, supply: &mut dyn Supply) -> anyhow::Result<Vec<Loaded>> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut images = Vec::new();
    for (number, vm) in system.vms.iter().enumerate() {
        match one(vm, supply)? {
            Ok(loaded) => {
                problems.extend(fit::misfits(system, number, vm, &loaded.image));
                images.push(loaded);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(images) } else { Err(Refused::new(source.clone(), problems).into()) }
}

fn one(vm: &Vm, supply: &mut dyn Supply) -> anyhow::Result<Result<Loaded, Problem>> {
    let file = match supply.file(&vm.image.value, vm.has_fp)? {
        Ok(file) => file,
        Err(absent) => {
            let title = format!("the image of `{}` is missing", vm.label.value);
            return Ok(Err(Problem::new(title, &vm.image.span, absent.why, absent.fix)));
        }
    };
    let bytes = std::fs::read(&file)?;
    Ok(super::read(&bytes).map(|image| Loaded { image, file }).map_err(|flaw| fit::flawed(vm, &flaw)))
}
