//! Images come as tars of OCI layouts; a registry there is none.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::process::run;
use crate::wait::wait_for;

/// All image tars of a folder.
pub fn tars(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut tars: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    tars.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    tars.sort_unstable();
    if tars.is_empty() {
        bail!("{} has no image tar: run cargo xtask images", folder.display());
    }
    Ok(tars)
}

/// The name that an image tar gives its image.
pub async fn name(tar: &Path) -> Result<String> {
    let mut command = tokio::process::Command::new("tar");
    command.arg("-xOf").arg(tar).arg("index.json");
    let text = run(command, Duration::from_mins(1)).await?;
    let index: Value =
        serde_json::from_str(&text).with_context(|| format!("the index of {} is not JSON", tar.display()))?;
    index["manifests"][0]["annotations"]["io.containerd.image.name"]
        .as_str()
        .map(Into::into)
        .with_context(|| format!("{} does not name its image", tar.display()))
}

/// Waits until a containerd answers.
pub async fn wait_for_containerd(socket: &Path) -> Result<()> {
    wait_for(&format!("containerd at {}", socket.display()), Duration::from_mins(2), async || {
        ctr(socket, &["version"]).await
    })
    .await
}

/// Gives a running containerd the images. They are unpacked when a pod first needs them.
pub async fn load(socket: &Path, tars: &[PathBuf]) -> Result<()> {
    wait_for_containerd(socket).await?;
    for tar in tars {
        let tar = tar.to_str().with_context(|| format!("{} is not UTF-8", tar.display()))?;
        ctr(socket, &["-n", "k8s.io", "images", "import", "--no-unpack", tar]).await?;
    }
    Ok(())
}

async fn ctr(socket: &Path, args: &[&str]) -> Result<()> {
    let mut command = tokio::process::Command::new("ctr");
    command.arg("-a").arg(socket).args(args);
    run(command, Duration::from_mins(3)).await.map(drop)
}
