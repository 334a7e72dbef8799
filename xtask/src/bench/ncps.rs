//! ncps, the other proxy that people put in front of a cache: measured beside ours where it can be had.

use std::process::{Command, Stdio};

/// Its Go module.
const MODULE: &str = "github.com/kalbasit/ncps";

/// Why it is not in the table.
pub fn skipped() -> String {
    let output = Command::new("go")
        .args(["list", "-m", &format!("{MODULE}@latest")])
        // Outside of any module, and with whatever proxy the machine has.
        .current_dir("/")
        .env("GOFLAGS", "-mod=mod")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            format!("ncps is skipped: the module proxy has {version}, and nothing here sets it up yet")
        }
        Ok(_) => format!("ncps is skipped: the module proxy does not have {MODULE}"),
        Err(error) => format!("ncps is skipped: go cannot be started: {error}"),
    }
}
