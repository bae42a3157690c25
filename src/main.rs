//! The binary `annal`.

fn main() {}
