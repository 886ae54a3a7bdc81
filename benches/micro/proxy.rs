//! The very files of the proxy that decide about each request. They depend on nothing else of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

#[path = "../../src/proxy/admit.rs"]
pub(crate) mod admit;
#[path = "../../src/proxy/clock.rs"]
pub(crate) mod clock;
#[path = "../../src/proxy/dice.rs"]
pub(crate) mod dice;
#[path = "../../src/proxy/fault.rs"]
pub(crate) mod fault;
#[path = "../../src/proxy/field_name.rs"]
pub(crate) mod field_name;
#[path = "../../src/proxy/guard.rs"]
pub(crate) mod guard;
#[path = "../../src/proxy/identity.rs"]
pub(crate) mod identity;
#[path = "../../src/proxy/live_plan.rs"]
pub(crate) mod live_plan;
#[path = "../../src/proxy/reject.rs"]
pub(crate) mod reject;
#[path = "../../src/proxy/route.rs"]
pub(crate) mod route;
#[path = "../../src/proxy/run_state.rs"]
pub(crate) mod run_state;
#[path = "../../src/proxy/window.rs"]
pub(crate) mod window;
