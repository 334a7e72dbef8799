//! What the path of a PUT means. Pure.

use granary_nix::HashPart;
use http::Method;

/// What a client uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// `<hash part>.narinfo`: it makes the artifact visible.
    NarInfo(HashPart),
    /// `nar/<name>`: the name is the client's, and becomes a file's.
    Nar(String),
    /// `<hash part>.ls`: taken and dropped, since nothing vouches for it.
    Listing(HashPart),
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
        name.strip_suffix(".ls")?.parse().ok().map(Self::Listing)
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
        assert_eq!(of(&format!("/{hash}.ls")), Some(Upload::Listing(hash)));
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
            "",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(of(&format!("/nar/{}", "n".repeat(201))), None);
        assert_eq!(Upload::of(&Method::GET, "/nar/x"), None);
    }
}
