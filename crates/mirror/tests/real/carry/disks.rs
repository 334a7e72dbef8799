//! Disks that do not take what is written to them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::{Fixture, is_visible};

/// What is printed by a command that fails.
fn failed(output: Output) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    error
}

/// Runs a shell script as root of a mount namespace of its own; `None` where that is not allowed.
fn isolated(script: &str) -> Option<Output> {
    let shell = |script: &str| Command::new("unshare").args(["-rm", "sh", "-c", script]).output();
    if shell("mount -t tmpfs none /mnt").is_ok_and(|output| output.status.success()) {
        return Some(shell(script).unwrap());
    }
    println!("skipped: no mount namespaces here");
    None
}

#[test]
fn a_full_and_a_read_only_disk_are_told_in_words() {
    let Some(fixture) = Fixture::new() else { return };
    let export = fixture.shell(Path::new("/mnt/stick"));
    let Some(output) = isolated(&format!("mount -t tmpfs -o size=200k none /mnt && exec {export}")) else {
        return;
    };
    let error = failed(output);
    assert!(
        error.contains("/mnt/stick has 1") && error.contains("are needed; nothing was copied"),
        "{error}"
    );

    // What the narinfos do not say is found out on the way.
    let library = fixture.corpus.cache.join(fixture.artifacts[0].narinfo());
    let stated = fs::read_to_string(&library).unwrap();
    let unstated: Vec<&str> = stated.lines().filter(|line| !line.starts_with("FileSize:")).collect();
    fs::write(&library, unstated.join("\n") + "\n").unwrap();
    let output = isolated(&format!("mount -t tmpfs -o size=200k none /mnt && exec {export}")).unwrap();
    let error = failed(output);
    assert!(error.contains("cannot write /mnt/stick/") && error.contains("make room"), "{error}");

    let output = isolated(&format!("mount -t tmpfs -o ro none /mnt && exec {export}")).unwrap();
    let error = failed(output);
    assert!(error.contains("is mounted read-only"), "{error}");
}

#[test]
fn a_filesystem_with_a_limit_for_files_is_told_in_words() {
    let Some(fixture) = Fixture::new() else { return };
    // 100 KiB in place of 4 GiB, to the same error.
    let script = format!("trap '' XFSZ; ulimit -f 200; exec {}", fixture.shell(&fixture.stick()));
    let error = failed(Command::new("sh").args(["-c", &script]).output().unwrap());
    assert!(error.contains("larger than this filesystem takes (FAT: less than 4 GiB)"), "{error}");
    assert!(!is_visible(&fixture.stick(), &fixture.artifacts[0]));
}
