//! Data paths behind the engine's one trait.

pub mod local;
pub mod redirect;
