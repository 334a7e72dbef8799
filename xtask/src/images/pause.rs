//! The image that holds a pod's namespaces open in the test cluster. Clusters elsewhere have their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::images::layer::Layer;
use crate::images::oci::Image;
use crate::job;
use crate::setup::Session;

/// Sleeps until it is told to end; buries the pod's orphans meanwhile.
pub const SOURCE: &str = r"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) { (void)signal; _exit(0); }
static void bury(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0) {} }

int main(void) {
  signal(SIGINT, end);
  signal(SIGTERM, end);
  signal(SIGCHLD, bury);
  for (;;) pause();
}
";

/// Compiles the program and packs it on an empty base.
pub fn image(session: &Session, name: &str, scratch: &Path) -> Result<Image> {
    let (source, program) = (scratch.join("pause.c"), scratch.join("pause"));
    fs::write(&source, SOURCE)?;
    let mut compile = Command::new("cc");
    // From within the folder, so that its name does not get into the program.
    compile.current_dir(scratch).args([
        "-static",
        "-Os",
        "-s",
        "-Wl,--build-id=none",
        "-o",
        "pause",
        "pause.c",
    ]);
    job::must(&session.tell, &session.cache.logs(), "cc pause", &mut compile)?;
    let content = fs::read(&program)?;
    fs::remove_file(source)?;
    fs::remove_file(program)?;
    super::image(name, "pause", Layer::default().pack()?, content)
}
