//! What a mirror shows of itself: the page, the metrics, readiness, and the log.

use reqwest::{Client, Response};

use crate::support::{Artifact, Scene, flip, good_bad_and_user};

mod channels;
mod metrics;
mod page;
mod ready;
mod told;

/// What a browser says it takes.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn browse(client: &Client, url: &str) -> Response {
    client.get(url).header("Accept", BROWSER).send().await.unwrap()
}

/// A cache in which one artifact is good, one has a damaged NAR file, and one needs that.
async fn three() -> Option<(Scene, [Artifact; 3])> {
    let artifacts = good_bad_and_user();
    let scene = Scene::of(&artifacts).await?;
    flip(&scene.corpus.nar_file(&artifacts[1]));
    Some((scene, artifacts))
}
