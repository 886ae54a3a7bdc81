//! A WebSocket server of tungstenite's that sends back what it gets.

use tungstenite::{
    handshake::server::{ErrorResponse, Request, Response},
    http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
};

use crate::harness::Upstream;

/// A server that sends every message back, and agrees on the subprotocol `chat`.
pub fn echo() -> Upstream {
    Upstream::raw(|stream, _| {
        #[allow(clippy::result_large_err, reason = "the type of tungstenite's callback")]
        let choose = |request: &Request, mut response: Response| {
            if request.headers().get(SEC_WEBSOCKET_PROTOCOL).is_some_and(|asked| asked == "chat") {
                response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat"));
            }
            Ok::<_, ErrorResponse>(response)
        };
        let Ok(mut socket) = tungstenite::accept_hdr(stream.try_clone().unwrap(), choose) else { return };
        while let Ok(message) = socket.read() {
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                return;
            }
        }
    })
}
