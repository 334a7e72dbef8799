//! Where things are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The root of this source tree.
pub fn workspace() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask has no parent folder")?.to_path_buf())
}

/// The cache folder that these variables ask for: the project's own, else the user's, else the default in the home.
pub fn cache(own: Option<PathBuf>, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf> {
    let given = |path: Option<PathBuf>| path.filter(|path| path.is_absolute());
    if let Some(path) = own {
        return std::path::absolute(path).context("GRANARY_CACHE");
    }
    if let Some(path) = given(xdg) {
        return Ok(path.join("granary"));
    }
    let home = given(home).context("HOME is not set; set GRANARY_CACHE to a folder that may hold 8 GB")?;
    Ok(home.join(".cache/granary"))
}

/// The search path with the folders of the system programs, which not every user has in it.
pub fn search() -> OsString {
    let given = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    // Only a folder with a colon in its name cannot be joined, and none of these has one.
    std::env::join_paths(std::env::split_paths(&given).chain(system)).unwrap_or(given)
}

/// The program's place in the search path, or the file itself when an absolute path is given.
pub fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&search()).map(|dir| dir.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_folder_follows_the_variables() {
        let some = |path: &str| Some(PathBuf::from(path));
        assert_eq!(cache(some("/c"), some("/x"), some("/h")).unwrap(), Path::new("/c"));
        assert_eq!(cache(None, some("/x"), some("/h")).unwrap(), Path::new("/x/granary"));
        assert_eq!(cache(None, some("relative"), some("/h")).unwrap(), Path::new("/h/.cache/granary"));
        assert_eq!(cache(None, None, some("/h")).unwrap(), Path::new("/h/.cache/granary"));
        assert!(cache(None, None, None).unwrap_err().to_string().contains("GRANARY_CACHE"));
    }

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        assert!(program("cat").is_some());
        assert_eq!(program("/bin/cat"), Some(PathBuf::from("/bin/cat")));
        assert_eq!(program("no-such-program-anywhere"), None);
    }
}
