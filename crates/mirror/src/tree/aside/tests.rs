use std::fs;

use super::super::disk::power;
use super::super::remove::tests::{Disk, nar_name, path};
use super::*;
use crate::compact::HashParts;

#[test]
fn what_is_rotten_goes_to_the_catalog_and_its_file_to_the_quarantine() {
    let disk = Disk::new();
    let (a, b) = (disk.publish('a', b"same", &[]), disk.publish('b', b"same", &['a']));
    let c = disk.publish('c', b"c", &['a']);
    disk.tree.drop_from_catalog(&a).unwrap();
    let name = nar_name(b"same");
    fs::write(disk.tree.layout().served(&name), b"rotten").unwrap();
    let mut all = disk.tree.set_aside(&a).unwrap();
    all.sort_unstable();
    assert_eq!(all, [a, b], "both have the file");
    for hash in [a, b] {
        assert!(!disk.tree.holds(&hash) && !disk.served(&hash.narinfo_name()));
        let info = disk.tree.catalog_narinfo(&hash).unwrap();
        assert_eq!(info.url, name, "its NAR is asked for by the same name");
    }
    assert!(disk.tree.holds(&c) && !disk.served(&name));
    let kept = disk.tree.layout().quarantine().join(name.trim_start_matches("nar/"));
    assert_eq!(fs::read(&kept).unwrap(), b"rotten");
    disk.tree.prune_quarantine(|| Some(HashParts::default())).unwrap();
    assert!(kept.exists(), "the records alone are pruned");
    assert_eq!(disk.tree.set_aside(&a).unwrap(), []);
}

#[test]
fn few_rotten_files_are_kept() {
    let disk = Disk::new();
    let names: Vec<char> = ('a'..='z').filter(|name| !"eotu".contains(*name)).take(20).collect();
    for name in &names {
        let hash = disk.publish(*name, name.to_string().as_bytes(), &[]);
        disk.tree.set_aside(&hash).unwrap();
    }
    assert_eq!(fs::read_dir(disk.tree.layout().quarantine()).unwrap().count(), MAX_KEPT);
}

/// A rotten file that stood alone in `nar/` would be served, and never be read again.
#[test]
fn a_crash_while_something_is_set_aside_leaves_no_rotten_file_alone() {
    let mut interrupted = 0;
    for step in 0.. {
        for power_cut in [false, true] {
            let disk = Disk::new();
            let hash = disk.publish('a', b"a", &[]);
            let name = nar_name(b"a");
            fs::write(disk.tree.layout().served(&name), b"b").unwrap();
            let (result, off) = power::run(step, || disk.tree.set_aside(&hash).map(drop));
            let done = result.is_ok();
            if power_cut {
                off.lose_unsynced(|count| step % count);
            }
            let disk = disk.again();
            let (narinfo, nar) = (disk.served(&hash.narinfo_name()), disk.served(&name));
            assert_eq!(narinfo, nar, "step {step}");
            assert!(narinfo || disk.tree.in_catalog(&hash), "step {step}");
            assert!(!done || !narinfo, "step {step}");
            if done && power_cut {
                assert!(interrupted > 10, "{interrupted} steps");
                return;
            }
            interrupted += usize::from(!done);
        }
    }
}

#[test]
fn a_rotten_narinfo_is_written_again() {
    let disk = Disk::new();
    let (a, _) = (disk.publish('a', b"a", &[]), disk.publish('b', b"b", &['a']));
    let path = disk.tree.layout().narinfo(&a);
    let text = fs::read(&path).unwrap();
    let info = disk.tree.published_narinfo(&a).unwrap();
    fs::write(&path, b"rotten").unwrap();
    disk.tree.mend_narinfo(&info).unwrap();
    assert_eq!(fs::read(&path).unwrap(), text);
    assert!(disk.tree.still_holds(&a) && disk.tree.referrers(&a) == 1);
    let other = NarInfo { url: "nar/x".into(), ..info };
    assert!(matches!(disk.tree.mend_narinfo(&other), Err(TreeError::NotThere { .. })));
}

#[test]
fn everything_is_walked_through_in_order() {
    let disk = Disk::new();
    let all: Vec<HashPart> = "abcdf".chars().map(|name| disk.publish(name, &[name as u8], &[])).collect();
    disk.tree.remove(&all[1]).unwrap();
    disk.tree.drop_from_catalog(&all[2]).unwrap();
    let mut seen: Vec<HashPart> = Vec::new();
    loop {
        let next = disk.tree.next_after(seen.last(), 2);
        if next.is_empty() {
            break;
        }
        seen.extend(next);
    }
    assert_eq!(seen, all, "published, or in the catalog");
    assert_eq!(disk.tree.next_after(Some(&path('b').hash_part()), 9).len(), 3);
}

#[test]
fn a_closure_is_walked_by_whichever_narinfo_can_be_read() {
    let disk = Disk::new();
    let [a, b, c] = [('a', None), ('b', Some('a')), ('c', Some('b'))]
        .map(|(name, reference)| disk.publish(name, &[name as u8], reference.as_slice()));
    let all = HashParts::from([a, b, c]);
    fs::write(disk.tree.layout().catalog_narinfo(&c), "rotten").unwrap();
    fs::write(disk.tree.layout().narinfo(&b), "rotten").unwrap();
    assert_eq!(disk.tree.closed(HashParts::from([c])), all);
    assert_eq!(disk.tree.prune_catalog(&HashParts::default()).unwrap(), 0, "what is published needs them");
    fs::write(disk.tree.layout().catalog_narinfo(&b), "rotten").unwrap();
    assert_eq!(disk.tree.closed(HashParts::from([c])), HashParts::from([b, c]), "as far as they are here");
}
