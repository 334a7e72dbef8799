//! An upstream binary cache: plain nginx over a folder, with the faults that upstreams have.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::Signal;

use crate::cluster::CONTROL_PLANE;
use crate::cluster::process::{Daemon, Spec};

/// What [`Upstream::guarded_url`] asks for, as a bearer token.
pub const TOKEN: &str = "let-me-in-4711";

/// nginx on the bridge. It ends when this is dropped.
#[derive(Debug)]
pub struct Upstream {
    url: String,
    guarded_url: String,
    dir: PathBuf,
    log: PathBuf,
    spec: Spec,
    process: Mutex<Option<Daemon>>,
}

impl Upstream {
    /// Serves `dir` at `http://10.77.0.1:<port>`; nginx's own files go to `<state>`, which is created.
    pub fn start(dir: &Path, port: u16, state: &Path) -> Result<Self> {
        fs::create_dir_all(state).with_context(|| format!("cannot create {}", state.display()))?;
        let config = state.join("nginx.conf");
        fs::write(&config, nginx_config(dir, port, state)).context("cannot write an nginx configuration")?;
        // One process, so that a signal reaches all of it.
        let spec = Spec::new("nginx", state, "nginx").arg("-p").arg(state).arg("-c").arg(config);
        let process = Mutex::new(Some(spec.start()?));
        let url = format!("http://{CONTROL_PLANE}:{port}");
        let guarded_url = format!("{url}/guarded");
        Ok(Self { url, guarded_url, dir: dir.to_owned(), log: state.join("access.log"), spec, process })
    }

    /// The address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same cache for those who bring [`TOKEN`]; everybody else is answered 401.
    #[must_use]
    pub fn guarded_url(&self) -> &str {
        &self.guarded_url
    }

    /// The folder that is served; what changes there is served at once.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The requests so far, as `METHOD PATH STATUS BYTES`.
    pub fn requests(&self) -> Result<Vec<String>> {
        let text =
            fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(text.lines().map(Into::into).collect())
    }

    /// Goes away: connections are refused.
    pub fn stop(&self) -> Result<()> {
        match self.process()?.take() {
            Some(mut daemon) => daemon.kill(),
            None => Ok(()),
        }
    }

    /// Comes back after [`Upstream::stop`].
    pub fn start_again(&self) -> Result<()> {
        let mut process = self.process()?;
        if process.is_none() {
            *process = Some(self.spec.start()?);
        }
        Ok(())
    }

    /// Falls silent: connections are taken and nothing is answered.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Answers again after [`Upstream::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.process()?.as_ref().context("the upstream is not running")?.signal(signal)
    }

    fn process(&self) -> Result<std::sync::MutexGuard<'_, Option<Daemon>>> {
        self.process.lock().map_err(|_| anyhow!("a test panicked while it held an upstream"))
    }
}

fn nginx_config(dir: &Path, port: u16, state: &Path) -> String {
    let dir = dir.display();
    let state = state.display();
    format!(
        r#"daemon off;
master_process off;
user root;
pid {state}/nginx.pid;
error_log {state}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  log_format short "$request_method $request_uri $status $body_bytes_sent";
  access_log {state}/access.log short;
  client_body_temp_path {state}/body;
  proxy_temp_path {state}/proxy;
  fastcgi_temp_path {state}/fastcgi;
  uwsgi_temp_path {state}/uwsgi;
  scgi_temp_path {state}/scgi;
  types {{ text/x-nix-narinfo narinfo; application/x-nix-nar nar; }}
  default_type application/octet-stream;
  server {{
    listen {CONTROL_PLANE}:{port} reuseport;
    root "{dir}";
    location /guarded/ {{
      if ($http_authorization != "Bearer {TOKEN}") {{
        return 401;
      }}
      alias "{dir}/";
    }}
  }}
}}
"#
    )
}

/// Copies a cache, so that it can be changed. NARs become hard links where possible: replace such a file, do not write into it.
pub fn copy_cache(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry.with_context(|| format!("cannot list {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy_cache(&source, &target)?;
        } else if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target).with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}

/// Replaces a file by a changed copy; other names of the old file keep the old content.
pub fn change_file(file: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<()> {
    let old = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let partial = file.with_extension("partial");
    fs::write(&partial, change(old)).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, file).with_context(|| format!("cannot replace {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_copy_leaves_the_original_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("nar")).unwrap();
        fs::write(from.join("nar/a"), "right").unwrap();
        copy_cache(&from, &to).unwrap();
        change_file(&to.join("nar/a"), |_| b"wrong".to_vec()).unwrap();
        assert_eq!(fs::read(from.join("nar/a")).unwrap(), b"right");
        assert_eq!(fs::read(to.join("nar/a")).unwrap(), b"wrong");
    }
}
