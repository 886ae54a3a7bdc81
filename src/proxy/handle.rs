//! The life of a request: admit, select, disrupt, forward, respond.

use std::rc::Rc;

use http::Version;

use super::{
    admit::{Admission, admit},
    clock::Moment,
    connection::Caller,
    disrupt::disrupt,
    error::{Stop, UpstreamFailure},
    exchange::Exchange,
    forward::{Forwarded, forward},
    head::RequestHead,
    respond::{Answer, respond},
    select::select,
    turn,
    whole::Whole,
    worker::Worker,
};

/// Handles one request from its head to the head of its response; the exchange is counted when the response's body ends.
pub(crate) async fn handle(worker: &Rc<Worker>, caller: &Rc<Caller>, head: &mut RequestHead, body: Whole) -> Answer {
    let mut exchange = Exchange::begin(worker, caller, head, Moment::now());
    #[cfg(test)]
    tests::panic_if_asked(head);
    if head.version == Version::HTTP_2 {
        // Gives hyper the time to look whether the client has given the request up already, before it costs an upstream
        // anything: rapid reset (CVE-2023-44487) sends HEADERS and RST_STREAM in one breath.
        turn::passed().await;
    }
    let outcome = serve(worker, caller, &mut exchange, head, body).await;
    respond(caller, exchange, outcome)
}

/// The steps that can end a request early, each in a file of its name.
async fn serve(
    worker: &Rc<Worker>,
    caller: &Caller,
    exchange: &mut Exchange,
    head: &mut RequestHead,
    body: Whole,
) -> Result<Forwarded, Stop> {
    if worker.is_overloaded() {
        return Err(Stop::Overloaded);
    }
    if admit(&caller.front.gate, head).map_err(Stop::Client)? == Admission::AnswerHere {
        return Err(Stop::Own);
    }
    let plan = Rc::clone(&exchange.plan);
    let view = plan.route(caller.front.index).ok_or(Stop::Upstream(UpstreamFailure::NoEndpoint))?;
    let selection = select(worker, &plan, view, caller, head, exchange.started());
    disrupt(exchange, &selection).await?;
    forward(worker, caller, exchange, &selection, head, body).await
}

#[cfg(test)]
mod tests;
