//! Nix binary-cache formats: narinfo, store path, base32, hashes, signatures, cache info. Pure: no I/O
