//! HTTP/2 without a library: a raw client and a raw upstream that send any frame they are told to, and read what the peer
//! sends more strictly than RFC 9113 asks.

pub mod call;
pub mod client;
pub mod endpoint;
pub mod fields;
pub mod frame;
pub mod h2spec;
pub mod hpack;
mod huffman;
mod reader;
pub mod state;
pub mod upstream;

pub use call::Call;
pub use client::Client;
pub use fields::fields;
pub use frame::Frame;
pub use state::Stream;
pub use upstream::Upstream;

/// The first bytes of a client (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Error codes (RFC 9113 section 7).
pub mod code {
    pub const NO_ERROR: u32 = 0x0;
    pub const PROTOCOL_ERROR: u32 = 0x1;
    pub const REFUSED_STREAM: u32 = 0x7;
    pub const CANCEL: u32 = 0x8;
    pub const COMPRESSION_ERROR: u32 = 0x9;
    pub const ENHANCE_YOUR_CALM: u32 = 0xb;
}

/// Settings (RFC 9113 section 6.5.2).
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 0x1;
    pub const ENABLE_PUSH: u16 = 0x2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub const MAX_FRAME_SIZE: u16 = 0x5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;
}
