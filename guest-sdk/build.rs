//! Tells the build scripts of guests, which are all `link.rs`, where the linker script `guest.ld` is.

fn main() -> Result<(), std::env::VarError> {
    println!("cargo::rerun-if-changed=guest.ld");
    println!("cargo::metadata=ld={}/guest.ld", std::env::var("CARGO_MANIFEST_DIR")?);
    Ok(())
}
