//! A plain nginx over a folder of files: the upstream of a sync and the yardstick of the front.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::measure;

/// A running nginx that ends with this value.
#[derive(Debug)]
pub struct PlainNginx {
    child: Child,
    port: u16,
}

impl PlainNginx {
    /// Serves `root` on a free port of the loopback address; `state` holds its configuration and temporary files.
    pub fn start(root: &Path, state: &Path) -> Result<Self> {
        fs::create_dir_all(state).with_context(|| format!("cannot create {}", state.display()))?;
        let port = free_port()?;
        let config = state.join("nginx.conf");
        fs::write(&config, configuration(root, state, port))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let child = Command::new("nginx")
            .arg("-e")
            .arg(state.join("error.log"))
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start nginx")?;
        let server = Self { child, port };
        measure::wait_for_port(port, Duration::from_secs(10))?;
        Ok(server)
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The master process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for PlainNginx {
    fn drop(&mut self) {
        // SIGKILL to the master alone would leave its workers; SIGTERM makes it end them first.
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        if nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).is_ok() {
            let _ = self.child.wait();
        }
    }
}

/// A port that nothing listens on at this moment, nor on the next one, where a mirror's agent is.
pub fn free_port() -> Result<u16> {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot find a free port")?;
        let port = listener.local_addr().context("cannot read the port")?.port();
        if port.checked_add(1).is_some_and(|next| TcpListener::bind(("127.0.0.1", next)).is_ok()) {
            return Ok(port);
        }
    }
}

fn configuration(root: &Path, state: &Path, port: u16) -> String {
    let (root, state) = (root.display(), state.display());
    format!(
        "daemon off;\nuser root;\nworker_processes auto;\npid {state}/nginx.pid;\nevents {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n  log_not_found off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests 1000000;\n  \
         client_body_temp_path {state}/body;\n  proxy_temp_path {state}/proxy;\n  fastcgi_temp_path {state}/fastcgi;\n  uwsgi_temp_path {state}/uwsgi;\n  scgi_temp_path {state}/scgi;\n  \
         server {{ listen 127.0.0.1:{port}; root {root}; }}\n}}\n"
    )
}
