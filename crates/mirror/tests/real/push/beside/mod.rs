//! Pushes of what stands beside artifacts: by the real Nix, with its order of things, and by clients that do it wrong.

use std::io::Write as _;

use http::StatusCode;

use super::Fixture;
use crate::support::TOKEN;

mod by_nix;
mod listings;
mod logs;
mod realisations;

const DRV: &str = "342j0k7izm42zawjxk4hfsqsv88s5795-library-1.0.drv";

impl Fixture {
    async fn put_encoded(&self, path: &str, encoding: &str, body: Vec<u8>) -> StatusCode {
        let request = self.scene.client.put(format!("{}/{path}", self.mirror.url())).bearer_auth(TOKEN);
        request.header("content-encoding", encoding).body(body).send().await.unwrap().status()
    }

    /// Pushes the library, with a derivation, which no signature covers.
    async fn push_library(&self) {
        let (narinfo, nar, url) = self.pair(&self.library);
        assert_eq!(self.put(&url, nar).await.0, StatusCode::CREATED);
        let narinfo = narinfo.lines().filter(|line| !line.starts_with("Deriver:")).collect::<Vec<_>>();
        let narinfo = format!("{}\nDeriver: {DRV}\n", narinfo.join("\n"));
        let (status, words) = self.put(&self.library.narinfo(), narinfo.into()).await;
        assert_eq!(status, StatusCode::CREATED, "{words}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}
