//! `capacity`: how much of the disk may be used.

use serde::Deserialize;

use super::ConfigError;
use super::check::field;
use super::size::Size;
use crate::capacity::Rules;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawCapacity {
    #[serde(default = "keep_free")]
    keep_free: Size,
    max_size: Option<Size>,
}

fn keep_free() -> Size {
    Size(1 << 30)
}

pub(super) fn check(raw: &RawCapacity) -> Result<Rules, ConfigError> {
    let RawCapacity { keep_free: Size(keep_free), max_size } = *raw;
    let max_size = max_size.map(|Size(bytes)| bytes);
    if max_size == Some(0) {
        return Err(field("capacity.maxSize", "0 would refuse every artifact; leave it out for no bound"));
    }
    Ok(Rules { keep_free, max_size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounds_that_something_fits_in() {
        let read = |yaml: &str| check(&serde_yaml::from_str::<RawCapacity>(yaml).unwrap());
        assert_eq!(read("{}").unwrap(), Rules { keep_free: 1 << 30, max_size: None });
        let rules = read("{keepFree: 5Gi, maxSize: 1Ti}").unwrap();
        assert_eq!(rules, Rules { keep_free: 5 << 30, max_size: Some(1 << 40) });
        assert!(read("{maxSize: 0}").unwrap_err().to_string().starts_with("capacity.maxSize: "));
    }
}
