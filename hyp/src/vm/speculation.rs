//! Speculation: by which vectors the guests of a VM enter EL2. Decided by the manifest, or by the core where that is silent.

use strato_abi::plan::{VM_GUARDED, VM_PLAIN};

use crate::arch::errata::Guard;

/// Whether a VM's entries to EL2 are guarded against its branch history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speculation {
    /// Where the core needs it.
    ByCore,
    /// Nowhere.
    Plain,
    /// Everywhere.
    Guarded,
}

impl Speculation {
    /// Returns what the flags of a plan record say.
    #[must_use]
    pub const fn of(flags: u32) -> Self {
        if flags & VM_GUARDED != 0 {
            Self::Guarded
        } else if flags & VM_PLAIN != 0 {
            Self::Plain
        } else {
            Self::ByCore
        }
    }

    /// Returns the guard on a core that needs `needed`.
    #[must_use]
    pub fn guard(self, needed: Guard) -> Guard {
        match self {
            Self::ByCore => needed,
            Self::Plain => Guard::None,
            Self::Guarded => needed.max(Guard::Short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_decides_and_else_the_core() {
        let guards =
            |flags| [Guard::None, Guard::Short, Guard::Long].map(|needed| Speculation::of(flags).guard(needed));
        assert_eq!(guards(0), [Guard::None, Guard::Short, Guard::Long]);
        assert_eq!(guards(VM_PLAIN), [Guard::None; 3]);
        assert_eq!(guards(VM_GUARDED), [Guard::Short, Guard::Short, Guard::Long]);
    }
}
