//! Pull-through: a mirror that starts with nothing, the real nginx, and the real Nix.

use crate::support::{Artifact, Mirror, Nix, Scene, eventually, noise, succeeded};

mod away;
mod clients;
mod parts;
mod restart;
mod room;

/// An application and its closure: a large library, a small one, and what both need.
fn artifacts() -> [Artifact; 4] {
    let base = Artifact::new("base-1.0", 0, b"everybody needs it".to_vec(), &[]);
    let large = Artifact::new("large-1.0", 0, noise(5 << 20), &[&base]);
    let small = Artifact::new("small-1.0", 0, noise(200_000), &[&base]);
    let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&large, &small, &base]);
    [base, large, small, app]
}

/// A mirror that nothing is asked of but what clients ask for.
struct PullThrough {
    mirror: Mirror,
    artifacts: [Artifact; 4],
    // The last to go: the mirror's log is in its folder.
    scene: Scene,
}

impl PullThrough {
    async fn start() -> Option<Self> {
        let artifacts = artifacts();
        let scene = Scene::of(&artifacts).await?;
        let mirror = scene.run("pullThrough: {maxSize: 1Gi}");
        let pull = Self { mirror, artifacts, scene };
        pull.ready().await;
        Some(pull)
    }

    async fn ready(&self) {
        eventually("nginx answers", async || {
            let health = self.mirror.try_get("granary/v1/healthz").await.ok()?;
            health.status().is_success().then_some(())
        })
        .await;
        let agent = self.mirror.agent("/healthz");
        eventually("the agent answers", async || self.scene.client.get(&agent).send().await.ok()).await;
    }

    /// Starts it on the same disk. The old one, when it is dropped, ends the nginx that it finds.
    async fn restart(&mut self) -> Mirror {
        let new = Mirror::run(self.mirror.site.clone());
        let old = std::mem::replace(&mut self.mirror, new);
        self.ready().await;
        old
    }

    fn app(&self) -> &Artifact {
        &self.artifacts[3]
    }

    /// The application and its closure come into an empty store.
    fn substitute(&self, name: &str) {
        // With a home of its own, as on another machine: Nix remembers narinfos there.
        let nix = Nix::new(&self.scene.path().join(name));
        succeeded(&nix.substitute(name, &self.mirror.url(), &self.scene.corpus.key, &self.app().path));
        for artifact in &self.artifacts {
            nix.has(name, artifact);
        }
    }

    async fn published(&self, count: u64) {
        self.mirror.until("everything is published", |report| report.artifacts == count).await;
    }

    /// The tree is a valid cache; what is said of it.
    fn verify(&self) -> String {
        self.mirror.verified(&self.scene.corpus.key)
    }
}
