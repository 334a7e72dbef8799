//! Everything that belongs to one artifact.

use granary_nix::realisation::BuildTraceKey;
use granary_nix::{Extra, ExtraKind, HashPart, NarInfo, StorePath};
use tracing::debug;

use super::made::{is_debug, is_indexed};
use super::{Asked, Checked, Keeper};

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Completed {
    /// Somebody was asked.
    pub asked: bool,
    /// Something may be there and was not had.
    pub failed: bool,
}

impl Keeper {
    /// Gets what belongs to a published artifact and is not there yet. Does nothing when it is not published.
    pub async fn complete(&self, hash: &HashPart) -> Completed {
        let mut done = Completed::default();
        let Some(info) = self.published(*hash).await else { return done };
        if self.is_full() {
            return Completed { failed: true, ..done };
        }
        let has_debug = self.listing(&info, &mut done).await;
        if self.wants(ExtraKind::DebugInfo) && has_debug && !self.is_indexed(*hash).await {
            self.make_or_tell(&info, &mut done).await;
        }
        if let Some(log) = info.deriver.clone().and_then(|derivation| Extra::log(derivation).ok()) {
            self.mirror(&log, None, &mut done).await;
        }
        // Only what is content-addressed has one. Realisations are named by a hash that nothing here tells.
        if info.ca.is_some()
            && let Some(trace) = build_trace(&info)
        {
            self.mirror(&trace, None, &mut done).await;
        }
        done
    }

    /// Has the listing, or makes it. Whether the artifact has debug information, as far as can be told.
    async fn listing(&self, info: &NarInfo, done: &mut Completed) -> bool {
        let extra = Extra::Listing(info.store_path.hash_part());
        if !self.wants(ExtraKind::Listing) || self.tree.has_extra(&extra) {
            return is_debug(info);
        }
        if let Some(Checked::Listing(outline)) = self.mirror(&extra, Some(info.nar_size), done).await {
            return is_debug(info) || !outline.build_ids.is_empty();
        }
        if self.makes_listings() {
            self.make_or_tell(info, done).await;
        }
        is_debug(info)
    }

    /// Has a file from the upstreams, if it is wanted and not there. What it says, if it was had.
    async fn mirror(&self, extra: &Extra, nar_size: Option<u64>, done: &mut Completed) -> Option<Checked> {
        if !self.wants(extra.kind()) || self.tree.has_extra(extra) {
            return None;
        }
        done.asked = true;
        match self.ask(extra, &self.upstreams, nar_size).await {
            Asked::Found(found) => {
                let checked = found.checked.clone();
                match self.store(extra, found).await {
                    Ok(None) => return Some(checked),
                    Ok(Some(_)) => {}
                    Err(error) => {
                        debug!(name = extra.file_name(), error, "a file beside an artifact is not kept");
                        done.failed = true;
                    }
                }
            }
            Asked::Absent => {}
            Asked::Failed => done.failed = true,
        }
        None
    }

    async fn make_or_tell(&self, info: &NarInfo, done: &mut Completed) {
        done.asked = true;
        if let Err(error) = self.make(info).await {
            debug!(path = %info.store_path, %error, "nothing can be made from a NAR");
        }
    }

    /// Whether the artifact has a listing, and each build id in it an entry.
    async fn is_indexed(&self, hash: HashPart) -> bool {
        self.blocking(move |tree| is_indexed(tree.layout(), hash)).await.unwrap_or(false)
    }
}

/// The name of the build trace of an artifact.
pub(crate) fn build_trace(info: &NarInfo) -> Option<Extra> {
    let derivation = info.deriver.clone()?;
    let output = output(&derivation, &info.store_path)?.to_owned();
    BuildTraceKey::new(derivation, &output).ok().map(Extra::BuildTrace)
}

/// Which output of the derivation a path is, by its name: `<name>` is `out`, and `<name>-dev` is `dev`.
fn output<'p>(derivation: &StorePath, path: &'p StorePath) -> Option<&'p str> {
    let rest = path.name().strip_prefix(derivation.name().strip_suffix(".drv")?)?;
    if rest.is_empty() { Some("out") } else { rest.strip_prefix('-') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_path_tells_which_output_it_is() {
        let path = |name: &str| {
            StorePath::parse_base_name(&format!("00bgd045z0d4icpbc2yyz4gx48ak44la-{name}")).unwrap()
        };
        let drv = path("hello-2.12.drv");
        assert_eq!(output(&drv, &path("hello-2.12")), Some("out"));
        assert_eq!(output(&drv, &path("hello-2.12-dev")), Some("dev"));
        assert_eq!(output(&drv, &path("hello-2.121")), None);
        assert_eq!(output(&path("hello"), &path("hello")), None);
    }
}
