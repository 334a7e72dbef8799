//! What the path of a PUT means. Pure.

use granary_nix::{Extra, HashPart};
use http::Method;

use crate::percent::decoded;

/// What a client uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// `<hash part>.narinfo`: it makes the artifact visible.
    NarInfo(HashPart),
    /// `nar/<name>`: the name is the client's, and becomes a file's.
    Nar(String),
    /// A file beside an artifact: a listing, a log, a realisation, a build trace, an entry of the debug index.
    Beside(Extra),
}

impl Upload {
    /// `None` for what is not taken.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        let name = path.strip_prefix('/').filter(|_| method == Method::PUT)?;
        if let Some(nar) = name.strip_prefix("nar/") {
            return is_file_name(nar).then(|| Self::Nar(nar.to_owned()));
        }
        if let Some(hash) = name.strip_suffix(".narinfo") {
            return hash.parse().ok().map(Self::NarInfo);
        }
        Extra::parse(&decoded(name)?).ok().map(Self::Beside)
    }
}

/// Whether a stranger's name may be one in our directory: short, of plain characters, and visible.
pub(super) fn is_file_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+=-".contains(&byte);
    (1..=200).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_cache_has_is_taken() {
        let of = |path: &str| Upload::of(&Method::PUT, path);
        let hash: HashPart = "00bgd045z0d4icpbc2yyz4gx48ak44la".parse().unwrap();
        assert_eq!(of(&format!("/{hash}.narinfo")), Some(Upload::NarInfo(hash)));
        let hex = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";
        for name in [
            format!("{hash}.ls"),
            format!("log/{hash}-a.drv"),
            format!("debuginfo/{}.debug", &hex[..40]),
            format!("realisations/sha256:{hex}!out.doi"),
            format!("build-trace-v2/{hash}-a.drv/out.doi"),
        ] {
            let beside = Some(Upload::Beside(Extra::parse(&name).unwrap()));
            assert_eq!(of(&format!("/{name}")), beside);
            assert_eq!(of(&format!("/{}", name.replace('!', "%21").replace(':', "%3a"))), beside);
        }
        assert_eq!(of("/nar/0ry4p2.nar.xz"), Some(Upload::Nar("0ry4p2.nar.xz".into())));
        for path in [
            "/nix-cache-info",
            "/nar/",
            "/nar/.hidden",
            "/nar/../x",
            "/nar/a/b",
            "/nar/a%2fb",
            "/x.narinfo",
            "/.granary/id",
            "/log/x.drv",
            "/log/../nix-cache-info",
            "/log/%2e%2e/nix-cache-info",
            "/%2",
            "/%zz.ls",
            "/%ff",
            "",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(of(&format!("/nar/{}", "n".repeat(201))), None);
        assert_eq!(Upload::of(&Method::GET, "/nar/x"), None);
    }
}
