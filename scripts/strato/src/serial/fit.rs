//! What a board on a serial line cannot give: scenarios that need what QEMU alone has. Called by `strato test` and `run`.

use crate::system::{Board, Level, System};

/// The least level of the log that prints the hypervisor's last lines: `info`.
const HEARD: u32 = 3;

/// Returns why `system` cannot be run on a board, if it cannot.
#[must_use]
pub fn unfit(system: &System) -> Option<String> {
    if system.board == Some(Board::QemuVirt) {
        return Some("it is for board qemu-virt alone".into());
    }
    if system.entered_at != Level::El2 {
        return Some("a board's firmware enters the image at EL2".into());
    }
    if system.reset.is_some() {
        return Some("it is reset by QEMU's monitor".into());
    }
    if system.cpu != "cortex-a72" {
        return Some(format!("it is for a core like QEMU's `{}`, and the board's is a Cortex-A72", system.cpu));
    }
    (system.log_level < HEARD).then(|| "its log leaves out the lines by which the end of a run is known".into())
}

#[cfg(test)]
mod tests {
    use crate::system::{self, Source};
    use std::path::Path;

    #[test]
    fn what_a_board_cannot_give_is_said() {
        let unfit = |keys: &str| {
            let text = format!("[system]\n{keys}\n[[vm]]\nname = \"a\"\nimage = \"hello\"\nmemory = \"1MiB\"\n");
            let source = Source { path: "a.toml".into(), text };
            super::unfit(&system::parse(&source, Path::new("."), "a").unwrap()).unwrap_or_default()
        };
        assert_eq!(unfit(""), "");
        assert_eq!(unfit("counted = true\nphysical = true\ndamage = \"panic\"\nboard = \"rpi4\""), "");
        assert!(unfit("board = \"qemu-virt\"").contains("qemu-virt alone"));
        assert!(unfit("entered_at = \"EL1\"").contains("at EL2"));
        assert!(unfit("cpu = \"max\"").contains("`max`"));
        assert!(unfit("reset = \"kept\"").contains("monitor"));
        assert!(unfit("log = \"warning\"").contains("end of a run"));
    }
}
