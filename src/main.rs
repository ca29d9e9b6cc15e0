//! The `hogline` program.

fn main() {}
