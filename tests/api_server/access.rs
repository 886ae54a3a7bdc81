//! Which cluster `glooshot register` speaks to, as whom, and what it says when that does not work.

use std::{
    io::Read as _,
    net::TcpListener,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::{NamedTempFile, TempDir};

use super::{
    control_plane::{ControlPlane, kubeconfig, registered, unregistered},
    harness::eventually,
    kubectl::Kubectl,
    program::{Ended, GLOOSHOT, glooshot},
};

#[track_caller]
fn register_with(kubeconfig: &str, more: &[&str]) -> Ended {
    glooshot(["register", "--kubeconfig", kubeconfig].into_iter().chain(more.iter().copied()))
}

#[track_caller]
fn explains(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!((ended.code, ended.output.as_str()), (Some(code), ""), "{}", ended.errors);
    for word in words {
        assert!(ended.errors.contains(word), "{word:?} is not said in: {}", ended.errors);
    }
}

/// A kubeconfig for a new ServiceAccount of this name.
fn service_account(control_plane: &ControlPlane, name: &str) -> NamedTempFile {
    let kubectl = Kubectl::new(control_plane.kubeconfig());
    kubectl.run(["delete", "serviceaccount", name, "--ignore-not-found"]);
    kubectl.succeeds(["create", "serviceaccount", name]);
    let token = kubectl.succeeds(["create", "token", name]);
    kubeconfig(&control_plane.server(), &format!("token: '{}'", token.trim_end()))
}

#[test]
fn a_dry_run_prints_the_definitions_and_asks_no_cluster() {
    let nowhere = kubeconfig("https://127.0.0.1:9", "");
    let printed = register_with(nowhere.path().to_str().unwrap(), &["--dry-run"]);
    assert_eq!((printed.code, printed.errors.as_str()), (Some(0), ""));
    assert_eq!(printed.output, glooshot(["crds"]).output);
}

#[test]
fn the_help_shows_a_whole_command_the_rights_and_the_exit_codes() {
    let help = glooshot(["register", "--help"]).output;
    for word in [
        "glooshot register --context staging",
        "--kubeconfig <FILE>",
        "--dry-run",
        "get, create and patch\ncustomresourcedefinitions.apiextensions.k8s.io",
        "0 registered",
        "1 the cluster cannot be reached",
        "130",
    ] {
        assert!(help.contains(word), "{word:?} is not in: {help}");
    }
}

#[test]
fn a_cluster_that_cannot_be_reached_is_named_with_the_cause() {
    let nowhere = kubeconfig("https://127.0.0.1:9", "");
    explains(
        &register_with(nowhere.path().to_str().unwrap(), &[]),
        1,
        &["the cluster at https://127.0.0.1:9 cannot be reached: ", "Connection refused"],
    );
}

#[test]
fn a_kubeconfig_that_is_not_there_is_named() {
    let ended = register_with("/nowhere/kubeconfig", &[]);
    explains(&ended, 2, &["cannot read /nowhere/kubeconfig: No such file", "--kubeconfig or KUBECONFIG"]);
}

#[test]
fn without_any_configuration_the_file_that_was_looked_for_is_named() {
    let home = TempDir::new().unwrap();
    let ended = Command::new(GLOOSHOT)
        .arg("register")
        .env_remove("KUBECONFIG")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("HOME", home.path())
        .output()
        .unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{errors}");
    assert!(errors.contains(".kube/config: No such file"), "{errors}");
}

#[test]
fn the_context_is_the_one_that_is_named() {
    let ended = register_with(registered().path(), &["--context", "staging"]);
    explains(&ended, 2, &["has no context \"staging\"", "kubectl config get-contexts"]);
    assert_eq!(register_with(registered().path(), &["--context", "bed"]).code, Some(0));
}

#[test]
fn the_environment_names_the_kubeconfig_as_for_kubectl() {
    let ended = Command::new(GLOOSHOT).arg("register").env("KUBECONFIG", registered().path()).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn somebody_whom_the_cluster_does_not_know_is_told_to_log_in() {
    let stranger = kubeconfig(&registered().server(), "token: nobody");
    explains(
        &register_with(stranger.path().to_str().unwrap(), &[]),
        1,
        &["does not accept these credentials", "log in"],
    );
}

#[test]
fn a_missing_right_is_named_and_the_rights_that_are_named_are_enough() {
    let control_plane = unregistered();
    let kubectl = Kubectl::new(control_plane.kubeconfig());
    let account = service_account(&control_plane, "installer");
    let account = account.path().to_str().unwrap();
    explains(
        &register_with(account, &[]),
        1,
        &[
            "User \"system:serviceaccount:default:installer\" cannot get resource \"customresourcedefinitions\"",
            "register needs get, create and patch on customresourcedefinitions.apiextensions.k8s.io",
            "kubectl auth can-i create crd",
        ],
    );
    let granted =
        ["create", "clusterrole", "installer", "--verb=get,create,patch", "--resource=customresourcedefinitions"];
    kubectl.succeeds(granted);
    kubectl.succeeds([
        "create",
        "clusterrolebinding",
        "installer",
        "--clusterrole=installer",
        "--serviceaccount=default:installer",
    ]);
    // The API server learns of new rights by a watch of its own.
    eventually("the rights are in force", || {
        kubectl
            .run(["auth", "can-i", "patch", "crd", "--as=system:serviceaccount:default:installer"])
            .code
            .filter(|code| *code == 0)
    });
    let ended = register_with(account, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
}

#[test]
fn ctrl_c_ends_it_while_a_cluster_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let kubeconfig = kubeconfig(&format!("http://{}", silent.local_addr().unwrap()), "");
    let mut child = Command::new(GLOOSHOT)
        .args(["register", "--kubeconfig", kubeconfig.path().to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its request has arrived: it is waiting now.
    let (mut connection, _) = silent.accept().unwrap();
    let mut first = [0; 1];
    connection.read_exact(&mut first).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = eventually("the command ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
}
