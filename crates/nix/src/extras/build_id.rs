//! Build ids: by what a debugger finds the debug information of a program.

use std::fmt;
use std::str::FromStr;

use super::ExtraError;
use crate::text::excerpt;

/// The build id of a program or library: 20 bytes, as linkers write them. Shown as 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId([u8; Self::LENGTH]);

impl BuildId {
    /// Digits.
    const LENGTH: usize = 40;

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Digits, which are ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Where the debug information stands in an artifact: `lib/debug/.build-id/<2 digits>/<38 digits>.debug`.
    #[must_use]
    pub fn member(&self) -> String {
        let (start, rest) = self.as_str().split_at(2);
        format!("lib/debug/.build-id/{start}/{rest}.debug")
    }

    /// The build id of a file in an artifact, by the names of the directory and of the file in `lib/debug/.build-id`.
    #[must_use]
    pub fn of_member(directory: &str, file: &str) -> Option<Self> {
        let rest = file.strip_suffix(".debug")?;
        let is_split = directory.len() == 2 && rest.len() == Self::LENGTH - 2;
        is_split.then(|| format!("{directory}{rest}").parse().ok())?
    }
}

impl FromStr for BuildId {
    type Err = ExtraError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ExtraError::BuildId { text: excerpt(text) };
        let digits: [u8; Self::LENGTH] = text.as_bytes().try_into().map_err(|_| error())?;
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.iter().all(is_digit) { Ok(Self(digits)) } else { Err(error()) }
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3da4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c";

    #[test]
    fn a_build_id_and_its_file() {
        let id: BuildId = ID.parse().unwrap();
        let member = "lib/debug/.build-id/3d/a4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c.debug";
        assert_eq!((id.to_string().as_str(), id.member().as_str()), (ID, member));
        assert_eq!(BuildId::of_member("3d", "a4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c.debug"), Some(id));
        for (directory, file) in
            [("3", ID), ("3d", ID), ("3da", &ID[3..]), ("..", &format!("{}.debug", &ID[2..]))]
        {
            assert_eq!(BuildId::of_member(directory, file), None, "{directory}/{file}");
        }
        for text in ["", "3d", &ID.to_uppercase(), &ID.replace('3', "/"), &format!("{ID}0")] {
            assert!(matches!(text.parse::<BuildId>(), Err(ExtraError::BuildId { .. })), "{text}");
        }
    }
}
