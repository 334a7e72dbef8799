//! What a mirror needs for taking pushes, and a client for giving them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

/// Who may push.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Writes the token into this folder; the lines of a configuration that take pushes with it, signed by `key`.
pub fn takes_pushes(folder: &Path, max_size: &str, key: &str) -> String {
    let tokens = folder.join("tokens");
    fs::write(&tokens, format!("# who may push\nci:{TOKEN}\n")).unwrap();
    format!("push: {{tokenFile: '{}', maxSize: {max_size}, publicKeys: ['{key}']}}", tokens.display())
}

/// A file in this folder by which Nix sends a token.
pub fn netrc(folder: &Path, token: &str) -> PathBuf {
    let netrc = folder.join("netrc");
    fs::write(&netrc, format!("machine 127.0.0.1\nlogin nix\npassword {token}\n")).unwrap();
    netrc
}

/// Sends the first half of an upload, once the server has asked for it.
pub fn put_half(port: u16, path: &str, body: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    write!(
        socket,
        "PUT /{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\
         Expect: 100-continue\r\n\r\n"
    )
    .unwrap();
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(&body[..length / 2]).unwrap();
    socket
}
