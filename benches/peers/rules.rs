//! Ours with plans of different sizes: an Experiment of so many rules, a route with so many endpoints, and nothing else that differs.
//!
//! A rule is whatever a fault compares a request with: a destination, a path, a method, a header. An Experiment has at most 16
//! faults, so that a thousand rules are 16 faults with some sixty each. No request of the bench satisfies all rules of any fault,
//! so every request is compared with every fault and then forwarded.

use std::{fmt::Write as _, fs, net::SocketAddr, path::Path};

use crate::{case::port, process::glooshot, subject::Subject};

/// The bounds of an Experiment.
const FAULTS: usize = 16;
const DESTINATIONS: usize = 32;
const METHODS: usize = 16;
const HEADERS: usize = 16;
/// The most endpoints, and on how many ports of an address the service has them.
pub const ENDPOINTS: usize = 1_000;
const PORTS: usize = 4;

/// The n-th of a thousand addresses of the service.
fn endpoint(number: usize) -> SocketAddr {
    let host = u8::try_from(number / PORTS + 1).unwrap();
    ([127, 0, 78, host], 8001 + u16::try_from(number % PORTS).unwrap()).into()
}

/// All of them.
pub fn endpoints() -> impl Iterator<Item = SocketAddr> {
    (0..ENDPOINTS).map(endpoint)
}

/// The lines that let nginx listen on all of them.
pub fn listen_lines() -> String {
    (0..ENDPOINTS).map(|number| format!("listen {} backlog=4096;\n", endpoint(number))).collect()
}

/// The configuration of HAProxy with all of them as its servers, made of that with one.
pub fn spread_haproxy(directory: &Path) {
    let at = Subject::Direct.at(port::PLAIN);
    let config = fs::read_to_string(directory.join("haproxy.cfg")).unwrap();
    let (head, options) = config.split_once(&format!("  server one {at} ")).expect("a server in haproxy.cfg");
    let [theirs, ours] =
        [Subject::Haproxy, Subject::Haproxy1000].map(|subject| subject.at(port::PLAIN).ip().to_string());
    let servers = (0..ENDPOINTS).map(|number| format!("  server s{number} {} {options}", endpoint(number)));
    let spread = format!("{}  balance roundrobin\n{}", head.replace(&theirs, &ours), servers.collect::<String>());
    fs::write(directory.join("haproxy-1000.cfg"), spread).unwrap();
}

/// Our proxy with the plan of this subject.
pub fn command(subject: Subject, directory: &Path) -> Vec<String> {
    let (rules, endpoints) = subject.rules_and_endpoints().unwrap();
    let file = directory.join(format!("{}.yaml", subject.key()));
    fs::write(&file, experiment(rules)).unwrap();
    let endpoints: Vec<String> = (0..endpoints).map(|number| endpoint(number).to_string()).collect();
    let origin = Subject::Direct.at(port::PLAIN);
    let mut command = vec![glooshot()];
    command.extend(["run", "--workers", "1"].map(str::to_owned));
    command.extend(["--listen-metrics".to_owned(), subject.at(port::ADMIN).to_string()]);
    command.extend(["-f".to_owned(), file.to_str().unwrap().to_owned()]);
    command
        .extend(["--route".to_owned(), format!("bench/plain:80={}->{}", subject.at(port::PLAIN), endpoints.join(","))]);
    // The other services that the faults name; nobody asks them.
    for number in 1..DESTINATIONS {
        let listen = subject.at(9_000 + u16::try_from(number).unwrap());
        command.extend(["--route".to_owned(), format!("bench/other-{number}:80={listen}->{origin}")]);
    }
    command
}

/// An Experiment with exactly so many rules.
fn experiment(rules: usize) -> String {
    let faults = rules.min(FAULTS);
    let mut yaml = String::from(
        "apiVersion: glooshot.solo.io/v1
kind: Experiment
metadata: {name: rules, namespace: bench}
spec:
  spec:
    duration: 1h
    routing: {settle: 0s}
    failureConditions:
    - trigger:
        traffic: {service: {name: plain, namespace: bench}, metric: ErrorRate, thresholdValue: 0.5, comparisonOperator: '>'}
    faults:
",
    );
    for fault in 0..faults {
        // The first rule of each is its path; the destination that every fault must have is counted as none.
        let share = rules / faults + usize::from(fault < rules % faults);
        write_fault(&mut yaml, fault, share - 1);
    }
    yaml
}

fn write_fault(yaml: &mut String, fault: usize, more: usize) {
    let destinations = more.min(DESTINATIONS - 1);
    let methods = (more - destinations).min(METHODS);
    let headers = more - destinations - methods;
    assert!(headers <= HEADERS, "{more} rules do not fit into one fault");
    // The service that is asked stands behind all others.
    let others = (1..=destinations).map(|number| format!("{{name: other-{number}, namespace: bench}}, "));
    let others: String = others.collect();
    let methods: Vec<String> =
        (0..methods).map(|number| if number == 0 { "GET".to_owned() } else { format!("M{number}") }).collect();
    let headers: Vec<String> =
        (0..headers).map(|number| format!("{{name: x-rule-{number}, exact: value-{number}}}")).collect();
    writeln!(yaml, "    - destinationServices: [{others}{{name: plain, namespace: bench}}]").unwrap();
    write!(yaml, "      match: {{path: {{exact: /rule/{fault}}}").unwrap();
    if !methods.is_empty() {
        write!(yaml, ", methods: [{}]", methods.join(", ")).unwrap();
    }
    if !headers.is_empty() {
        write!(yaml, ", headers: [{}]", headers.join(", ")).unwrap();
    }
    writeln!(yaml, "}}\n      fault: {{abort: {{httpStatus: 503}}, percentage: 1}}").unwrap();
}
