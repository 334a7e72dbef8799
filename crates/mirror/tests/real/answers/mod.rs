//! What nginx answers to the letter: tags and ranges, paths in every spelling, and what it says when a file, the agent or
//! the whole tree is away.

use reqwest::Response;

use crate::support::{Artifact, Mirror, Scene, wants};

mod heads;
mod hits;
mod parts;
mod paths;
mod trouble;

/// Mirrors of one artifact, synced.
struct One {
    scene: Scene,
    data: Artifact,
}

impl One {
    async fn new() -> Option<Self> {
        let data = Artifact::sized("data-1.0", 200_000);
        Some(Self { scene: Scene::of(std::slice::from_ref(&data)).await?, data })
    }

    async fn mirror(&self, name: &str) -> Mirror {
        // One pass, so that what the tests damage stays so.
        let more = format!("{}\nsyncSeconds: 86400", wants(&[&self.data]));
        let mirror = self.scene.run_at(self.scene.site(name), &more);
        mirror.synced().await;
        mirror
    }

    async fn get(&self, mirror: &Mirror, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.scene.client.get(format!("{}/{path}", mirror.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }
}
