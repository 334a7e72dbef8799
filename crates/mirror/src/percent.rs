//! Paths as clients write them.

/// A path without its percent signs: Nix 2.34 writes `%21` where others write `!`. `None` when it is none.
pub(crate) fn decoded(path: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(if *byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            rest = after;
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            u8::try_from(digit(&digits[0])? * 16 + digit(&digits[1])?).ok()?
        } else {
            *byte
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_become_what_they_stand_for_or_the_path_is_none() {
        let of = |path| decoded(path);
        assert_eq!(of("a%21b%2Fc").as_deref(), Some("a!b/c"));
        assert_eq!(of("plain").as_deref(), Some("plain"));
        for bad in ["%2", "%zz", "%ff"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
