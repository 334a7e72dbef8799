//! An image with a shell, for looking at the cluster from inside: busybox and nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The name of the image.
pub const IMAGE: &str = "granary.test/probe:dev";

const BUSYBOX: &str = "/bin/busybox";

/// Writes the image as a tar of an OCI layout.
pub fn write(file: &Path) -> Result<()> {
    let program = fs::read(BUSYBOX)
        .with_context(|| format!("cannot read {BUSYBOX} (Debian package busybox-static)"))?;
    let mut layer = tar::Builder::new(Vec::new());
    for dir in ["bin/", "etc/", "tmp/", "www/"] {
        entry(&mut layer, dir, tar::EntryType::Directory, &[])?;
    }
    entry(&mut layer, "bin/busybox", tar::EntryType::Regular, &program)?;
    let layer = layer.into_inner().context("cannot finish the layer")?;

    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": [BUSYBOX], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    })
    .to_string()
    .into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    let mut listed = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    listed["annotations"] =
        json!({"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": IMAGE});
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [listed],
    });

    let mut layout = tar::Builder::new(Vec::new());
    entry(&mut layout, "oci-layout", tar::EntryType::Regular, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    entry(&mut layout, "index.json", tar::EntryType::Regular, index.to_string().as_bytes())?;
    for blob in [&config, &manifest, &layer] {
        let name = format!("blobs/sha256/{}", digest(blob).trim_start_matches("sha256:"));
        entry(&mut layout, &name, tar::EntryType::Regular, blob)?;
    }
    let layout = layout.into_inner().context("cannot finish the image")?;
    fs::write(file, layout).with_context(|| format!("cannot write {}", file.display()))
}

fn entry(tar: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, content: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o777);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content).with_context(|| format!("cannot pack {name}"))
}

fn descriptor(media_type: &str, blob: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn digest(blob: &[u8]) -> String {
    Sha256::digest(blob).iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
}
