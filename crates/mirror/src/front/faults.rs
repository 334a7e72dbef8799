//! What nginx says of files that it cannot read. It has begun its answer by then, and the client sees it cut; so the agent
//! has to look at the file at once, and not when its turn comes.
//!
//! nginx says it to a socket beside its configuration: a file there that it keeps open would keep an admin from remounting
//! the disk read-only.

use std::path::{Path, PathBuf};

/// Most bytes of a socket's path, and of what nginx takes for one.
const LONGEST: usize = 100;
/// Linux's numbers for a disk that does not give back what it has: EIO, EBADMSG, EUCLEAN.
const NUMBERS: [&str; 3] = ["(5: ", "(74: ", "(117: "];

/// Where the agent listens, by the directory of nginx's files. `None`: nginx could not be told of that path.
#[must_use]
pub fn faults_socket(directory: &Path) -> Option<PathBuf> {
    let path = directory.join("errors.sock");
    let text = path.to_str()?;
    (text.len() <= LONGEST && !text.contains(',')).then_some(path)
}

/// The path, as the client asked for it, that a line of nginx's is about, if it says that the file cannot be read.
#[must_use]
pub fn unreadable(line: &str) -> Option<&str> {
    let (said, request) = line.split_once(", request: \"")?;
    NUMBERS.iter().any(|number| said.contains(number)).then_some(())?;
    request.split(' ').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_named_by_what_was_asked_for() {
        let about = "client: 127.0.0.1, server: , request: \"GET";
        let sendfile = "<185>Nov 27 05:00:00 nginx: 2026/11/27 05:00:00 [alert] 7#7: *3 sendfile() failed (5: \
                        Input/output error) while sending response to client";
        let read =
            "2026/11/27 05:00:00 [crit] 7#7: *4 pread() \"/srv/a\" failed (117: Structure needs cleaning)";
        let full = "2026/11/27 05:00:00 [crit] 7#7: *5 open() \"/srv/a\" failed (24: Too many open files)";
        for (said, path) in [(sendfile, Some("/nar/a.nar.xz")), (read, Some("/nar/a.nar.xz")), (full, None)] {
            let line = format!("{said}, {about} /nar/a.nar.xz HTTP/1.1\", host: \"(5: x\"");
            assert_eq!(unreadable(&line), path, "{line}");
        }
        assert_eq!((unreadable("nonsense (5: "), unreadable("(5: , request: \"")), (None, None));
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_none() {
        let socket = |directory: &str| faults_socket(Path::new(directory));
        assert_eq!(socket("/run/granary/front").unwrap(), Path::new("/run/granary/front/errors.sock"));
        assert_eq!((socket(&format!("/{}", "x".repeat(100))), socket("/srv/a,b")), (None, None));
    }
}
