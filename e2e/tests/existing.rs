//! The demo on a cluster that was there before: `granary-demo --existing`, with nothing but a kubeconfig, two images that the
//! nodes have, and a binary cache that they reach.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod up;

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Output, Stdio};

use granary_e2e::paths;
use nix::sys::signal::Signal;

use up::Up;

#[test]
fn the_demo_tells_its_story_on_an_existing_cluster() {
    let Some(cluster) = Up::start(&served()) else { return };
    let ready = cluster.ready();
    let text = |name: &str| ready[name].as_str().unwrap().to_owned();
    let corpus = paths::corpus().unwrap();
    let read = |name: &str| fs::read_to_string(corpus.join(name)).unwrap();
    let disks = cluster.cache.path().join("disks");

    let mut demo = inside(&ready);
    demo.arg(env!("CARGO_BIN_EXE_granary-demo")).arg("--existing").env("KUBECONFIG", text("kubeconfig"));
    demo.args(["--operator-image", "granary.test/operator:dev", "--mirror-image", "granary.test/mirror:dev"]);
    demo.args(["--upstream", &text("upstream"), "--public-key", read("key.pub").trim()]);
    demo.arg("--host-path").arg(&disks);
    for root in read("roots.txt").lines() {
        demo.args(["--store-path", root]);
    }
    let Output { status, stdout, stderr } = demo.output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{said}\n{complained}");

    // What it says at its end is only said after `verify` has read all three trees.
    assert_eq!(said.matches("yes, all of it").count(), 3, "{said}");
    assert!(said.contains("all signatures good"), "{said}");
    // The way back that it names works, and takes the objects along.
    let (_, undo) = said.split_once("To remove it again:").unwrap();
    let commands: Vec<&str> = undo.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(commands.len(), 3, "{undo}");
    for line in commands {
        let mut undo = inside(&ready);
        let mut words = line.split(' ');
        let program = std::path::Path::new(&text("bin")).join(words.next().unwrap());
        let output = undo.arg(program).args(words).env("KUBECONFIG", text("kubeconfig")).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    cluster.signal(Signal::SIGTERM);
    cluster.gone();
}

#[test]
fn without_images_or_store_paths_the_demo_says_what_it_needs() {
    let refusal = |options: &[&str]| {
        let mut demo = Command::new(env!("CARGO_BIN_EXE_granary-demo"));
        let output = demo.arg("--existing").args(options).stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refusal(&[]).contains("--operator-image"));
    let images = ["--operator-image", "a", "--mirror-image", "b"];
    assert!(refusal(&images).contains("--store-path"));
}

/// The options that have the corpus served.
fn served() -> Vec<&'static OsStr> {
    let Ok(corpus) = paths::corpus() else { return Vec::new() };
    let cache = Box::leak(corpus.join("cache-xz").into_os_string().into_boxed_os_str());
    vec![OsStr::new("--serve"), cache]
}

/// A command in the cluster's namespaces, where its API server can be reached.
fn inside(ready: &serde_json::Value) -> Command {
    let mut enter = Command::new("nsenter");
    enter.args(["--all", "--target", &ready["init"].to_string(), "--"]).stdin(Stdio::null());
    enter
}
