//! The signals that end a program: here they end its runs. Used by every loop that waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Makes the signals that end a program end its runs instead, so that no machine and no file outlives the tool.
///
/// # Errors
/// The system refuses to install a handler.
pub fn catch() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, flag().clone())?;
    }
    Ok(())
}

/// Returns whether the tool was asked to end.
#[must_use]
pub fn is_interrupted() -> bool {
    // Relaxed: nothing else is read because of it.
    flag().load(Ordering::Relaxed)
}

fn flag() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default)
}
