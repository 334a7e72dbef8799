//! However a cluster ends, nothing of it is left: looked at from outside.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod up;

use std::path::PathBuf;

use nix::sys::signal::Signal;

use up::{Up, command};

#[test]
fn an_ended_cluster_leaves_nothing() {
    let Some(cluster) = Up::start(&[]) else { return };
    assert!(
        !cluster.processes().is_empty() && !cluster.cgroups().is_empty(),
        "the test looks in the wrong place"
    );
    cluster.signal(Signal::SIGTERM);
    cluster.gone();
    assert_eq!(cluster.cgroups(), Vec::<PathBuf>::new());
    assert!(!cluster.run_dir().exists(), "{} is left", cluster.run_dir().display());
    assert!(cluster.cache.path().join("log/kubelet-n1.log").exists(), "the logs are gone");
}

#[test]
fn a_killed_supervisor_leaves_no_process_and_the_next_start_tidies_up() {
    let Some(cluster) = Up::start(&[]) else { return };
    cluster.signal(Signal::SIGKILL);
    cluster.gone();
    assert!(!cluster.cgroups().is_empty(), "who has removed them?");
    let status = command(cluster.cache.path()).arg("cleanup").status().unwrap();
    assert!(status.success());
    assert_eq!(cluster.cgroups(), Vec::<PathBuf>::new());
    assert!(!cluster.run_dir().exists(), "{} is left", cluster.run_dir().display());
}

#[test]
fn a_cluster_ends_with_the_command_that_wanted_it() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let Some(cluster) = Up::start_below_xtask() else { return };
        cluster.signal(signal);
        cluster.gone();
        assert_eq!(cluster.cgroups(), Vec::<PathBuf>::new(), "{signal}");
        assert!(!cluster.run_dir().exists(), "{signal}: {} is left", cluster.run_dir().display());
    }
}
