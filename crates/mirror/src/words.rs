//! Numbers for people.

/// A number of bytes, with one digit after the point.
#[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (bytes as f64, "bytes");
    for next in units {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(
            [0, 1023, 1024, 5 << 20, 3 << 40].map(size),
            ["0 bytes", "1023 bytes", "1.0 KiB", "5.0 MiB", "3.0 TiB"]
        );
    }
}
