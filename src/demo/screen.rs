//! What the audience sees: sections, sentences, blocks of YAML, and one live line. Colour only on a terminal.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
};

/// In front of a sentence.
const MARGIN: &str = "   ";

/// The way something looks, on a terminal that may have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Title,
    Good,
    Bad,
}

impl Look {
    /// The number of the escape sequence (ECMA-48 §8.3.117).
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Title => "1",
            Self::Good => "32",
            Self::Bad => "31",
        }
    }
}

/// What was written last, from which the next knows whether it needs a blank line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Nothing,
    Text,
    Line,
    /// A live line that the next one replaces.
    OpenLine,
}

/// Writes for people. Every method fails when the output is gone.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    terminal: bool,
    colours: bool,
    last: Last,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("terminal", &self.terminal).field("last", &self.last).finish_non_exhaustive()
    }
}

impl Screen {
    /// Standard output.
    pub(super) fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        // https://no-color.org: present and not empty, whatever it says.
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { out: Box::new(io::stdout()), terminal, colours: terminal && !no_colour, last: Last::Nothing }
    }

    /// Whether the live line is updated in place.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// `text`, looking like this where there are colours.
    pub(super) fn paint(&self, look: Look, text: &str) -> String {
        match look {
            Look::Plain => text.to_owned(),
            _ if self.colours => format!("\x1b[{}m{text}\x1b[0m", look.code()),
            _ => text.to_owned(),
        }
    }

    /// Begins a section.
    pub(super) fn section(&mut self, title: &str) -> io::Result<()> {
        self.begin_paragraph()?;
        let title = self.paint(Look::Title, title);
        writeln!(self.out, "{title}")?;
        self.end(Last::Text)
    }

    /// A paragraph; its lines stay as they are.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.say_in(Look::Plain, text)
    }

    /// A paragraph that looks like this.
    pub(super) fn say_in(&mut self, look: Look, text: &str) -> io::Result<()> {
        self.begin_paragraph()?;
        for line in text.lines() {
            let line = self.paint(look, line);
            let margin = if line.is_empty() { "" } else { MARGIN };
            writeln!(self.out, "{margin}{line}")?;
        }
        self.end(Last::Text)
    }

    /// A block that can be copied: indented by this many spaces and nothing else.
    pub(super) fn block(&mut self, spaces: usize, text: &str) -> io::Result<()> {
        self.begin_paragraph()?;
        for line in text.lines() {
            writeln!(self.out, "{:spaces$}{line}", "")?;
        }
        self.end(Last::Text)
    }

    /// A line that says how things are now: replaced by the next on a terminal, and kept elsewhere.
    pub(super) fn live(&mut self, line: &str) -> io::Result<()> {
        self.begin_line()?;
        if self.terminal {
            write!(self.out, "{MARGIN}{line}")?;
            return self.end(Last::OpenLine);
        }
        writeln!(self.out, "{MARGIN}{line}")?;
        self.end(Last::Line)
    }

    /// A line that says that something happened. It stays, and so does the live line from just before it.
    pub(super) fn event(&mut self, line: &str) -> io::Result<()> {
        match self.last {
            Last::OpenLine => writeln!(self.out)?,
            Last::Nothing | Last::Text | Last::Line => self.begin_line()?,
        }
        writeln!(self.out, "{MARGIN}{line}")?;
        self.end(Last::Line)
    }

    fn begin_paragraph(&mut self) -> io::Result<()> {
        match self.last {
            Last::Nothing => Ok(()),
            Last::Text | Last::Line => writeln!(self.out),
            Last::OpenLine => write!(self.out, "\n\n"),
        }
    }

    fn begin_line(&mut self) -> io::Result<()> {
        match self.last {
            Last::Nothing | Last::Line => Ok(()),
            Last::Text => writeln!(self.out),
            // To the first column, and clear the line (ECMA-48 §8.3.41).
            Last::OpenLine => write!(self.out, "\r\x1b[2K"),
        }
    }

    fn end(&mut self, last: Last) -> io::Result<()> {
        self.last = last;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(terminal: bool, colours: bool) -> String {
        let paper = Paper::default();
        let mut screen = Screen { out: Box::new(paper.clone()), terminal, colours, last: Last::Nothing };
        screen.section("1  Title").unwrap();
        screen.say("one\ntwo").unwrap();
        screen.live("a").unwrap();
        screen.live("b").unwrap();
        screen.event("it happened").unwrap();
        screen.live("c").unwrap();
        screen.block(4, "k:\n- v").unwrap();
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_file_gets_every_line_and_no_escape_sequence() {
        let expected = "1  Title\n\n   one\n   two\n\n   a\n   b\n   it happened\n   c\n\n    k:\n    - v\n";
        assert_eq!(written(false, false), expected);
    }

    #[test]
    fn a_terminal_without_colours_gets_live_lines_that_replace_each_other() {
        let expected = "1  Title\n\n   one\n   two\n\n   a\r\x1b[2K   b\n   it happened\n   c\n\n    k:\n    - v\n";
        assert_eq!(written(true, false), expected);
    }

    #[test]
    fn colours_surround_what_they_colour() {
        assert!(written(true, true).starts_with("\x1b[1m1  Title\x1b[0m\n"));
    }
}
