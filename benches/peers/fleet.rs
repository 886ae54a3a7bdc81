//! All processes of a run, and the files that they are started with.

use std::{collections::BTreeMap, fs};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use crate::{
    case::{Case, Load},
    load::{Parties, measure},
    measured::Measured,
    process::{Running, start},
    rules,
    subject::Subject,
};

/// The configurations, as they are in the repository.
const CONFIGS: [(&str, &str); 7] = [
    ("origin.conf", include_str!("configs/origin.conf")),
    ("haproxy.cfg", include_str!("configs/haproxy.cfg")),
    ("delay.lua", include_str!("configs/delay.lua")),
    ("nginx.conf", include_str!("configs/nginx.conf")),
    ("envoy.yaml", include_str!("configs/envoy.yaml")),
    ("toxiproxy.json", include_str!("configs/toxiproxy.json")),
    ("experiment.yaml", include_str!("configs/experiment.yaml")),
];

/// Started when they are needed first; they live as long as this.
#[derive(Debug)]
pub struct Fleet {
    running: BTreeMap<Subject, Running>,
    directory: TempDir,
}

impl Fleet {
    /// With the service, which takes part in everything.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for (name, text) in CONFIGS {
            fs::write(path.join(name), text.replace("@DIR@", path.to_str().unwrap())).unwrap();
        }
        fs::write(path.join("endpoints.conf"), rules::listen_lines()).unwrap();
        rules::spread_haproxy(path);
        let bodies = path.join("bodies");
        fs::create_dir(&bodies).unwrap();
        for (name, length) in [("1k", 1 << 10), ("1m", 1 << 20)] {
            fs::write(bodies.join(name), vec![b'x'; length]).unwrap();
        }
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["bench".to_owned()]).unwrap();
        let (cert, key) = (cert.pem(), signing_key.serialize_pem());
        fs::write(path.join("both.pem"), format!("{cert}{key}")).unwrap();
        fs::write(path.join("cert.pem"), cert).unwrap();
        fs::write(path.join("key.pem"), key).unwrap();
        let mut fleet = Self { running: BTreeMap::new(), directory };
        fleet.ensure(Subject::Direct);
        fleet
    }

    /// Starts it, unless it runs.
    fn ensure(&mut self, subject: Subject) {
        let directory = self.directory.path();
        self.running.entry(subject).or_insert_with(|| start(subject, directory));
    }

    /// Starts everything that a case needs, and ends everything else: a timer of an idle process would be seen in the figures of
    /// others.
    pub fn prepare(&mut self, subjects: &[Subject]) {
        self.running.retain(|subject, _| *subject == Subject::Direct || subjects.contains(subject));
        for subject in subjects {
            self.ensure(*subject);
        }
    }

    /// One measurement of a case.
    pub fn measure(&mut self, case: &Case, subject: Subject, rate: Option<f64>) -> Measured {
        if case.fresh {
            self.running.remove(&subject);
        }
        self.ensure(subject);
        let origin = self.running[&Subject::Direct].process();
        let proxy = (subject != Subject::Direct).then(|| self.running[&subject].process());
        measure(case, subject, Parties { proxy, origin }, rate)
    }

    /// The rate of a case's open loop.
    pub fn rate(&mut self, case: &Case) -> Option<f64> {
        match case.load {
            Load::Closed => None,
            Load::Rate(rate) => Some(rate),
            Load::HalfOfTheSlower => {
                let closed = Case { load: Load::Closed, ..*case };
                let most = [Subject::Ours, Subject::Haproxy].map(|subject| self.measure(&closed, subject, None).rate);
                Some((most[0].min(most[1]) / 2.0).round())
            }
        }
    }
}
