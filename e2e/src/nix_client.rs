//! The real `nix`, apart from the host's own settings and store.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::cluster::process::output;

const LIMIT: Duration = Duration::from_mins(3);

/// Substitutes store paths and what they refer to from one cache into an empty store, with signatures checked, and
/// checks afterwards that nix holds every path to be valid. `public_key` is `name:base64`.
pub async fn substitute(cache_url: &str, store_paths: &[String], public_key: &str) -> Result<Output> {
    substitute_trusting(cache_url, store_paths, public_key, None).await
}

/// The same from a cache at an `https` URL whose certificate is, or is signed by, this one.
pub async fn substitute_trusting(
    cache_url: &str,
    store_paths: &[String],
    public_key: &str,
    authority: Option<&Path>,
) -> Result<Output> {
    let dir = tempfile::tempdir().context("no folder for a nix store")?;
    let base = dir.path();
    let nix_store = |base, cache_url, public_key| {
        let mut command = nix_store(base, cache_url, public_key)?;
        command.env_remove("NIX_SSL_CERT_FILE").env_remove("SSL_CERT_FILE");
        if let Some(authority) = authority {
            command.env("NIX_SSL_CERT_FILE", authority);
        }
        anyhow::Ok(command)
    };
    let result = run(nix_store(base, cache_url, public_key)?.arg("--realise").args(store_paths)).await?;
    if !result.status.success() {
        bail!("nix could not substitute from {cache_url}: {}", String::from_utf8_lossy(&result.stderr));
    }
    let checked =
        run(nix_store(base, cache_url, public_key)?.args(["--verify-path"]).args(store_paths)).await?;
    if !checked.status.success() {
        bail!(
            "nix found a path changed that it had just substituted: {}",
            String::from_utf8_lossy(&checked.stderr)
        );
    }
    // Read-only folders of a store cannot be removed by its owner; root can, and tests run as root.
    dir.close().context("cannot remove a nix store")?;
    Ok(result)
}

async fn run(command: &mut Command) -> Result<Output> {
    let command = std::mem::replace(command, Command::new("true"));
    output(command, LIMIT).await
}

fn nix_store(base: &Path, cache_url: &str, public_key: &str) -> Result<Command> {
    for folder in ["home", "etc", "tmp"] {
        fs::create_dir_all(base.join(folder)).context("cannot create a folder for nix")?;
    }
    let settings = format!(
        "sandbox = false
build-users-group =
substituters = {cache_url}
trusted-public-keys = {public_key}
require-sigs = true
fallback = false
builders =
connect-timeout = 10
download-attempts = 2
narinfo-cache-negative-ttl = 0
narinfo-cache-positive-ttl = 0
"
    );
    fs::write(base.join("etc/nix.conf"), settings).context("cannot write nix.conf")?;
    let mut command = Command::new("nix-store");
    command
        .arg("--store")
        .arg(base.join("root"))
        .env("HOME", base.join("home"))
        .env("NIX_CONF_DIR", base.join("etc"))
        .env("TMPDIR", base.join("tmp"))
        .env_remove("NIX_PATH")
        .env_remove("NIX_REMOTE")
        .env_remove("NIX_CONFIG")
        .env_remove("XDG_CACHE_HOME")
        .env_remove("XDG_CONFIG_HOME");
    Ok(command)
}
