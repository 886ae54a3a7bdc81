//! Selection: what a request pays to learn which fault hits it, by the number of rules that are looked at.

use std::{cell::RefCell, hint::black_box, time::Duration};

use criterion::Criterion;
use glooshot_api::{
    names::{Destination, ServiceName, ServicePort},
    plan::{
        Disruption, Endpoint, HeaderRule, HeaderValueRule, MAX_FAULTS, MAX_MATCHES, MAX_SERVICES, MatchRule, Plan,
        PlannedExperiment, PlannedFault, TextMatch,
    },
    quantity::Percent,
};
use http::Version;

use crate::{
    proxy::{
        clock::Moment,
        dice::{self, Dice},
        fault::Facts,
        head::RequestHead,
        live_plan::{Origin, PlanSlot, plain_route},
    },
    requests::{USER, request},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// How large a plan is. Every request is looked at by all of its rules, and no rule refuses it before its last one.
struct Size {
    faults: usize,
    /// Of each fault.
    destinations: usize,
    methods: usize,
    headers: usize,
    path: Option<TextMatch>,
}

impl Size {
    const NONE: Self = Self { faults: 0, destinations: 1, methods: 0, headers: 0, path: None };

    /// Texts, methods and services that a request is compared with.
    fn rules(&self) -> usize {
        self.faults * (self.destinations + self.methods + self.headers + usize::from(self.path.is_some()))
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select");
    let prefix = || Some(TextMatch::Prefix("/ratings/".to_owned()));
    let regex = || Some(TextMatch::Regex("/ratings/[0-9]+".to_owned()));
    let all = Size {
        faults: MAX_FAULTS,
        destinations: MAX_SERVICES,
        methods: MAX_MATCHES,
        headers: MAX_MATCHES,
        path: regex(),
    };
    for (name, size) in [
        ("no experiment", Size::NONE),
        ("1 fault on every request", Size { faults: 1, ..Size::NONE }),
        ("1 fault, a prefix", Size { faults: 1, path: prefix(), ..Size::NONE }),
        ("1 fault, a regular expression", Size { faults: 1, path: regex(), ..Size::NONE }),
        ("4 faults", Size { faults: 4, headers: 1, path: prefix(), ..Size::NONE }),
        ("16 faults", Size { faults: 16, headers: 4, path: prefix(), ..Size::NONE }),
        ("a plan at all its bounds", all),
    ] {
        let slot = slot(&size);
        let dice = RefCell::new(Dice::default());
        for fields in [3, 30] {
            let request = request(Version::HTTP_11, fields);
            let name = format!("{name} ({} rules), {fields} fields", size.rules());
            group.bench_function(name, |bencher| {
                bencher.iter(|| is_hit(&slot, &dice, black_box(&request)));
            });
        }
    }
    group.finish();
}

/// What `select` of the proxy does for a request, but for the choice of an endpoint.
fn is_hit(slot: &PlanSlot, dice: &RefCell<Dice>, head: &RequestHead) -> bool {
    let plan = slot.pointer().load();
    let view = plan.route(0).unwrap();
    let injects =
        !view.faults.is_empty() && plan.experiment().is_some_and(|live| slot.injects(live, Moment::from_nanos(1)));
    if !injects {
        return false;
    }
    let facts = Facts { subset: None, source: None, method: &head.method, path: head.uri.path(), fields: &head.fields };
    dice::of_request(&view.faults, &facts, dice.borrow_mut().roll(&plan, 0)).is_some()
}

/// A slot with a plan of this size in force.
fn slot(size: &Size) -> PlanSlot {
    let service = ServiceName { namespace: "bookinfo".into(), name: "ratings".into() };
    let port = ServicePort { service, port: 9080 };
    let endpoint = Endpoint { address: ([127, 0, 0, 1], 9080).into(), subset: None };
    let route = plain_route(port.clone(), vec![endpoint]);
    let slot = PlanSlot::new(vec![Origin { port: port.clone(), route }], 1);
    let experiment = PlannedExperiment {
        name: port.service.clone(),
        uid: "micro".into(),
        armed: true,
        faults: vec![fault(size, &port); size.faults],
        conditions: vec![],
        max_injected: None,
        max_concurrent_delays: 1,
        seed: Some(7),
    };
    slot.accept(Plan { generation: 1, experiment: Some(experiment), ..Plan::default() }, HOUR).unwrap();
    slot
}

fn fault(size: &Size, port: &ServicePort) -> PlannedFault {
    let elsewhere = |number: usize| Destination {
        service: ServiceName { name: format!("service-{number}"), ..port.service.clone() },
        port: None,
        subset: None,
    };
    let here = Destination { service: port.service.clone(), port: Some(port.port), subset: None };
    let destinations = (1..size.destinations).map(elsewhere).chain([here]).collect();
    let methods = (1..size.methods).map(|number| format!("METHOD{number}")).chain(["GET".to_owned()]);
    let header = |_| HeaderRule { name: USER.into(), value: HeaderValueRule::Text(TextMatch::Prefix("ja".into())) };
    PlannedFault {
        origins: vec![],
        destinations,
        matches: MatchRule {
            path: size.path.clone(),
            methods: if size.methods == 0 { vec![] } else { methods.collect() },
            headers: (0..size.headers).map(header).collect(),
        },
        percentage: Percent::try_from(1.0).unwrap(),
        disruption: Disruption::AbortHttp(503),
    }
}
