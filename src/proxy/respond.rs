//! Step 5, respond: an upstream's answer made ours, or an answer of our own.

use glooshot_api::plan::Disruption;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version,
    header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, UPGRADE, VIA},
};
use hyper::body::{Body as _, Bytes};

use super::{
    body::{ResponseBody, Tunnel},
    connection::Caller,
    error::{Flag, OVERLOADED, Stop, UpstreamFailure, Verdict},
    exchange::Exchange,
    fault::LiveFault,
    field_name,
    forward::Forwarded,
    grpc::GrpcStatus,
    hop_by_hop::{self, ERROR_HEADER, FAULT_HEADER},
    trailers,
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The response of an exchange, however it went.
pub(crate) fn respond(
    caller: &Caller,
    mut exchange: Exchange,
    outcome: Result<Forwarded, Stop>,
) -> Response<ResponseBody> {
    let closing = exchange.worker.is_draining();
    let mut response = match outcome {
        Ok(forwarded) if forwarded.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            return switch(caller, exchange, forwarded);
        }
        Ok(forwarded) => forward(caller, exchange, forwarded),
        Err(Stop::Injected(fault)) => abort(&mut exchange, &fault),
        Err(Stop::Own) => own(Response::new(ResponseBody::Own(None)), &mut exchange, Flag::None),
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
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The upstream's answer, without what belongs to its connection.
fn forward(caller: &Caller, mut exchange: Exchange, forwarded: Forwarded) -> Response<ResponseBody> {
    // HTTP/1 is held to both where its head is read.
    let headers = forwarded.response.headers();
    let is_garbage = headers.len() > exchange.worker.shared.limits.response_headers
        || (forwarded.response.version() == Version::HTTP_2 && !field_name::are_tokens(headers));
    if is_garbage {
        return error(&mut exchange, UpstreamFailure::Garbage.verdict());
    }
    let (mut parts, ()) = forwarded.response.into_parts();
    exchange.answered(parts.status, Flag::None);
    exchange.answered_call(&parts.headers);
    let version = std::mem::replace(&mut parts.version, Version::HTTP_11);
    // RFC 9112 §6.3: a length beside a transfer coding is void; the framing is written anew from the body.
    if parts.headers.contains_key(TRANSFER_ENCODING) {
        parts.headers.remove(CONTENT_LENGTH);
    }
    hop_by_hop::strip(&mut parts.headers);
    trailers::strip_announced(&mut parts.headers);
    mark(caller, &exchange, version, &mut parts.headers);
    Response::from_parts(parts, ResponseBody::upstream(exchange, forwarded.lease))
}

/// A switch of protocols: passed on only to a client that asked for it.
fn switch(caller: &Caller, mut exchange: Exchange, forwarded: Forwarded) -> Response<ResponseBody> {
    let Forwarded { response, may_switch, lease } = forwarded;
    let token = hop_by_hop::upgrade_token(response.headers()).filter(|_| may_switch);
    // One that switches in the middle of the request is not taken at its word.
    let (Some(token), Some(upstream)) = (token, lease.switched()) else {
        return error(&mut exchange, UpstreamFailure::Switched.verdict());
    };
    let (mut parts, _) = response.into_parts();
    exchange.answered(parts.status, Flag::None);
    hop_by_hop::strip(&mut parts.headers);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, token);
    mark(caller, &exchange, parts.version, &mut parts.headers);
    caller.connection.switch();
    Response::from_parts(parts, ResponseBody::Switched(Box::new(Tunnel { upstream, exchange })))
}

/// What every response carries: our Via, which names the version that the upstream spoke, and the marker of a fault that touched it.
fn mark(caller: &Caller, exchange: &Exchange, version: Version, headers: &mut HeaderMap) {
    headers.append(VIA, caller.front.via.of(version).clone());
    if let Some(marker) = exchange.marker() {
        headers.insert(FAULT_HEADER, marker.clone());
    }
}

/// The answer of an experiment in the place of the service.
fn abort(exchange: &mut Exchange, fault: &LiveFault) -> Response<ResponseBody> {
    exchange.aborted(fault);
    let mut response = Response::new(ResponseBody::Own(Some(Bytes::from_static(b"fault injected by glooshot\n"))));
    match fault.disruption {
        Disruption::AbortGrpc(code) => {
            // gRPC over HTTP/2, "Trailers-Only": the status stands in the header block and the HTTP status is 200.
            *response.body_mut() = ResponseBody::Own(None);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response.headers_mut().insert(GRPC_STATUS, HeaderValue::from(code));
            response.headers_mut().insert(GRPC_MESSAGE, HeaderValue::from_static("fault injected by glooshot"));
        }
        Disruption::AbortHttp(status) => {
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        Disruption::Delay { .. } | Disruption::ResetConnection | Disruption::DelayConnection { .. } => {}
    }
    response.headers_mut().insert(FAULT_HEADER, fault.marker.clone());
    own(response, exchange, Flag::FaultAbort)
}

/// Names whose fault an error is; where there is no account, as for what is no request, that is all.
pub(crate) fn named(verdict: Verdict) -> Response<ResponseBody> {
    let body = Bytes::from_static(verdict.header.as_bytes());
    let mut response = Response::new(ResponseBody::Own(Some(body)));
    *response.status_mut() = verdict.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(ERROR_HEADER, HeaderValue::from_static(verdict.header));
    response
}

/// The answer to an error, naming whose fault it is.
fn error(exchange: &mut Exchange, verdict: Verdict) -> Response<ResponseBody> {
    let mut response = named(verdict);
    let headers = response.headers_mut();
    if let Some(marker) = exchange.marker() {
        headers.insert(FAULT_HEADER, marker.clone());
    }
    if verdict.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if verdict.close && !exchange.is_multiplexed() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    own(response, exchange, verdict.flag)
}

/// Ends the account of an exchange that we answer ourselves.
fn own(mut response: Response<ResponseBody>, exchange: &mut Exchange, flag: Flag) -> Response<ResponseBody> {
    if exchange.is_call() {
        trailers_only(&mut response);
        exchange.answered_call(response.headers());
    } else if exchange.head_only {
        // Over HTTP/1 the body would be left away in any case.
        let length = response.body().size_hint().exact().unwrap_or_default();
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        *response.body_mut() = ResponseBody::Own(None);
    }
    exchange.answered(response.status(), flag);
    exchange.complete();
    response
}

/// Makes an answer one that clients of gRPC understand: HTTP 200, and the status in the head of a response without a body. What
/// they make of a plain 503 differs, and some take its text for a message.
fn trailers_only(response: &mut Response<ResponseBody>) {
    if response.headers().contains_key(GRPC_STATUS) {
        return;
    }
    let status = std::mem::replace(response.status_mut(), StatusCode::OK);
    let code = GrpcStatus::of_http(status).code();
    let why = match std::mem::replace(response.body_mut(), ResponseBody::Own(None)) {
        ResponseBody::Own(Some(text)) => HeaderValue::from_bytes(text.trim_ascii()).ok(),
        _ => None,
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
    if let Some(why) = why {
        headers.insert(GRPC_MESSAGE, why);
    }
}
