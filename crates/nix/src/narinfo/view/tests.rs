use super::*;
use crate::narinfo::SAMPLE;

/// The sample with the line of `field` replaced (or removed, when `line` is empty).
fn with(field: &str, line: &str) -> String {
    let prefix = format!("{field}:");
    let lines = SAMPLE.split_inclusive('\n').map(|old| if old.starts_with(&prefix) { line } else { old });
    lines.collect()
}

fn error(text: &str) -> String {
    NarInfoView::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn fields_are_borrowed_as_they_stand() {
    let view = NarInfoView::parse(SAMPLE.as_bytes()).unwrap();
    assert_eq!(view.text, SAMPLE.as_bytes());
    assert_eq!(view.store_path, "00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60");
    assert_eq!((view.url, view.compression), ("nar/x.nar.xz", Compression::Xz));
    assert_eq!((view.file_size, view.nar_size), (Some(114_980), 464_152));
    assert_eq!((view.file_hash, view.nar_hash), (Some(Hash::of(b"abc")), Hash::of(b"abc")));
    assert_eq!(view.references[0], "7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27");
    assert_eq!(view.references[1], view.store_path);
    assert_eq!(view.deriver, Some("10dx1q4ivjb115y3h90mipaaz533nr0d-net-tools-1.60.drv"));
    assert_eq!((view.system, view.ca), (None, None));
    assert!(view.sigs.is_empty() && view.malformed_sigs.is_empty() && view.unknown.is_empty());
}

#[test]
fn what_may_be_absent() {
    for (field, line) in [("Compression", ""), ("Compression", "Compression: \n")] {
        let text = with(field, line);
        assert_eq!(NarInfoView::parse(text.as_bytes()).unwrap().compression, Compression::Bzip2);
    }
    for field in ["FileHash", "FileSize", "References", "Deriver"] {
        assert!(NarInfoView::parse(with(field, "").as_bytes()).is_ok(), "{field}");
    }
    let text = with("Deriver", "Deriver: unknown-deriver\nCA: \nSystem: x86_64-linux\n");
    let view = NarInfoView::parse(text.as_bytes()).unwrap();
    assert_eq!((view.deriver, view.ca, view.system), (None, None, Some("x86_64-linux")));
    assert!(
        NarInfoView::parse(with("References", "References: \n").as_bytes()).unwrap().references.is_empty()
    );
}

#[test]
fn what_must_be_there() {
    for field in ["StorePath", "URL", "NarHash", "NarSize"] {
        let lines = SAMPLE.lines().count() - 1;
        assert_eq!(error(&with(field, "")), format!("{field} is missing in {lines} lines"));
    }
    assert_eq!(error(""), "StorePath is missing in 0 lines");
    assert_eq!(error(&with("URL", "URL: \n")), "line 2 (URL): the value is empty");
}

#[test]
fn repeated_fields_are_refused() {
    for line in SAMPLE.split_inclusive('\n') {
        let text = format!("{SAMPLE}{line}");
        let (field, _) = line.split_once(':').unwrap();
        let first = SAMPLE.lines().position(|l| l.starts_with(&format!("{field}:"))).unwrap() + 1;
        assert_eq!(error(&text), format!("line 10 ({field}): given twice, first on line {first}"));
    }
    // Nix takes these, and readers that take the first of two would see other references.
    let reference = "References: 7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27\n";
    let text = with("References", &format!("References: \n{reference}"));
    assert_eq!(error(&text), "line 9 (References): given twice, first on line 8");
}

#[test]
fn bad_values_are_named_by_line_and_field() {
    for (field, value, want) in [
        ("StorePath", "/gnu/x", "line 1 (StorePath): \"/gnu/x\" is not in /nix/store"),
        ("Compression", "foo", "line 3 (Compression): compression \"foo\" is not known to Nix"),
        ("FileSize", "+1", "line 5 (FileSize): \"+1\" is not a number of bytes"),
        ("FileSize", "", "line 5 (FileSize): \"\" is not a number of bytes"),
        (
            "NarSize",
            "18446744073709551616",
            "line 7 (NarSize): \"18446744073709551616\" is not a number of bytes",
        ),
        ("NarSize", "0", "line 7 (NarSize): the size is zero"),
        ("References", "a", "line 8 (References): \"a\" is not of the form <hash part>-<name>"),
        ("Deriver", "b", "line 9 (Deriver): \"b\" is not of the form <hash part>-<name>"),
    ] {
        assert_eq!(error(&with(field, &format!("{field}: {value}\n"))), want);
    }
    for field in ["FileHash", "NarHash"] {
        let message = error(&with(field, &format!("{field}: sha256:00\n")));
        assert!(message.contains(&format!("({field}): the digest has 2 characters")), "{message}");
    }
    assert!(error(&with("URL", "URL:nar/x\n")).contains("line 2 (URL): there is no space"));
    assert!(error(&with("Deriver", "CA: fixed:hash\n")).starts_with("line 9 (CA): content address"));
}

#[test]
fn malformed_signatures_and_unknown_fields_do_no_harm() {
    let sig = Signature::new("k".into(), [1; 64]);
    let text = format!("X-First: 1\n{SAMPLE}Sig: asdf\nSig: {sig}\nSig:{sig}\nMirrors:https://a\n");
    let view = NarInfoView::parse(text.as_bytes()).unwrap();
    assert_eq!(view.sigs, [sig]);
    let lines = |lines: &[Line<'_>]| lines.iter().map(|line| line.number).collect::<Vec<_>>();
    assert_eq!(lines(&view.malformed_sigs), [11, 13]);
    assert_eq!(lines(&view.unknown), [1, 14]);
    assert_eq!(view.unknown[1].value, "https://a");
    assert!(!view.to_narinfo().to_text().contains("Mirrors"));
}

#[test]
fn the_size_is_bounded() {
    let filler = |length: usize| format!("{SAMPLE}X: {}\n", "x".repeat(length - SAMPLE.len() - 4));
    assert!(NarInfoView::parse(filler(MAX_TEXT).as_bytes()).is_ok());
    let text = filler(MAX_TEXT + 1);
    assert_eq!(NarInfoView::parse(text.as_bytes()), Err(NarInfoError::TooLarge { length: MAX_TEXT + 1 }));
}
