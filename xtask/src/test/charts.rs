//! The charts: the real Helm lints them and renders them.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::job;
use crate::test::Context;
use crate::test::counts::Counts;

/// All charts of the tree, each linted and rendered.
pub fn check(context: &Context) -> Result<Counts> {
    let session = context.session;
    let charts = session.root.join("charts");
    let mut counts = Counts::default();
    let entries = std::fs::read_dir(&charts).with_context(|| format!("reading {}", charts.display()))?;
    for entry in entries {
        let chart = entry?.path();
        let name = chart.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for action in [&["lint", "--strict"][..], &["template", "granary", "--include-crds"]] {
            let what = format!("helm {} {name}", action[0]);
            let mut helm = Command::new(context.ready.bin.join("helm"));
            helm.args(action).arg(&chart);
            let done = session
                .tell
                .step(&what, || job::must(&session.tell, &session.cache.logs(), &what, &mut helm));
            if let Err(error) = &done {
                eprintln!("error: {error:#}");
            }
            let Counts { passed, failed, .. } = Counts::one(done.is_ok());
            counts.passed += passed;
            counts.failed += failed;
        }
    }
    Ok(counts)
}
