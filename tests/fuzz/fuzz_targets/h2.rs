//! See `glooshot_fuzz::h2`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| glooshot_fuzz::h2::run(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    glooshot_fuzz::replay::arguments(glooshot_fuzz::h2::run)
}
