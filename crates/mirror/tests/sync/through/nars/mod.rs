//! NAR files of what nobody wanted before: one transfer for all, verified, kept, and cut when they are wrong.

use granary_nix::{NarInfo, StorePath};

use super::{Got, Site, read};
use crate::common::{Cache, Reply, Upstream, source};
use crate::{clean, is_visible};

mod restart;
mod shared;
mod wrong;

/// Above what is checked before its first byte is shown.
const LARGE: usize = 3 << 20;

/// A large artifact, and where it is.
struct Scene {
    cache: Cache,
    path: StorePath,
    upstream: Upstream,
    site: Site,
    info: NarInfo,
    file: Vec<u8>,
}

impl Scene {
    async fn of_size(size: usize) -> Self {
        Self::with(size, |_| {}).await
    }

    /// `change` alters what the upstream says of the artifact.
    async fn with(bytes: usize, change: impl FnOnce(&mut NarInfo)) -> Self {
        let mut cache = Cache::new("test-1");
        let path = cache.add_sized("large", &[], bytes);
        change(&mut cache.get(&path).info);
        let upstream = Upstream::of(&cache).await;
        let site = Site::new(&[source(&upstream, &cache.keys(), 40)]);
        let info = (*site.found(&path).await).clone();
        let file = cache.get(&path).file.clone();
        Self { cache, path, upstream, site, info, file }
    }

    /// How the upstream answers for the file from now on.
    fn set(&mut self, reply: Reply) {
        let url = self.cache.get(&self.path).info.url.clone();
        self.upstream.set(&url, reply);
    }

    fn nars_asked(&mut self) -> usize {
        let url = self.cache.get(&self.path).info.url.clone();
        self.upstream.take_asked().iter().filter(|asked| asked.path == url).count()
    }

    /// The tree is valid, and has the artifact or nothing.
    fn holds(&self, expected: bool) {
        let check = clean(self.site.path(), &self.cache.keys());
        assert_eq!(check.artifacts, u64::from(expected));
        assert_eq!(check.notes, [], "nothing lies about");
        assert_eq!(is_visible(self.site.path(), &self.path), expected);
        let temp = std::fs::read_dir(self.site.path().join(".granary/tmp")).unwrap().count();
        assert_eq!(temp, 0, "nothing half-written is left");
    }
}
