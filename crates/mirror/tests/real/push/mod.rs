//! Pushes, through the real nginx: by `nix copy --to http://…`, and by clients that do it wrong.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use http::StatusCode;

use crate::support::{
    AS_JSON, Artifact, Corpus, Mirror, Scene, TOKEN, library_and_app, netrc, takes_pushes, wants,
};

mod beside;
mod by_nix;
mod clients;
mod large;

/// A mirror that takes pushes, and a store that has what is pushed.
struct Fixture {
    library: Artifact,
    app: Artifact,
    mirror: Mirror,
    // The last to go: the mirror's log is in its folder.
    scene: Scene,
}

impl Fixture {
    async fn start(quota: &str) -> Option<Self> {
        let [library, app] = library_and_app(3_000_000);
        let own = Artifact::new("own-1.0", 0, b"the mirror's own".to_vec(), &[]);
        let artifacts = [library, app, own];
        let scene = Scene::of(&artifacts).await?;
        let [library, app, own] = artifacts;
        let site = scene.site("lan");
        let push = takes_pushes(&site.base, quota, &scene.corpus.key);
        scene.write(&site, &format!("{}\n{push}", wants(&[&own])));
        let mirror = Mirror::run_with(site, &[AS_JSON]);
        mirror.synced().await;
        Some(Self { library, app, mirror, scene })
    }

    /// `nix copy` of the application to the mirror, with this token in a netrc file. `options` stand in the store's address.
    fn copy(&self, token: &str, options: &str) -> Output {
        let Corpus { nix, root, .. } = &self.scene.corpus;
        let mut copy = nix.command("nix");
        copy.args(["copy", "--no-check-sigs", "--option", "netrc-file"]).arg(netrc(self.scene.path(), token));
        let to = format!("{}?compression=zstd{options}", self.mirror.url());
        copy.arg("--from").arg(root).args(["--to", &to, &self.app.path]);
        copy.output().unwrap()
    }

    fn signed(&self) -> String {
        format!("&secret-key={}", self.scene.corpus.secret.display())
    }

    async fn put(&self, path: &str, body: Vec<u8>) -> (StatusCode, String) {
        let request =
            self.scene.client.put(format!("{}/{path}", self.mirror.url())).bearer_auth(TOKEN).body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn status(&self, path: &str) -> StatusCode {
        self.scene.client.head(format!("{}/{path}", self.mirror.url())).send().await.unwrap().status()
    }

    /// The narinfo as Nix wrote it, and its NAR file's bytes and name.
    fn pair(&self, artifact: &Artifact) -> (String, Vec<u8>, String) {
        let narinfo = self.scene.corpus.cache.join(artifact.narinfo());
        (
            fs::read_to_string(narinfo).unwrap(),
            self.scene.corpus.nar(artifact),
            self.scene.corpus.narinfo(artifact).url,
        )
    }

    fn incoming(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.mirror.site.tree().join(".granary/incoming")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        let answer = self.mirror.get(path).await;
        (answer.status(), answer.bytes().await.unwrap().into())
    }

    /// What the tree has under a name.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.mirror.site.tree().join(name)).ok()
    }

    fn is_visible(&self, artifact: &Artifact) -> bool {
        self.mirror.site.tree().join(artifact.narinfo()).exists()
    }
}
