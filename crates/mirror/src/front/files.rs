//! Puts the rendered files where nginx reads them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Rendered;

/// A rendered file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct FilesError {
    path: PathBuf,
    source: io::Error,
}

/// Writes the files that differ from what is there, each by rename, and tells whether any did.
pub fn write_rendered(directory: &Path, rendered: &Rendered) -> Result<bool, FilesError> {
    let Rendered { nginx_conf, mirrors_map } = rendered;
    fs::create_dir_all(directory).map_err(|source| FilesError { path: directory.into(), source })?;
    // The included file first, so that nginx.conf never names a file that is not there.
    let map = write_if_changed(&directory.join("mirrors.map"), mirrors_map)?;
    let conf = write_if_changed(&directory.join("nginx.conf"), nginx_conf)?;
    Ok(map || conf)
}

fn write_if_changed(path: &Path, content: &str) -> Result<bool, FilesError> {
    if fs::read(path).is_ok_and(|old| old == content.as_bytes()) {
        return Ok(false);
    }
    let new = path.with_extension("new");
    fs::write(&new, content)
        .and_then(|()| fs::rename(&new, path))
        .map_err(|source| FilesError { path: path.into(), source })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_whether_anything_changed() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("front");
        let mut rendered = Rendered { nginx_conf: "a".into(), mirrors_map: "b".into() };
        assert!(write_rendered(&directory, &rendered).unwrap());
        assert!(!write_rendered(&directory, &rendered).unwrap());
        rendered.mirrors_map = "c".into();
        assert!(write_rendered(&directory, &rendered).unwrap());
        assert_eq!(fs::read_to_string(directory.join("mirrors.map")).unwrap(), "c");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "no temporary file stays");
    }

    #[test]
    fn an_unusable_directory_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        let error =
            write_rendered(&file, &Rendered { nginx_conf: String::new(), mirrors_map: String::new() })
                .unwrap_err();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}
