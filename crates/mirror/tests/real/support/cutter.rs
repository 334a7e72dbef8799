//! A network in which the first transfer of a NAR file breaks off in the middle.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Passes connections on, one request each, and cuts the first NAR file after so many bytes of its answer.
pub struct Cutter {
    pub url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Cutter {
    pub async fn start(to: u16, after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client that goes away ends its own connection only.
                tokio::spawn(pass(client, to, after, Arc::clone(&seen)));
            }
        });
        Self { url, heads }
    }

    /// The heads of the requests for NAR files.
    pub fn nars(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn pass(
    mut client: TcpStream,
    to: u16,
    after: usize,
    heads: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return Ok(()),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let first = head.starts_with("GET /nar/") && {
        let mut heads = heads.lock().unwrap();
        heads.push(head.to_lowercase());
        heads.len() == 1
    };
    let mut server = TcpStream::connect(("127.0.0.1", to)).await?;
    // One request a connection, so that the end of the answer is the end of the connection.
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes()).await?;
    let (mut left, mut buffer) = (if first { after } else { usize::MAX }, vec![0; 64 << 10]);
    loop {
        let length = server.read(&mut buffer).await?.min(left);
        if length == 0 {
            return Ok(());
        }
        client.write_all(&buffer[..length]).await?;
        left -= length;
    }
}
