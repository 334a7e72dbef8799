//! A tar of an OCI image layout, as `ctr images import` and `skopeo copy oci-archive:` take it.

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::images::layer::{self, Owner, header};
use crate::key::hex;

/// The name of a blob: the hash of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "sha256:{}", self.0)
    }
}

/// An image, ready to be written: its blobs and the index that names them.
pub struct Image {
    index: Vec<u8>,
    /// Configuration, manifest, layers.
    blobs: Vec<(Digest, Vec<u8>)>,
}

impl Image {
    /// An image of these layers, lowest first, that starts `entrypoint` as our user.
    pub fn new(name: &str, layers: Vec<Vec<u8>>, entrypoint: &str) -> Self {
        let layers: Vec<(Digest, Vec<u8>)> =
            layers.into_iter().map(|bytes| (Digest::of(&bytes), bytes)).collect();
        let config = configuration(&layers, entrypoint).to_string().into_bytes();
        let described: Vec<Value> = layers
            .iter()
            .map(|(digest, bytes)| descriptor("application/vnd.oci.image.layer.v1.tar", digest, bytes.len()))
            .collect();
        let config_digest = Digest::of(&config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config_digest, config.len()),
            "layers": described,
        });
        let manifest = manifest.to_string().into_bytes();
        let manifest_digest = Digest::of(&manifest);
        let mut entry = descriptor(MANIFEST, &manifest_digest, manifest.len());
        entry["platform"] = json!({"architecture": architecture(), "os": "linux"});
        entry["annotations"] = json!({
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rsplit(':').next(),
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        });
        let mut blobs = vec![(config_digest, config), (manifest_digest, manifest)];
        blobs.extend(layers);
        Self { index: index.to_string().into_bytes(), blobs }
    }

    /// Writes the layout's tar.
    pub fn write(&self, path: &Path) -> Result<()> {
        let file = fs::File::create(path).with_context(|| format!("writing {}", path.display()))?;
        let mut tar = tar::Builder::new(std::io::BufWriter::new(file));
        let mut put = |name: &str, bytes: &[u8]| {
            let mut header = header(tar::EntryType::Regular, 0o644, Owner::Root);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes)
        };
        put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        put("index.json", &self.index)?;
        for (Digest(name), bytes) in &self.blobs {
            put(&format!("blobs/sha256/{name}"), bytes)?;
        }
        tar.into_inner()?.into_inner().context("writing the end of the image")?.sync_all()?;
        Ok(())
    }

    /// The digests of the layers, lowest first.
    #[cfg(test)]
    pub fn layers(&self) -> Vec<Digest> {
        self.blobs[2..].iter().map(|(digest, _)| digest.clone()).collect()
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The digest of the one manifest in an image's tar: what a registry shows after a push.
pub fn digest_of(tar: &Path) -> Result<String> {
    let file = fs::File::open(tar).with_context(|| format!("reading {}", tar.display()))?;
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.as_os_str() == "index.json" {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            let index: Value = serde_json::from_str(&text)?;
            let digest = index["manifests"][0]["digest"].as_str();
            return Ok(digest.context("the index names no manifest")?.to_owned());
        }
    }
    anyhow::bail!("{} has no index.json", tar.display())
}

fn configuration(layers: &[(Digest, Vec<u8>)], entrypoint: &str) -> Value {
    json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": format!("{0}:{0}", layer::USER),
            "Entrypoint": [entrypoint],
            "Env": ["PATH=/usr/bin:/usr/sbin"],
            "WorkingDir": "/",
            "Labels": {
                "org.opencontainers.image.title": entrypoint.rsplit('/').next(),
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            },
        },
        "rootfs": {
            "type": "layers",
            // The layers are not compressed, so that a layer's digest is also that of its content.
            "diff_ids": layers.iter().map(|(digest, _)| digest.to_string()).collect::<Vec<_>>(),
        },
    })
}

fn descriptor(media_type: &str, digest: &Digest, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

/// The machine's architecture in the words of container images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_names_only_blobs_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image.tar");
        let image = Image::new("host/name:tag", vec![vec![1, 2], vec![3]], "/usr/bin/program");
        image.write(&path).unwrap();
        let mut files = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(fs::File::open(&path).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(entry.path().unwrap().to_string_lossy().into_owned(), bytes);
        }
        let blob = |described: &Value| {
            let digest = described["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let bytes = files[&format!("blobs/sha256/{digest}")].clone();
            assert_eq!(hex(&Sha256::digest(&bytes)), digest);
            assert_eq!(described["size"], bytes.len());
            bytes
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let entry = &index["manifests"][0];
        assert_eq!(entry["annotations"]["io.containerd.image.name"], "host/name:tag");
        assert_eq!(entry["digest"], digest_of(&path).unwrap());
        let manifest: Value = serde_json::from_slice(&blob(entry)).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["User"], "64532:64532");
        assert_eq!(blob(&manifest["layers"][0]), [1, 2]);
        assert_eq!(blob(&manifest["layers"][1]), [3]);
        assert_eq!(config["rootfs"]["diff_ids"][1], manifest["layers"][1]["digest"]);
    }
}
