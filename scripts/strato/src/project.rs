//! The workspace on disk: where it is, how its packages are built, where systems are found.
//! Owns every call of cargo. Never reads what was built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::exit::{Missing, Usage};
use crate::image::load::{Absent, Supply};
use crate::pack::damage::Damage;
use crate::system::reader::nearest;
use crate::system::{ImageRef, System};

/// Target of the hypervisor and of guests without FP.
pub const TARGET: &str = "aarch64-unknown-none-softfloat";
/// Target of guests with FP.
pub const FP_TARGET: &str = "aarch64-unknown-none";

/// A form of the hypervisor: a profile of cargo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// What boots on a machine.
    #[default]
    Release,
    /// The same with its assertions and the page-table monitor in it.
    Checked,
}

impl Form {
    /// Returns the name of the profile.
    #[must_use]
    pub fn profile(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Checked => "checked",
        }
    }
}

/// The workspace that this tool belongs to.
#[derive(Debug)]
pub struct Project {
    root: PathBuf,
    form: Form,
    built: BTreeMap<(String, &'static str, Form), PathBuf>,
}

impl Project {
    /// Returns the workspace around the current folder, else the one that the tool was built in.
    ///
    /// # Errors
    /// There is none.
    pub fn find() -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("cannot tell the current folder")?;
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.ancestors().chain(built_in.ancestors()).find(|folder| folder.join("scripts/strato").is_dir());
        let root = root.context("this is not a Strato workspace; run the tool inside of it")?.to_owned();
        Ok(Self { root, form: Form::Release, built: BTreeMap::new() })
    }

    /// Makes `form` that of the hypervisor from now on.
    pub fn take(&mut self, form: Form) {
        self.form = form;
    }

    /// Returns the root folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a path as messages show it: relative to the root if it lies there.
    #[must_use]
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// Returns the system files that tests consider: `scripts/systems/*.toml`, then `example-guests/*/system.toml`.
    #[must_use]
    pub fn systems(&self) -> Vec<PathBuf> {
        let list = |folder: &str| {
            let entries = std::fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            paths
        };
        let systems = list("scripts/systems").into_iter().filter(|path| path.extension().is_some_and(|e| e == "toml"));
        let examples =
            list("example-guests").into_iter().map(|path| path.join("system.toml")).filter(|path| path.is_file());
        systems.chain(examples).collect()
    }

    /// Returns the system file that `name` means: a path, a file of `scripts/systems`, or an example guest.
    ///
    /// # Errors
    /// [`Usage`]: there is no such system.
    pub fn system(&self, name: &str) -> anyhow::Result<PathBuf> {
        let is_path = name.contains('/') || Path::new(name).extension().is_some_and(|e| e == "toml");
        let candidates = if is_path {
            vec![PathBuf::from(name), Path::new(name).join("system.toml")]
        } else {
            vec![
                self.root.join(format!("scripts/systems/{name}.toml")),
                self.root.join(format!("example-guests/{name}/system.toml")),
            ]
        };
        if let Some(path) = candidates.iter().find(|path| path.is_file()) {
            return Ok(path.clone());
        }
        if is_path {
            let fix = "give the path of a system file, or of a folder with a `system.toml` in it".into();
            return Err(Usage { what: format!("there is no system file {name}"), fix }.into());
        }
        let known: Vec<String> = self.systems().iter().map(|path| short_name(path)).collect();
        let fix = match nearest(name, known.iter().map(String::as_str)) {
            Some(close) => format!("did you mean `{close}`?"),
            None => {
                let (systems, is_example) = (self.systems(), |path: &&PathBuf| path.ends_with("system.toml"));
                let examples: Vec<String> = systems.iter().filter(is_example).map(|path| short_name(path)).collect();
                let examples = examples.join(", ");
                format!(
                    "give the path of a system file, a name out of scripts/systems, such as demo, or an example: {examples}"
                )
            }
        };
        Err(Usage { what: format!("there is no system `{name}`"), fix }.into())
    }

    /// Returns the hypervisor's ELF, built.
    ///
    /// # Errors
    /// [`Missing`] toolchain, or the build failed.
    pub fn hypervisor(&mut self) -> anyhow::Result<PathBuf> {
        self.build("strato-hyp", TARGET, self.form)
    }

    /// Returns the ELF of the hypervisor that a system boots: one that is damaged may need the monitor to notice.
    ///
    /// # Errors
    /// As [`Project::hypervisor`].
    pub fn hypervisor_of(&mut self, system: &System) -> anyhow::Result<PathBuf> {
        let needed = if system.damage.is_some_and(Damage::is_for_monitor) { Form::Checked } else { Form::Release };
        self.build("strato-hyp", TARGET, self.form.max(needed))
    }

    /// Returns the ELF of a guest package, built.
    ///
    /// # Errors
    /// [`Missing`] toolchain, or the build failed.
    pub fn guest(&mut self, package: &str, has_fp: bool) -> anyhow::Result<PathBuf> {
        self.build(package, if has_fp { FP_TARGET } else { TARGET }, Form::Release)
    }

    /// Returns the names of the example guests.
    #[must_use]
    pub fn guests(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join("example-guests")).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.path().join("Cargo.toml").is_file());
        let mut names: Vec<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn build(&mut self, package: &str, target: &'static str, form: Form) -> anyhow::Result<PathBuf> {
        let key = (package.to_owned(), target, form);
        if let Some(path) = self.built.get(&key) {
            return Ok(path.clone());
        }
        self.need_target(target)?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["build", "--quiet", "--locked", "--profile", form.profile(), "--target", target])
            .args(["--package", package, "--bins"])
            .arg("--message-format=json-render-diagnostics")
            .current_dir(&self.root)
            .stdin(Stdio::null());
        let notice = match form {
            Form::Release => format!("building {package}"),
            Form::Checked => format!("building {package}, checked"),
        };
        let output = patiently(command, &notice)?;
        if !output.status.success() {
            let messages = String::from_utf8_lossy(&output.stderr).into_owned();
            let profile = form.profile();
            bail!("{messages}`cargo build --profile {profile} --target {target} --package {package}` failed");
        }
        let path = executable(&output.stdout).with_context(|| format!("the package `{package}` builds no program"))?;
        self.built.insert(key, path.clone());
        Ok(path)
    }

    // Without its target folder rustc fails much later, with a message that names no cure.
    fn need_target(&self, target: &str) -> anyhow::Result<()> {
        if sysroot()?.join("lib/rustlib").join(target).is_dir() {
            return Ok(());
        }
        let fix = format!("install it with `rustup target add {target}`, or run scripts/run, which does");
        Err(Missing { what: format!("the Rust target {target} is not installed"), fix }.into())
    }
}

impl Supply for Project {
    fn file(&mut self, image: &ImageRef, has_fp: bool) -> anyhow::Result<Result<PathBuf, Absent>> {
        match image {
            ImageRef::Path(path) if path.is_file() => Ok(Ok(path.clone())),
            ImageRef::Path(path) => Ok(Err(Absent {
                why: format!("there is no file {}", self.shown(path)),
                fix: "correct the path, which begins at the system file's folder, or build the image".into(),
            })),
            ImageRef::Package(name) => {
                let guests = self.guests();
                if guests.contains(name) {
                    return self.guest(name, has_fp).map(Ok);
                }
                let fix = match nearest(name, guests.iter().map(String::as_str)) {
                    Some(close) => format!("did you mean \"{close}\"?"),
                    None => "name a package of example-guests, or the path of an ELF file with a `/` in it".into(),
                };
                Ok(Err(Absent { why: format!("there is no guest package `{name}`"), fix }))
            }
        }
    }
}

/// Returns the folder of the Rust toolchain.
///
/// # Errors
/// `rustc` does not run.
pub fn sysroot() -> anyhow::Result<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).stdin(Stdio::null()).output();
    let output = output.context("cannot start rustc")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Returns the name that a user gives a system by: `demo`, or the example's folder.
#[must_use]
pub fn short_name(path: &Path) -> String {
    crate::system::default_name(path)
}

// Warnings are for those who build by hand; what takes long is announced.
fn patiently(mut command: Command, notice: &str) -> anyhow::Result<Output> {
    let (sender, result) = mpsc::channel();
    thread::spawn(move || sender.send(command.output()));
    let output = match result.recv_timeout(Duration::from_secs(2)) {
        Err(RecvTimeoutError::Timeout) => {
            eprintln!("{notice}");
            result.recv()?
        }
        early => early?,
    };
    output.context("cannot start cargo")
}

// The last artifact with an executable is the package's program; dependencies have none.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    let text = String::from_utf8_lossy(messages);
    let values = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    values.filter_map(|value| value.get("executable")?.as_str().map(PathBuf::from)).next_back()
}
