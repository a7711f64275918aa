//! Links the image for the metal target: position independent, laid out by `hyp.ld`, with nothing left to resolve but
//! relative relocations, which `arch/entry.S` applies.

use std::env;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=hyp.ld");
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS")? == "none" {
        let script = format!("{}/hyp.ld", env::var("CARGO_MANIFEST_DIR")?);
        for argument in [
            format!("-T{script}").as_str(),
            // The target's own choice is a fixed address; code is PC-relative either way, and the last word counts.
            "-pie",
            "--no-dynamic-linker",
            // Pointers in .rodata are relocated before the final map makes it read-only.
            "-znotext",
            "-znorelro",
            "-znognustack",
            "-zmax-page-size=4096",
            "--build-id=sha1",
            "--orphan-handling=error",
        ] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
    Ok(())
}
