//! Processes in pods, and their death.

use std::{thread, time::Instant};

use super::bed::Bed;

/// A container's process.
#[derive(Clone, Debug)]
pub struct Victim {
    node: String,
    pid: String,
}

/// The processes of the pods that `kubectl get pods` finds with these arguments.
#[track_caller]
pub fn find(bed: &Bed, pods: &str) -> Vec<Victim> {
    let list = bed.get(&format!("pods {pods}"));
    // One pod by its name, or a list.
    let items = list["items"].as_array().cloned().unwrap_or_else(|| vec![list.clone()]);
    let alive = items.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let victims: Vec<Victim> = alive
        .map(|pod| {
            let node = pod["spec"]["nodeName"].as_str().unwrap();
            let container = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap();
            let container = container.trim_start_matches("containerd://");
            let tasks = bed.on(node, &["ctr", "--namespace", "k8s.io", "tasks", "list"]);
            let task = tasks.lines().find(|line| line.starts_with(container)).unwrap();
            Victim { node: node.to_owned(), pid: task.split_whitespace().nth(1).unwrap().to_owned() }
        })
        .collect();
    assert!(!victims.is_empty(), "no pod: {pods}");
    victims
}

/// Kills all of them at once, and tells when it began to.
pub fn kill(bed: &Bed, victims: &[Victim]) -> Instant {
    let began = Instant::now();
    thread::scope(|scope| {
        for node in ["node1", "node2"] {
            let pids = victims.iter().filter(|victim| victim.node == node).map(|victim| victim.pid.as_str());
            let command: Vec<&str> = ["kill", "-KILL"].into_iter().chain(pids).collect();
            if command.len() > 2 {
                scope.spawn(move || bed.on(node, &command));
            }
        }
    });
    began
}
