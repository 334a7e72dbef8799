//! nginx with TLS, whose authority nobody knows.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Running, eventually, free_port, text};

/// The server, ended with the value.
pub struct Guarded {
    _nginx: Running,
    pub url: String,
    /// The certificate of the authority that vouches for it.
    pub authority: PathBuf,
}

impl Guarded {
    /// `server`: what nginx is told about what it serves.
    pub async fn serve(base: &Path, server: &str) -> Self {
        let base = base.join("guarded");
        std::fs::create_dir_all(&base).unwrap();
        let (key, authority, port) = (base.join("key.pem"), base.join("authority.pem"), free_port());
        let certificate = base.join("server.pem");
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let made = |more: &[&str]| {
            let made =
                Command::new("openssl").args(["req", "-x509"]).args(curve).args(more).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        let authority_key = base.join("authority-key.pem");
        made(&["-subj", "/CN=test", "-keyout", text(&authority_key), "-out", text(&authority)]);
        let by = ["-CA", text(&authority), "-CAkey", text(&authority_key), "-subj", "/CN=localhost"];
        let of = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE"];
        made(&[&by[..], &of, &["-keyout", text(&key), "-out", text(&certificate)]].concat());
        let user = if nix::unistd::getuid().is_root() { "user root;" } else { "" };
        let base_text = base.display();
        let (key, certificate) = (key.display(), certificate.display());
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {base_text}/{kind};\n"))
            .concat();
        let conf = format!(
            "{user} daemon off; pid {base_text}/pid; error_log {base_text}/error;\nevents {{}}\nhttp {{\n{temp}\
             access_log off;\nserver {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {certificate};\n\
             ssl_certificate_key {key};\n{server}}}\n}}\n"
        );
        std::fs::write(base.join("nginx.conf"), conf).unwrap();
        let nginx = Running::start(Command::new("nginx").arg("-c").arg(base.join("nginx.conf")));
        let up = async || std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop);
        eventually("nginx listens", up).await;
        Self { _nginx: nginx, url: format!("https://localhost:{port}"), authority }
    }
}
