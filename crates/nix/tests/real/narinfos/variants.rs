//! Narinfos as caches write them, or might.

use granary_nix::Hash;

/// Who takes a variant. Every version of Nix is asked; where they differ, the variant says from which on.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// Both, and they read the same.
    Both,
    /// Nobody.
    Neither,
    /// Nix takes it and reads what this makes of the plain one, and we do not take it, for this reason.
    OnlyNix(&'static str, fn(&str) -> String),
    /// Nix reads this name, and fails only when it has to decode the NAR: 2.34 aborts its process. We do not take it.
    UnknownCompression(&'static str),
    /// We drop this signature. Nix keeps it, and from this version on refuses the narinfo. What we write of it is read the
    /// same by both.
    BadSig { sig: &'static str, refused_from: Option<(u32, u32)> },
}

use Reading::{BadSig, Both, Neither, OnlyNix, UnknownCompression};

/// What every version up to 2.31 keeps, and 2.34 refuses.
const fn bad_sig(sig: &'static str) -> Reading {
    BadSig { sig, refused_from: Some((2, 34)) }
}

const LAST: &str = "the last one counts for Nix, the first for others";
const DROPPED: &str = "Nix drops the first character of a value without a space before it";
const SWALLOWED: &str = "Nix takes the next line for a part of this one";

/// A narinfo that differs from a plain one in one place.
#[derive(Clone, Debug)]
pub struct Variant {
    what: &'static str,
    change: fn(&str) -> String,
    reading: Reading,
}

const NAR_HASH: &str = "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";
const HEX: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const OTHER: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SRI: &str = "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
const SIG: &str =
    "Sig: k-1:5kKlQu3W7pQ8CJzTJ/Iuao8+QfksG9NU9D3NOZnSLxZxZdAzFGbKsxh+A/Fw4yqPG+oigNIUHIjVwGqlAU9/CA==\n";
/// A signature by `k-2` without its first character.
const CUT_SIG: &str =
    "-2:5kKlQu3W7pQ8CJzTJ/Iuao8+QfksG9NU9D3NOZnSLxZxZdAzFGbKsxh+A/Fw4yqPG+oigNIUHIjVwGqlAU9/CA==";
const A: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60";
const B: &str = "7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27";

impl Variant {
    pub fn path(&self) -> String {
        format!("/nix/store/{}-v", &Hash::of(self.what.as_bytes()).to_nix32()[..32])
    }

    pub fn text(&self) -> Vec<u8> {
        self.read_as(self.change)
    }

    /// What this makes of the plain narinfo with the variant's path.
    pub fn read_as(&self, change: fn(&str) -> String) -> Vec<u8> {
        let plain = format!(
            "StorePath: {}\nURL: nar/x.nar.xz\nCompression: xz\nFileHash: {NAR_HASH}\nFileSize: 114980\n\
             NarHash: {NAR_HASH}\nNarSize: 464152\nReferences: {A} {B}\n\
             Deriver: 10dx1q4ivjb115y3h90mipaaz533nr0d-net-tools-1.60.drv\n{SIG}",
            self.path()
        );
        change(&plain).into_bytes()
    }

    pub const fn reading(&self) -> Reading {
        self.reading
    }
}

/// The line of this field as another.
fn line(text: &str, field: &str, other: &str) -> String {
    let is_it = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key == field);
    text.split_inclusive('\n').map(|line| if is_it(&line) { other } else { line }).collect()
}

macro_rules! variants {
    ($($reading:expr, $what:literal, $change:expr;)*) => {
        /// All of them.
        pub fn variants() -> Vec<Variant> {
            vec![$(Variant { what: $what, change: $change, reading: $reading }),*]
        }
    };
}

variants! {
    Both, "a plain one", str::to_owned;
    Both, "no FileHash", |text| line(text, "FileHash", "");
    Both, "no FileHash and no FileSize", |text| line(&line(text, "FileHash", ""), "FileSize", "");
    Both, "FileSize 0", |text| line(text, "FileSize", "FileSize: 0\n");
    Both, "hex hashes", |text| text.replace(NAR_HASH, HEX);
    Both, "SRI hashes", |text| text.replace(NAR_HASH, SRI);
    Both, "no Compression", |text| line(text, "Compression", "");
    Both, "an empty Compression", |text| line(text, "Compression", "Compression: \n");
    Both, "empty References", |text| line(text, "References", "References: \n");
    Both, "no References", |text| line(text, "References", "");
    Both, "repeated spaces in References", |text| line(text, "References", &format!("References:  {A}   {B} \n"));
    Both, "References in another order", |text| line(text, "References", &format!("References: {B} {A}\n"));
    Both, "a reference twice", |text| line(text, "References", &format!("References: {A} {B} {A}\n"));
    Both, "Deriver unknown-deriver", |text| line(text, "Deriver", "Deriver: unknown-deriver\n");
    Both, "no Deriver", |text| line(text, "Deriver", "");
    Both, "an unknown field at the start", |text| format!("X-First: 1\n{text}");
    Both, "unknown fields in the middle and at the end",
        |text| line(text, "NarSize", "X: y: z\nNarSize: 464152\n") + "X-Empty: \nMirrors: https://a https://b\n";
    Both, "an unknown field without a space", |text| format!("{text}Mirrors:https://a\n");
    Both, "an unknown field with 2000 URLs",
        |text| format!("{text}Mirrors: {}\n", "https://cache.example/a ".repeat(2000).trim_end());
    Both, "several signatures", |text| text.to_owned() + &SIG.replace("k-1", "k-2") + &SIG.replace("k-1", "a-1");
    Both, "the same signature twice", |text| text.to_owned() + SIG;
    Both, "no signature", |text| line(text, "Sig", "");
    Both, "a CA line", |text| format!("{text}CA: fixed:r:{NAR_HASH}\n");
    Both, "an empty CA line", |text| format!("{text}CA: \n");
    Both, "System", |text| format!("{text}System: x86_64-linux\n");
    Both, "the lines in another order", |text| text.split_inclusive('\n').rev().collect();
    Both, "a URL with a query", |text| line(text, "URL", "URL: nar/x.nar?a=b&c\n");
    Neither, "no final line feed", |text| text.trim_end().to_owned();
    Neither, "CRLF", |text| text.replace('\n', "\r\n");
    Neither, "nothing", |_| String::new();
    Neither, "a page", |_| "<html>Sign in</html>\n".into();
    Neither, "no StorePath", |text| line(text, "StorePath", "");
    Neither, "no URL", |text| line(text, "URL", "");
    Neither, "an empty URL", |text| line(text, "URL", "URL: \n");
    Neither, "no NarHash", |text| line(text, "NarHash", "");
    Neither, "no NarSize", |text| line(text, "NarSize", "");
    Neither, "NarSize 0", |text| line(text, "NarSize", "NarSize: 0\n");
    Neither, "NarSize in words", |text| line(text, "NarSize", "NarSize: many\n");
    Neither, "a NarSize of more than 64 bits", |text| line(text, "NarSize", "NarSize: 18446744073709551616\n");
    Neither, "a NarHash that is cut", |text| line(text, "NarHash", "NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh\n");
    Neither, "a NarHash with a letter that nix32 has not",
        |text| line(text, "NarHash", &format!("NarHash: {}\n", NAR_HASH.replace("1b8", "1e8")));
    Neither, "a reference that is none", |text| line(text, "References", "References: glibc\n");
    Neither, "a reference that is a whole path",
        |text| line(text, "References", &format!("References: /nix/store/{A}\n"));
    Neither, "References twice", |text| format!("{text}References: {A}\n");
    Neither, "CA twice", |text| format!("{text}CA: fixed:r:{NAR_HASH}\nCA: fixed:r:{NAR_HASH}\n");
    Neither, "a CA that is none", |text| format!("{text}CA: nothing:known\n");
    Neither, "a StorePath elsewhere", |text| text.replace("/nix/store/", "/gnu/store/");
    Neither, "References without its trailing space", |text| line(text, "References", "References:\n");
    Neither, "References without its trailing space at the end",
        |text| line(text, "References", "") + "References:\n";
    Neither, "empty References after others", |text| format!("{text}References: \n");
    OnlyNix(LAST, |text| line(text, "References", &format!("References: {A}\n"))), "References after empty ones",
        |text| line(text, "References", &format!("References: \nReferences: {A}\n"));
    OnlyNix(LAST, |text| line(text, "References", "")), "empty References twice",
        |text| line(text, "References", "References: \nReferences: \n");
    OnlyNix(LAST, |text| format!("{text}CA: fixed:r:{NAR_HASH}\n")), "CA after an empty one",
        |text| format!("{text}CA: \nCA: fixed:r:{NAR_HASH}\n");
    OnlyNix(LAST, |text| line(text, "URL", "URL: nar/y\n")), "URL twice", |text| format!("{text}URL: nar/y\n");
    OnlyNix(LAST, str::to_owned), "StorePath twice", |text| format!("StorePath: /nix/store/{A}\n{text}");
    OnlyNix(LAST, str::to_owned), "NarHash twice", |text| format!("NarHash: {OTHER}\n{text}");
    OnlyNix(LAST, str::to_owned), "NarSize twice", |text| format!("NarSize: 1\n{text}");
    OnlyNix(LAST, str::to_owned), "FileHash twice", |text| format!("FileHash: {OTHER}\n{text}");
    OnlyNix(LAST, str::to_owned), "FileSize twice", |text| format!("FileSize: 1\n{text}");
    OnlyNix(LAST, str::to_owned), "Deriver twice", |text| format!("Deriver: {A}.drv\n{text}");
    OnlyNix(LAST, |text| line(text, "Compression", "Compression: none\n")), "Compression twice",
        |text| format!("{text}Compression: none\n");
    UnknownCompression("rot13"), "a Compression that nobody knows",
        |text| line(text, "Compression", "Compression: rot13\n");
    OnlyNix(DROPPED, |text| line(text, "URL", "URL: ar/x.nar.xz\n")), "a known field without a space",
        |text| line(text, "URL", "URL:nar/x.nar.xz\n");
    OnlyNix(SWALLOWED, |text| line(text, "References", &format!("References: {A}\n"))),
        "References on the next line", |text| line(text, "References", &format!("References:\n{A}\n"));
    OnlyNix(SWALLOWED, str::to_owned), "an unknown field with nothing at all",
        |text| format!("X:\nSwallowed: 1\n{text}");
    OnlyNix(SWALLOWED, |text| line(text, "Sig", "")), "Mirrors with nothing at all before the signature",
        |text| line(text, "Sig", &format!("Mirrors:\n{SIG}"));
    OnlyNix(SWALLOWED, str::to_owned), "a line without a colon", |text| format!("nothing\nSwallowed: 1\n{text}");
    OnlyNix(SWALLOWED, |text| line(text, "Sig", "")), "a line without a colon before the signature",
        |text| line(text, "Sig", &format!("nothing\n{SIG}"));
    bad_sig("asdf"), "a malformed signature after a good one", |text| format!("{text}Sig: asdf\n");
    bad_sig("asdf"), "a malformed signature before a good one",
        |text| line(text, "Sig", &format!("Sig: asdf\n{SIG}"));
    bad_sig("asdf"), "a malformed signature between good ones",
        |text| format!("{text}Sig: asdf\n{}", SIG.replace("k-1", "k-2"));
    bad_sig("k-2:???"), "a signature that is not base64", |text| format!("{text}Sig: k-2:???\n");
    bad_sig(":AAAA"), "a signature without a name", |text| format!("{text}Sig: :AAAA\n");
    bad_sig(""), "an empty signature", |text| format!("{text}Sig: \n");
    BadSig { sig: "k-2:AAAA", refused_from: None }, "a signature of three bytes",
        |text| format!("{text}Sig: k-2:AAAA\n");
    BadSig { sig: CUT_SIG, refused_from: None }, "a signature without a space before it",
        |text| format!("{text}Sig:k{CUT_SIG}\n");
}
