//! Says hello.
fn main() {}
