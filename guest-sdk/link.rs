//! The build script of every guest: `build = "<path to>/guest-sdk/link.rs"` in its Cargo.toml links it by `guest.ld`.

fn main() -> Result<(), std::env::VarError> {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS")? == "none" {
        let script = std::env::var("DEP_STRATO_GUEST_LD")?;
        println!("cargo::rerun-if-changed={script}");
        for argument in [format!("-T{script}").as_str(), "-zmax-page-size=4096", "-znognustack", "--build-id=none"] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
    Ok(())
}
