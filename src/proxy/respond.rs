//! Step 5, respond: an upstream's answer made ours, or an answer of our own.

use std::sync::Arc;

use glooshot_api::plan::Disruption;
use http::{HeaderValue, StatusCode, Version};
use hyper::body::Bytes;

use super::{
    body::{ResponseBody, Tunnel},
    connection::Caller,
    error::{Flag, OVERLOADED, Stop, UpstreamFailure, Verdict},
    exchange::Exchange,
    fault::LiveFault,
    field_name,
    fields::Fields,
    forward::Forwarded,
    grpc::GrpcStatus,
    head::ResponseHead,
    hop_by_hop,
    name::Name,
    trailers,
};

/// A response of the proxy: its head, and where its body comes from.
pub(crate) type Answer = (ResponseHead, ResponseBody);

/// The response of an exchange, however it went.
pub(crate) fn respond(caller: &Caller, mut exchange: Box<Exchange>, outcome: Result<Forwarded, Stop>) -> Answer {
    let closing = exchange.worker.is_draining();
    let (mut head, body) = match outcome {
        Ok(forwarded) if forwarded.response.status == StatusCode::SWITCHING_PROTOCOLS => {
            return switch(caller, exchange, forwarded);
        }
        Ok(forwarded) => forward(caller, exchange, forwarded),
        Err(Stop::Injected(fault)) => abort(&mut exchange, &fault),
        Err(Stop::Own) => own(ResponseHead::new(StatusCode::OK), None, &mut exchange, Flag::None),
        Err(Stop::Client(reject)) => {
            exchange.worker.metrics.rejected(reject);
            caller.connection.reject();
            error(&mut exchange, reject.verdict())
        }
        Err(Stop::Upstream(failure)) => error(&mut exchange, failure.verdict()),
        Err(Stop::Overloaded) => error(&mut exchange, OVERLOADED),
    };
    // HTTP/2 says goodbye with a GOAWAY, for the whole connection.
    if closing && !caller.connection.is_multiplexed() {
        head.fields.set(Name::Connection, &HeaderValue::from_static("close"));
    }
    (head, body)
}

/// The upstream's answer, without what belongs to its connection.
fn forward(caller: &Caller, mut exchange: Box<Exchange>, forwarded: Forwarded) -> Answer {
    let Forwarded { response: mut head, lease, .. } = forwarded;
    // HTTP/1 is held to both where its head is read.
    let is_garbage = head.fields.len() > exchange.worker.shared.limits.response_headers
        || (head.version == Version::HTTP_2 && !field_name::are_tokens(&head.fields));
    if is_garbage {
        return error(&mut exchange, UpstreamFailure::Garbage.verdict());
    }
    exchange.answered(head.status, Flag::None);
    exchange.answered_call(&head.fields);
    let version = std::mem::replace(&mut head.version, Version::HTTP_11);
    // RFC 9112 §6.3: a length beside a transfer coding is void; the framing is written anew from the body.
    if head.fields.has(Name::TransferEncoding) {
        head.fields.remove(Name::ContentLength);
    }
    hop_by_hop::strip(&mut head.fields);
    trailers::strip_announced(&mut head.fields);
    mark(caller, &exchange, version, &mut head.fields);
    (head, ResponseBody::upstream(exchange, lease))
}

/// A switch of protocols: passed on only to a client that asked for it.
fn switch(caller: &Caller, mut exchange: Box<Exchange>, forwarded: Forwarded) -> Answer {
    let Forwarded { response: mut head, may_switch, lease } = forwarded;
    let token = hop_by_hop::upgrade_token(&head.fields).filter(|_| may_switch);
    // One that switches in the middle of the request is not taken at its word.
    let (Some(token), Some(upstream)) = (token, lease.switched()) else {
        return error(&mut exchange, UpstreamFailure::Switched.verdict());
    };
    exchange.answered(head.status, Flag::None);
    hop_by_hop::strip(&mut head.fields);
    head.fields.set(Name::Connection, &HeaderValue::from_static("upgrade"));
    head.fields.set(Name::Upgrade, &token);
    mark(caller, &exchange, head.version, &mut head.fields);
    caller.connection.switch();
    (head, ResponseBody::Switched(Box::new(Tunnel { upstream, exchange })))
}

/// What every response carries: our Via, which names the version that the upstream spoke, and the marker of a fault that touched it.
fn mark(caller: &Caller, exchange: &Exchange, version: Version, fields: &mut Fields) {
    fields.add(Name::Via, caller.front.via.of(version));
    if let Some(marker) = exchange.marker() {
        fields.set(Name::XGlooshotFault, marker);
    }
}

/// The answer of an experiment in the place of the service.
fn abort(exchange: &mut Exchange, fault: &Arc<LiveFault>) -> Answer {
    exchange.aborted(fault);
    let mut head = ResponseHead::new(StatusCode::OK);
    let mut text = Some(Bytes::from_static(b"fault injected by glooshot\n"));
    match fault.disruption {
        Disruption::AbortGrpc(code) => {
            // gRPC over HTTP/2, "Trailers-Only": the status stands in the header block and the HTTP status is 200.
            text = None;
            head.fields.add(Name::ContentType, &HeaderValue::from_static("application/grpc"));
            head.fields.add(Name::GrpcStatus, &HeaderValue::from(code));
            head.fields.add(Name::GrpcMessage, &HeaderValue::from_static("fault injected by glooshot"));
        }
        Disruption::AbortHttp(status) => {
            head.status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            head.fields.add(Name::ContentType, &HeaderValue::from_static("text/plain"));
        }
        Disruption::Delay { .. } | Disruption::ResetConnection | Disruption::DelayConnection { .. } => {}
    }
    head.fields.add(Name::XGlooshotFault, &fault.marker);
    own(head, text, exchange, Flag::FaultAbort)
}

/// Names whose fault an error is; where there is no account, as for what is no request, that is all.
pub(crate) fn named(verdict: Verdict) -> (ResponseHead, Bytes) {
    let mut head = ResponseHead::new(verdict.status);
    head.fields.add(Name::ContentType, &HeaderValue::from_static("text/plain"));
    head.fields.add(Name::XGlooshotError, &HeaderValue::from_static(verdict.header));
    (head, Bytes::from_static(verdict.header.as_bytes()))
}

/// The answer to an error, naming whose fault it is.
fn error(exchange: &mut Exchange, verdict: Verdict) -> Answer {
    let (mut head, text) = named(verdict);
    let fields = &mut head.fields;
    if let Some(marker) = exchange.marker() {
        fields.add(Name::XGlooshotFault, marker);
    }
    if verdict.status == StatusCode::METHOD_NOT_ALLOWED {
        fields.add(Name::Allow, &HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if verdict.close && !exchange.is_multiplexed() {
        fields.add(Name::Connection, &HeaderValue::from_static("close"));
    }
    own(head, Some(text), exchange, verdict.flag)
}

/// Ends the account of an exchange that we answer ourselves.
fn own(mut head: ResponseHead, mut text: Option<Bytes>, exchange: &mut Exchange, flag: Flag) -> Answer {
    if exchange.is_call() {
        trailers_only(&mut head, text.take());
        exchange.answered_call(&head.fields);
    } else if exchange.head_only {
        // Over HTTP/1 the body would be left away in any case.
        let length = text.take().map_or(0, |text| text.len());
        head.fields.set(Name::ContentLength, &HeaderValue::from(length));
    }
    exchange.answered(head.status, flag);
    exchange.complete();
    (head, ResponseBody::Own(text))
}

/// Makes an answer one that clients of gRPC understand: HTTP 200, and the status in the head of a response without a body. What
/// they make of a plain 503 differs, and some take its text for a message.
fn trailers_only(head: &mut ResponseHead, text: Option<Bytes>) {
    if head.fields.has(Name::GrpcStatus) {
        return;
    }
    let status = std::mem::replace(&mut head.status, StatusCode::OK);
    let code = GrpcStatus::of_http(status).code();
    head.fields.set(Name::ContentType, &HeaderValue::from_static("application/grpc"));
    head.fields.add(Name::GrpcStatus, &HeaderValue::from(u16::from(code)));
    if let Some(why) = text.and_then(|text| HeaderValue::from_bytes(text.trim_ascii()).ok()) {
        head.fields.add(Name::GrpcMessage, &why);
    }
}
