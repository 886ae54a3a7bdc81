//! A data path that does what the test says, and remembers what it was told.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use glooshot_api::{
    experiment::{NetworkPolicyMode, Reconnect},
    failure_condition::{OnNoData, TrafficMetric},
    names::{Destination, ServiceName},
    plan::{Disruption, MatchRule},
    quantity::{ComparisonOperator, Percent},
    scenario::{ConditionRule, FaultRule, Scenario, Threshold, TrafficRule, TriggerRule},
    status::InjectionStatus,
};
use tokio::sync::mpsc;

use crate::engine::data_path::{DataPath, PathDescription, PathError, PathEvent, Reading};

/// A data path that does what the test says.
pub(crate) struct ScriptedPath {
    /// Says what happens on the path.
    pub(crate) events: Mutex<Option<mpsc::Sender<PathEvent>>>,
    receiver: Mutex<Option<mpsc::Receiver<PathEvent>>>,
    /// What the path was told, in order.
    log: Mutex<Vec<&'static str>>,
    on: AtomicBool,
    pub(crate) renewals: AtomicUsize,
    pub(crate) injected: AtomicUsize,
    /// Calls of this name fail this many times.
    failures: Mutex<Vec<(&'static str, usize)>>,
    /// Calls of this name never return.
    pub(crate) hangs: Mutex<Option<&'static str>>,
    /// Happens during the first call of this name, which then takes a second.
    pub(crate) during: Mutex<Option<(&'static str, PathEvent)>>,
    pub(crate) reading: Mutex<f64>,
    pub(crate) missing: Mutex<Vec<String>>,
}

impl ScriptedPath {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(16);
        Self {
            events: Mutex::new(Some(sender)),
            receiver: Mutex::new(Some(receiver)),
            log: Mutex::default(),
            on: AtomicBool::new(false),
            renewals: AtomicUsize::new(0),
            injected: AtomicUsize::new(7),
            failures: Mutex::default(),
            hangs: Mutex::default(),
            during: Mutex::default(),
            reading: Mutex::new(0.0),
            missing: Mutex::default(),
        }
    }

    pub(crate) fn fail(&self, call: &'static str, times: usize) {
        self.failures.lock().unwrap().push((call, times));
    }

    pub(crate) fn faults_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    pub(crate) fn log(&self) -> Vec<&'static str> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn say(&self, event: PathEvent) {
        self.events.lock().unwrap().as_ref().unwrap().try_send(event).unwrap();
    }

    /// Makes the next renewal panic.
    pub(crate) fn poison(&self) {
        let _failures = self.failures.lock().unwrap();
        panic!("the script says so");
    }

    async fn call(&self, name: &'static str) -> Result<(), PathError> {
        self.log.lock().unwrap().push(name);
        if *self.hangs.lock().unwrap() == Some(name) {
            std::future::pending::<()>().await;
        }
        let event = self.during.lock().unwrap().take_if(|(call, _)| *call == name);
        if let Some((_, event)) = event {
            self.say(event);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for (call, times) in self.failures.lock().unwrap().iter_mut() {
            if *call == name && *times > 0 {
                *times -= 1;
                return Err(PathError { message: format!("{name} failed") });
            }
        }
        Ok(())
    }
}

impl DataPath for ScriptedPath {
    fn describe(&self) -> PathDescription {
        PathDescription { kind: "Standalone", reason: "a test".to_owned() }
    }

    async fn route(&self, _: &Scenario) -> Result<(), PathError> {
        self.call("route").await
    }

    async fn arm(&self) -> Result<(), PathError> {
        // The worst case for a safety test: a path that injects before it answers, or fails.
        self.on.store(true, Ordering::SeqCst);
        self.call("arm").await
    }

    async fn disarm(&self) -> Result<(), PathError> {
        self.call("disarm").await?;
        self.on.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn cut(&self) {
        self.on.store(false, Ordering::SeqCst);
        self.log.lock().unwrap().push("cut");
    }

    fn renew(&self) -> Result<(), PathError> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        let mut failures = self.failures.lock().unwrap();
        match failures.iter_mut().find(|(call, times)| *call == "renew" && *times > 0) {
            Some((_, times)) => {
                *times -= 1;
                Err(PathError { message: "renew failed".to_owned() })
            }
            None => Ok(()),
        }
    }

    async fn restore(&self) -> Result<(), PathError> {
        self.call("restore").await
    }

    fn events(&self) -> mpsc::Receiver<PathEvent> {
        self.receiver.lock().unwrap().take().unwrap()
    }

    fn readings(&self) -> Vec<Reading> {
        let value = *self.reading.lock().unwrap();
        assert!(value >= 0.0 || value.is_nan(), "the script says that reading panics");
        (0..16).map(|condition| Reading { condition, value }).collect()
    }

    fn injection(&self) -> Vec<InjectionStatus> {
        let aborted = self.injected.load(Ordering::SeqCst) as u64;
        vec![InjectionStatus { requests: aborted * 2, aborted, delayed: 0 }]
    }

    fn missing_callers(&self) -> Vec<String> {
        self.missing.lock().unwrap().clone()
    }

    fn stop_latency(&self) -> Option<Duration> {
        Some(Duration::from_millis(3))
    }
}

/// An abort of every request to ratings, judged by these conditions for 60 s after 5 s.
pub(crate) fn scenario(triggers: Vec<TriggerRule>) -> Scenario {
    let service = ServiceName { namespace: "bookinfo".to_owned(), name: "ratings".to_owned() };
    let fault = FaultRule {
        origins: Vec::new(),
        destinations: vec![Destination { service, port: Some(9080), subset: None }],
        matches: MatchRule::default(),
        percentage: Percent::ALL,
        disruption: Disruption::AbortHttp(500),
    };
    let conditions =
        triggers.into_iter().map(|trigger| ConditionRule { name: None, on_no_data: OnNoData::Ignore, trigger });
    Scenario {
        experiment: ServiceName { namespace: "bookinfo".to_owned(), name: "abort-ratings-metric".to_owned() },
        duration: Duration::from_secs(60),
        faults: vec![fault],
        conditions: conditions.collect(),
        max_injected: None,
        max_concurrent_delays: 5_000,
        min_injected: 1,
        network_policy: NetworkPolicyMode::Refuse,
        settle: Duration::from_secs(5),
        reconnect: Reconnect::None,
    }
}

const THRESHOLD: Threshold = Threshold { value: 0.01, operator: ComparisonOperator::Greater };

/// More than 1 % of errors.
pub(crate) fn traffic() -> TriggerRule {
    let service = ServiceName { namespace: "bookinfo".to_owned(), name: "reviews".to_owned() };
    TriggerRule::Traffic(TrafficRule {
        service: Destination { service, port: None, subset: None },
        metric: TrafficMetric::ErrorRate,
        interval: Duration::from_secs(5),
        min_requests: 10,
        exclude_injected: true,
        threshold: THRESHOLD,
    })
}

/// A query above 0.01.
pub(crate) fn query(text: &str) -> TriggerRule {
    TriggerRule::Prometheus { query: text.to_owned(), threshold: THRESHOLD }
}

/// A webhook.
pub(crate) fn webhook(url: &str) -> TriggerRule {
    TriggerRule::Webhook { url: url.to_owned() }
}
