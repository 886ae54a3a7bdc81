//! curl as a client.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// Behind each body curl writes this to standard error: what it knows of the transfer, and the header fields.
const WRITE_OUT: &str = "%{stderr}%{json}\x1e%{header_json}\x1d";

/// What curl says of one transfer.
#[derive(Debug)]
pub struct Transfer {
    /// The status; 0 when there was no answer.
    pub status: u16,
    /// `1.1` or `2`.
    pub version: String,
    /// The fields of the last answer by their names in lower case.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The connections that were opened for it.
    pub connects: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Transfer {
    /// The value of a field that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.headers.get(name).map(Vec::as_slice) {
            Some([value]) => Some(value),
            _ => None,
        }
    }
}

/// What curl has done before it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code (curl(1), EXIT CODES).
    pub code: i32,
    /// One for each address.
    pub transfers: Vec<Transfer>,
    /// The bodies, one behind the other.
    pub body: Vec<u8>,
}

impl Ended {
    /// The only transfer; fails the test when curl has failed or made several.
    #[track_caller]
    pub fn only(mut self) -> (Transfer, Vec<u8>) {
        assert_eq!((self.code, self.transfers.len()), (0, 1), "{self:?}");
        (self.transfers.remove(0), self.body)
    }
}

/// Runs curl with `arguments`.
#[track_caller]
pub fn curl(arguments: &[&str]) -> Ended {
    let output = Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--max-time", "20", "--write-out", WRITE_OUT])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    Ended {
        code: output.status.code().unwrap(),
        transfers: said.split('\x1d').filter(|part| !part.trim().is_empty()).map(transfer).collect(),
        body: output.stdout,
    }
}

/// Runs curl for one transfer; its body as text.
#[track_caller]
pub fn fetch(arguments: &[&str]) -> (Transfer, String) {
    let (transfer, body) = curl(arguments).only();
    (transfer, String::from_utf8(body).unwrap())
}

#[track_caller]
fn transfer(said: &str) -> Transfer {
    let (of_transfer, of_headers) = said.split_once('\x1e').unwrap_or_else(|| panic!("curl said {said}"));
    let known: Value = serde_json::from_str(of_transfer).unwrap_or_else(|error| panic!("{error}: {of_transfer}"));
    Transfer {
        status: known["response_code"].as_u64().unwrap() as u16,
        version: known["http_version"].as_str().unwrap().to_owned(),
        headers: serde_json::from_str(of_headers).unwrap_or_else(|error| panic!("{error}: {of_headers}")),
        connects: known["num_connects"].as_u64().unwrap(),
        seconds: known["time_total"].as_f64().unwrap(),
    }
}
