//! What the long benches are made of: the proxy as a process of its own, what the kernel says about it, a service behind it.

pub mod figures;
pub mod finding;
pub mod machine;
pub mod on_core;
pub mod origin;
pub mod priority;
pub mod process;
pub mod released;
pub mod standstill;
pub mod usage;
