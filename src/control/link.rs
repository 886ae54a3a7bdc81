//! How old a message can be at the most, without comparing two clocks.
//!
//! Each side puts the time of its own clock on each message (a stamp) and echoes the last stamp that came from the other side. A
//! message that echoes my stamp was composed after I had sent that stamp: by my own clock it is no older than that.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::proxy::Moment;

/// One end of a connection.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// The last stamp of the peer; 0 before the first.
    last: AtomicU64,
}

/// What a message says about its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamps {
    /// The sender's own time; means nothing to anybody else.
    pub(crate) stamp: u64,
    /// The last stamp that the sender had received; 0 if none.
    pub(crate) echo: u64,
}

impl Link {
    /// The stamps of a message that is composed now.
    pub(crate) fn stamps(&self) -> Stamps {
        Stamps { stamp: Moment::now().as_nanos(), echo: self.last.load(Ordering::Acquire) }
    }

    /// Takes the stamps of a message that has come; the earliest moment at which it can have been composed.
    pub(crate) fn received(&self, stamps: Stamps, now: Moment) -> Moment {
        self.last.store(stamps.stamp, Ordering::Release);
        // An echo from the future is a lie that would make the message younger than it is possible.
        Moment::from_nanos(stamps.echo).min(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000);

    #[test]
    fn a_message_is_no_older_than_the_stamp_that_it_echoes() {
        let link = Link::default();
        assert_eq!(link.received(Stamps { stamp: 77, echo: 400 }, NOW), Moment::from_nanos(400));
        assert_eq!(link.stamps().echo, 77);
    }

    #[test]
    fn a_message_that_echoes_nothing_may_be_of_any_age() {
        assert_eq!(Link::default().received(Stamps { stamp: 1, echo: 0 }, NOW), Moment::from_nanos(0));
    }

    #[test]
    fn an_echo_from_the_future_counts_as_now() {
        assert_eq!(Link::default().received(Stamps { stamp: 1, echo: 5_000 }, NOW), NOW);
    }
}
