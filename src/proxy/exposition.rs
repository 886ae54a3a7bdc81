//! The metrics of a scrape: our own names, and Istio's for the same requests.
//!
//! Istio's semantics: `reporter="destination"` counts only requests that reached an upstream, timed without our delay; every
//! request is also counted with `reporter="source"`, where what we aborted or delayed carries `FI` or `DI`.

use std::{collections::BTreeMap, fmt, sync::Arc};

use glooshot_api::names::ServicePort;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{
    clock::Moment,
    identity::Identity,
    metrics::{BUCKETS_MS, LatencyCounts, SeriesKey, Totals},
    reject::Reject,
    worker::Shared,
};

type Labels = Vec<(&'static str, String)>;

/// Collects what all cores have counted.
#[derive(Debug)]
pub(crate) struct ProxyCollector {
    shared: Arc<Shared>,
    ports: Vec<ServicePort>,
}

impl ProxyCollector {
    /// A collector for the listeners in the order of the configuration.
    pub(crate) fn new(shared: Arc<Shared>, ports: Vec<ServicePort>) -> Self {
        Self { shared, ports }
    }

    /// The request series by label set, of our own names and of Istio's.
    fn request_series(&self, totals: &Totals) -> (BTreeMap<Labels, LatencyCounts>, BTreeMap<Labels, LatencyCounts>) {
        let names = self.shared.slot.identities.by_number();
        let mut native: BTreeMap<Labels, LatencyCounts> = BTreeMap::new();
        let mut istio: BTreeMap<Labels, LatencyCounts> = BTreeMap::new();
        for (key, (total, own)) in &totals.series {
            let Some(port) = self.ports.get(key.listener) else { continue };
            let source = names.get(&key.source);
            native.entry(native_labels(port, source, key)).or_default().add(total);
            let destination = names.get(&key.destination);
            let flag = key.flag.as_str(key.delayed);
            istio.entry(istio_labels("source", port, source, destination, key, flag)).or_default().add(total);
            if key.flag.reached_upstream(key.status != 0) {
                let flag = key.flag.as_str(false);
                let seen = if key.delayed { own } else { total };
                let labels = istio_labels("destination", port, source, destination, key, flag);
                istio.entry(labels).or_default().add(seen);
            }
        }
        (native, istio)
    }
}

fn native_labels(port: &ServicePort, source: Option<&Identity>, key: &SeriesKey) -> Labels {
    let labels = [
        ("namespace", port.service.namespace.clone()),
        ("service", port.service.name.clone()),
        ("port", port.port.to_string()),
        ("source", source.map_or_else(unknown, |identity| identity.service.name.clone())),
        ("code", key.status.to_string()),
        ("flag", key.flag.as_str(key.delayed).to_owned()),
    ];
    labels.into_iter().chain(grpc_status("grpc_status", key)).collect()
}

/// How a gRPC call ended; nothing else has this label.
fn grpc_status(name: &'static str, key: &SeriesKey) -> Option<(&'static str, String)> {
    key.grpc.map(|status| (name, status.code().to_string()))
}

fn istio_labels(
    reporter: &str,
    port: &ServicePort,
    source: Option<&Identity>,
    destination: Option<&Identity>,
    key: &SeriesKey,
    flag: &str,
) -> Labels {
    let app = |identity: Option<&Identity>| identity.map_or_else(unknown, |i| i.service.name.clone());
    let namespace = |identity: Option<&Identity>| identity.map_or_else(unknown, |i| i.service.namespace.clone());
    let version = |identity: Option<&Identity>| identity.and_then(|i| i.version.clone()).unwrap_or_else(unknown);
    let service = &port.service;
    let labels = [
        ("reporter", reporter.to_owned()),
        ("source_app", app(source)),
        ("source_version", version(source)),
        ("source_workload_namespace", namespace(source)),
        ("destination_app", service.name.clone()),
        ("destination_version", version(destination)),
        ("destination_workload_namespace", service.namespace.clone()),
        ("destination_service", format!("{}.{}.svc.cluster.local", service.name, service.namespace)),
        ("destination_service_name", service.name.clone()),
        ("destination_service_namespace", service.namespace.clone()),
        ("request_protocol", if key.call { "grpc" } else { "http" }.to_owned()),
        ("response_code", key.status.to_string()),
        ("response_flags", flag.to_owned()),
        ("connection_security_policy", "none".to_owned()),
    ];
    labels.into_iter().chain(grpc_status("grpc_response_status", key)).collect()
}

fn unknown() -> String {
    "unknown".to_owned()
}

impl Collector for ProxyCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let totals = Totals::of(&self.shared.published);
        let (native, istio) = self.request_series(&totals);
        counters(&mut encoder, "glooshot_proxy_requests", "Requests by outcome", &count(&native))?;
        histograms(&mut encoder, "glooshot_proxy_request_duration_seconds", 1e-3, &by_port(&native))?;
        counters(
            &mut encoder,
            "istio_requests",
            "Requests, with the names and the semantics of Istio",
            &count(&istio),
        )?;
        histograms(&mut encoder, "istio_request_duration_milliseconds", 1.0, &istio)?;
        self.experiment(&mut encoder)?;
        self.connections(&mut encoder, &totals)?;
        self.plan(&mut encoder)
    }
}

impl ProxyCollector {
    /// What is injected, and what the conditions do.
    fn experiment(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(run) = self.shared.slot.last_run() else { return Ok(()) };
        let name = run.name().to_string();
        let mut injected = Vec::new();
        let mut matched = Vec::new();
        let mut overflow = Vec::new();
        for (fault, counters) in run.all_counters().iter().enumerate() {
            let labels: Labels = vec![("experiment", name.clone()), ("fault", fault.to_string())];
            let [requests, aborted, delayed, over] = counters.read();
            for (kind, value) in counters.kinds().into_iter().zip([aborted, delayed]) {
                let mut labels = labels.clone();
                labels.push(("kind", kind.to_owned()));
                injected.push((labels, value));
            }
            matched.push((labels.clone(), requests));
            overflow.push((labels, over));
        }
        counters(encoder, "glooshot_proxy_injected", "Requests and connections that were faulted", &injected)?;
        counters(
            encoder,
            "glooshot_proxy_matched",
            "Requests and connections that a fault applied to, hit or not",
            &matched,
        )?;
        counters(
            encoder,
            "glooshot_proxy_faults_overflow",
            "Requests and connections that passed because of a cap",
            &overflow,
        )?;
        let labels: Labels = vec![("experiment", name)];
        let plan = self.shared.slot.pointer().load();
        let armed = plan.experiment().is_some_and(|live| self.shared.slot.injects(live, Moment::now()));
        gauge(
            encoder,
            "glooshot_proxy_faults_armed",
            "1 while faults are injected",
            &labels,
            f64::from(u8::from(armed)),
        )?;
        let active = f64::from(run.active_delays());
        gauge(
            encoder,
            "glooshot_proxy_active_faults",
            "Requests and connections that are being delayed",
            &labels,
            active,
        )
    }

    fn connections(&self, encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
        let rejected = Reject::ALL.iter().zip(totals.rejected);
        let rejected: Vec<(Labels, u64)> =
            rejected.map(|(reject, count)| (vec![("reason", reject.verdict().reason.to_owned())], count)).collect();
        counters(encoder, "glooshot_proxy_rejected", "Requests that were refused, by reason", &rejected)?;
        let passed: Vec<(Labels, u64)> = totals
            .passed
            .iter()
            .filter_map(|((listener, protocol), count)| {
                let port = self.ports.get(*listener)?;
                let labels = vec![("service", port.to_string()), ("protocol", protocol.as_str().to_owned())];
                Some((labels, *count))
            })
            .collect();
        counters(encoder, "glooshot_proxy_passed_through", "Connections that are not HTTP, passed through", &passed)?;
        let single = |value: u64| [(Labels::new(), value)];
        counters(encoder, "glooshot_proxy_connections", "Connections accepted", &single(totals.connections))?;
        counters(encoder, "glooshot_proxy_accept_errors", "Failed accepts", &single(totals.accept_errors))?;
        counters(
            encoder,
            "glooshot_proxy_panics",
            "Tasks that panicked; each lost one connection",
            &single(totals.panics),
        )?;
        counters(
            encoder,
            "glooshot_proxy_streams_refused",
            "HTTP/2 streams that were refused because too many were open",
            &single(totals.streams_refused),
        )?;
        let help = "Requests and new connections that no fault could hit because of their caller, while faults were on";
        counters(encoder, "glooshot_proxy_exempt", help, &single(totals.exempt))?;
        let help = "Lines of the access log that there was no room for";
        counters(encoder, "glooshot_proxy_access_log_lost", help, &single(totals.lines_lost))?;
        self.watchdog(encoder, totals)?;
        self.certificates(encoder)?;
        let open = totals.active_connections as f64;
        gauge(encoder, "glooshot_proxy_open_connections", "Connections that are open", &Labels::new(), open)
    }

    /// Whether the cores come round in time.
    fn watchdog(&self, encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
        let help = "Times that a core did not come round for 50 ms or more";
        counters(encoder, "glooshot_proxy_stalls", help, &[(Labels::new(), totals.stalls)])?;
        let longest = totals.longest_stall as f64 / 1e9;
        let help = "The longest time that a core did not come round";
        gauge(encoder, "glooshot_proxy_longest_stall_seconds", help, &Labels::new(), longest)
    }

    /// What became of changed certificate files.
    fn certificates(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let reloads = &self.shared.reloads;
        let outcomes = [("taken", &reloads.taken), ("refused", &reloads.refused)];
        let values = outcomes.map(|(outcome, count)| {
            (vec![("outcome", outcome.to_owned())], count.load(std::sync::atomic::Ordering::Relaxed))
        });
        counters(encoder, "glooshot_proxy_certificate_reloads", "Changed certificate files", &values)
    }

    fn plan(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let refused = vec![(Labels::new(), self.shared.slot.refused())];
        counters(encoder, "glooshot_proxy_plans_refused", "Plans, and renewals of plans, that were refused", &refused)?;
        let Some(age) = self.shared.slot.age(Moment::now()) else { return Ok(()) };
        let help = "Time since the plan in force was renewed";
        gauge(encoder, "glooshot_proxy_plan_age_seconds", help, &Labels::new(), age.as_secs_f64())
    }
}

/// The number of requests of each label set.
fn count(series: &BTreeMap<Labels, LatencyCounts>) -> Vec<(Labels, u64)> {
    series.iter().map(|(labels, counts)| (labels.clone(), counts.count())).collect()
}

/// Latencies by Service port alone: the labels up to the port.
fn by_port(series: &BTreeMap<Labels, LatencyCounts>) -> BTreeMap<Labels, LatencyCounts> {
    let mut sums: BTreeMap<Labels, LatencyCounts> = BTreeMap::new();
    for (labels, counts) in series {
        sums.entry(labels.iter().take(3).cloned().collect()).or_default().add(counts);
    }
    sums
}

fn counters(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, values: &[(Labels, u64)]) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        if labels.is_empty() {
            metric.encode_counter::<NoLabelSet, _, u64>(value, None)?;
        } else {
            metric.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(value, None)?;
        }
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, labels: &Labels, value: f64) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    if labels.is_empty() {
        return metric.encode_gauge(&value);
    }
    metric.encode_family(labels)?.encode_gauge(&value)
}

/// Histograms; `unit` turns milliseconds into the unit of the name.
fn histograms(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    unit: f64,
    series: &BTreeMap<Labels, LatencyCounts>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, "Time to the end of the response", None, MetricType::Histogram)?;
    for (labels, counts) in series {
        let bounds = BUCKETS_MS.iter().map(|ms| ms * unit).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.buckets).collect();
        let sum = counts.sum as f64 / 1e6 * unit;
        metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, counts.count(), &buckets, None)?;
    }
    Ok(())
}
