//! See `glooshot_fuzz::verdict`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| glooshot_fuzz::verdict::run(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    glooshot_fuzz::replay::arguments(glooshot_fuzz::verdict::run)
}
