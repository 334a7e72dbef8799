//! Certificates.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Client;

use super::{client, succeeded};

/// Certificates for 127.0.0.1 by an authority of the test's own.
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    pub fn new(base: &Path) -> Self {
        let folder = base.join("authority");
        std::fs::create_dir(&folder).unwrap();
        let this = Self { folder };
        this.openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=Test authority"],
        );
        this
    }

    fn openssl(&self, first: &[&str], rest: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(first).args(rest).current_dir(&self.folder).stdin(Stdio::null());
        succeeded(&command.output().unwrap());
    }

    pub fn bundle(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A certificate and its key, PEM.
    pub fn issue(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let (request, key, certificate) =
            (format!("{name}.csr"), format!("{name}.key"), format!("{name}.crt"));
        std::fs::write(self.folder.join("extensions"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        self.openssl(
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-keyout", &key, "-out", &request, "-subj", &format!("/CN={name}")],
        );
        self.openssl(
            &["x509", "-req", "-in", &request, "-CA", "ca.crt", "-CAkey", "ca.key"],
            &["-CAcreateserial", "-out", &certificate, "-days", "20", "-extfile", "extensions"],
        );
        let read = |name: &str| std::fs::read(self.folder.join(name)).unwrap();
        (read(&certificate), read(&key))
    }

    /// A client that trusts this authority and keeps no connection, so that each answer shows the certificate of now.
    pub fn client(&self) -> Client {
        drop(client());
        let authority = reqwest::Certificate::from_pem(&std::fs::read(self.bundle()).unwrap()).unwrap();
        Client::builder()
            .tls_certs_only([authority])
            .tls_info(true)
            .pool_max_idle_per_host(0)
            .build()
            .unwrap()
    }
}
