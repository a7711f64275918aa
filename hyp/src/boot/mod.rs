//! Boot: from the first line of Rust to the hand-over, `boot::start`.

pub mod device_tree;
