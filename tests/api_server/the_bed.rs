//! The control plane of the test bed itself: it leaves nothing behind, and any number run side by side.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{control_plane::ControlPlane, harness::within};

/// The time that everything has to be gone in.
const GONE: Duration = Duration::from_secs(10);

/// The directory that a control plane keeps everything in.
fn state(control_plane: &ControlPlane) -> PathBuf {
    control_plane.kubeconfig().ancestors().nth(2).unwrap().to_owned()
}

/// The processes whose command line names `state`.
fn processes(state: &Path) -> Vec<String> {
    let state = state.to_str().unwrap();
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let lines = numbers.filter_map(|number| fs::read(format!("/proc/{number}/cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(state)).collect()
}

#[test]
fn a_control_plane_that_is_stopped_leaves_no_process_and_no_file() {
    let control_plane = ControlPlane::start();
    let state = state(&control_plane);
    assert_eq!(processes(&state).len(), 2, "etcd and the API server: {:#?}", processes(&state));
    drop(control_plane);
    assert_eq!(processes(&state), Vec::<String>::new());
    assert!(!state.exists(), "{}", state.display());
}

#[test]
fn a_control_plane_whose_keeper_is_killed_leaves_no_process() {
    let control_plane = ControlPlane::start();
    let state = state(&control_plane);
    let keeper = Pid::from_raw(i32::try_from(control_plane.id()).unwrap()).unwrap();
    kill_process(keeper, Signal::KILL).unwrap();
    within(GONE, "everything has ended", || processes(&state).is_empty().then_some(()));
    drop(control_plane);
    fs::remove_dir_all(state).unwrap();
}
