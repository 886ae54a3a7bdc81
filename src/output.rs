//! What a person reads: on standard error what happens, on standard output the result.
//!
//! A reader that has gone away (`glooshot run ... | head`) or a full disk never changes what the program does: the macros of
//! the standard library would panic, so they are denied in this crate.

use std::{
    fmt,
    io::{self, Write as _},
};

/// Says a line on standard error; nobody has to be listening.
pub(crate) fn say_line(line: fmt::Arguments<'_>) {
    // Where standard error is lost there is no other place to say so.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Says a line on standard error, as `eprintln!` does, but never panics.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::say_line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Writes a result to standard output. A reader that has seen enough is no error.
///
/// # Errors
/// When the output cannot be written for another reason.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
