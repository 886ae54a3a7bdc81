//! The admission webhook: a pure function from a review's request to its response.
//!
//! Today it applies the static rules of [`glooshot_api::validate`]. There is no server here, so the whole of it is tested with tables.

use glooshot_api::{
    manifest::{self, API_VERSION, KINDS},
    violation::Violation,
};
use kube::core::{
    DynamicObject, Status,
    admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation},
    response::{StatusCause, StatusDetails},
};
use serde_json::Value;

/// Our API group: the part of the version before the slash.
const GROUP: &str = "glooshot.solo.io";
/// Violations told in one answer at the most; the API server cuts long ones.
const MAX_TOLD: usize = 50;

/// Answers a review: allowed, or denied with everything that is wrong with the object.
///
/// What is not ours is allowed with a warning, so that a webhook registered too widely breaks nothing. What is ours but unknown
/// (a kind or version of a later release) is denied: nobody has checked it.
pub fn review(review: AdmissionReview<DynamicObject>) -> AdmissionReview<DynamicObject> {
    let request: Result<AdmissionRequest<DynamicObject>, _> = review.try_into();
    match request {
        Ok(request) => respond(&request).into_review(),
        Err(_) => AdmissionResponse::invalid("the AdmissionReview has no request").into_review(),
    }
}

fn respond(request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    let mut response = AdmissionResponse::from(request);
    if request.kind.group != GROUP {
        let warning = format!("glooshot's webhook was asked about a {} and has no opinion", request.kind.kind);
        response.warnings = Some(vec![warning]);
        return response;
    }
    let known =
        KINDS.contains(&request.kind.kind.as_str()) && API_VERSION == format!("{GROUP}/{}", request.kind.version);
    if !known {
        let kind = &request.kind;
        return response
            .deny(format!("{}/{} {} is unknown to this version of Glooshot", kind.group, kind.version, kind.kind));
    }
    let is_status = request.sub_resource.as_deref().is_some_and(|name| !name.is_empty());
    match request.operation {
        // What somebody wants to be rid of is never held back, and a status is ours.
        Operation::Delete | Operation::Connect => response,
        Operation::Create | Operation::Update if is_status => response,
        Operation::Update if spec(request.object.as_ref()) == spec(request.old_object.as_ref()) => response,
        Operation::Create | Operation::Update => match &request.object {
            Some(object) => judge(object, request, response),
            None => response.deny("the request has no object"),
        },
    }
}

fn spec(object: Option<&DynamicObject>) -> Option<&Value> {
    object.and_then(|object| object.data.get("spec"))
}

/// Applies every static rule to an object.
fn judge(
    object: &DynamicObject,
    request: &AdmissionRequest<DynamicObject>,
    mut response: AdmissionResponse,
) -> AdmissionResponse {
    let violations = match serde_json::to_value(object) {
        Ok(value) => manifest::document(value).violations(),
        Err(error) => vec![Violation::new("", error.to_string())],
    };
    if violations.is_empty() {
        return response;
    }
    response.allowed = false;
    response.result = refusal(&violations, request);
    response
}

/// A status as the API server itself words it for an invalid object.
fn refusal(violations: &[Violation], request: &AdmissionRequest<DynamicObject>) -> Status {
    let told: Vec<&Violation> = violations.iter().take(MAX_TOLD).collect();
    let lines: Vec<String> = told.iter().map(ToString::to_string).collect();
    let name = if request.name.is_empty() { String::new() } else { format!(" {:?}", request.name) };
    let more = match violations.len().saturating_sub(MAX_TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let message = format!("{}{name} is invalid: {}{more}", request.kind.kind, lines.join("; "));
    let cause = |violation: &&Violation| StatusCause {
        reason: "FieldValueInvalid".to_owned(),
        message: violation.message.clone(),
        field: violation.path.clone(),
    };
    let mut status = Status::failure(&message, "Invalid").with_code(422);
    status.details = Some(StatusDetails {
        name: request.name.clone(),
        group: request.kind.group.clone(),
        kind: request.kind.kind.clone(),
        uid: String::new(),
        causes: told.iter().map(cause).collect(),
        retry_after_seconds: 0,
    });
    status
}
