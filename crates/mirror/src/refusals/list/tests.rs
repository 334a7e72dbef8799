use granary_nix::Hash;
use granary_placement::report::RefusalReason;

use super::*;

const ALL: [Origin; 5] = [Origin::Pass, Origin::Channel, Origin::NarInfo, Origin::Nar, Origin::Push];

fn hash(number: usize) -> HashPart {
    Hash::of(&number.to_le_bytes()).to_nix32()[..32].parse().unwrap()
}

fn by(origin: Origin, number: usize) -> Standing {
    let (reason, source) = (RefusalReason::NarHash, String::new());
    let refusal = Refusal { store_path: number.to_string(), reason, message: format!("{origin:?}"), source };
    Standing { hash: hash(number), origin, refusal, at: Instant::now() }
}

fn stand(numbers: impl IntoIterator<Item = usize>) -> HashSet<HashPart> {
    numbers.into_iter().map(hash).collect()
}

fn told(list: &List) -> (String, u64) {
    let (newest, all) = list.newest(9);
    (newest.iter().map(|it| it.store_path.as_str()).collect(), all)
}

#[test]
fn the_newest_are_told_whoever_met_them_and_each_once() {
    let mut list = List::default();
    for (number, origin) in ALL.into_iter().enumerate() {
        assert_eq!(list.add(by(origin, number), false), (false, None));
    }
    assert_eq!(told(&list), ("43210".into(), 5));
    assert_eq!(list.add(by(Origin::Nar, 0), false), (false, None), "a pass has refused it, and no client");
    assert_eq!(told(&list), ("04321".into(), 5));
    assert_eq!(list.newest(1).0[0].message, "Pass");
    assert_eq!(list.add(by(Origin::Pass, 0), true), (true, None), "it is no newer for it");
    assert_eq!(list.add(by(Origin::Push, 1), false), (false, None));
    assert_eq!(list.add(by(Origin::Nar, 3), false), (true, None));
    assert_eq!(told(&list), ("31042".into(), 5));
}

#[test]
fn no_origin_pushes_the_others_out_and_what_we_refuse_is_counted_beyond_the_bound() {
    for origin in ALL {
        let mut list = List::default();
        for other in ALL {
            list.add(by(other, 1000), false);
        }
        let left: Vec<usize> = (0..=MOST).filter(|n| list.add(by(origin, *n), false).1.is_some()).collect();
        let counted = origin.is_ours();
        let second = if counted { vec![] } else { vec![MOST] };
        assert_eq!(left, second, "the second was the first to leave altogether, unless it still counts");
        assert_eq!(list.newest.len(), ALL.len() - 1 + MOST);
        let all = (MOST + 1) as u64 + u64::from(counted);
        assert_eq!((list.newest(1).0[0].store_path.clone(), list.newest(1).1), (MOST.to_string(), all));
        // What is not on the list and still refused is told by nobody as new.
        assert_eq!(list.add(by(origin, 0), true), (false, None));
        assert_eq!((list.newest(1).0[0].store_path.clone(), list.newest(1).1), (MOST.to_string(), all));
    }
}

#[test]
fn what_a_client_is_refused_leaves_only_when_no_pass_and_no_round_refuses_it_beyond_the_bound_either() {
    for (ours, other) in [(Origin::Pass, Origin::Channel), (Origin::Channel, Origin::Pass)] {
        let mut list = List::default();
        for number in 0..=MOST {
            list.add(by(ours, number), false);
        }
        let asked = [0, MOST + 1];
        let left_for = |list: &mut List, origin: Origin| {
            let others = 1000 * origin as usize;
            for number in asked.into_iter().chain(others..others + MOST - 2) {
                assert_eq!(list.add(by(origin, number), false).1, None);
            }
            let left =
                (others + 500..others + 502).filter_map(|number| list.add(by(origin, number), false).1);
            left.collect::<Vec<_>>()
        };
        assert_eq!(left_for(&mut list, Origin::Nar), [hash(MOST + 1)], "what was met");
        list.ended(ours, &stand(0..=MOST), false);
        assert_eq!(left_for(&mut list, Origin::NarInfo), [hash(MOST + 1)], "what stands");
        list.ended(ours, &stand([]), true);
        list.ended(other, &stand([0]), false);
        list.ended(ours, &stand([]), false);
        assert_eq!(left_for(&mut list, Origin::Push), [hash(MOST + 1)], "what the other refuses");
        list.ended(other, &stand([]), false);
        let left = (9000..9000 + MOST).filter_map(|n| list.add(by(Origin::Nar, n), false).1);
        assert_eq!(left.count(), MOST, "nothing stands any more");
    }
}

#[test]
fn passes_and_rounds_end_only_their_own() {
    let mut list = List::default();
    for (origin, number) in [(Origin::Pass, 1), (Origin::Channel, 2), (Origin::Pass, 3), (Origin::Nar, 4)] {
        list.add(by(origin, number), false);
    }
    list.add(by(Origin::Channel, 3), false);
    assert_eq!(told(&list), ("3421".into(), 4));
    list.ended(Origin::Channel, &stand([2]), true);
    assert_eq!(told(&list), ("3421".into(), 4), "a round that was cut short says nothing of the rest");
    list.ended(Origin::Channel, &stand([2]), false);
    list.ended(Origin::Pass, &stand([3]), false);
    assert_eq!(told(&list), ("432".into(), 3));
    list.ended(Origin::Pass, &stand([]), false);
    list.ended(Origin::Channel, &stand([]), false);
    assert_eq!(told(&list), ("4".into(), 1));
}

#[test]
fn what_does_not_fit_is_counted_until_it_stands_no_longer() {
    let mut list = List::default();
    for number in 0..1000 {
        list.add(by(Origin::Channel, number), false);
    }
    list.ended(Origin::Channel, &stand(0..1000), false);
    assert_eq!((list.newest.len(), list.newest(1).1), (MOST, 1000));
    assert_eq!(list.newest(1).0[0].store_path, "999");
    list.ended(Origin::Channel, &stand(0..500), true);
    assert_eq!(list.newest(1).1, 1000);
    // The newest come right, and the others take their places.
    let right = stand(500..1000);
    list.prune(Instant::now(), |hash| right.contains(hash));
    for number in 0..500 {
        list.add(by(Origin::Channel, number), true);
    }
    assert_eq!((list.newest.len(), list.newest(1).0[0].store_path.as_str()), (MOST, "0"));
    list.ended(Origin::Channel, &stand(0..500), false);
    assert_eq!((list.newest.len(), list.newest(1).1), (MOST, 500));
}

#[test]
fn what_is_refused_in_two_places_is_counted_once_beyond_the_bound_too() {
    let mut list = List::default();
    list.ended(Origin::Pass, &stand(0..10), false);
    list.ended(Origin::Channel, &stand(5..20), false);
    assert_eq!(list.newest(1), (vec![], 20));
    // On the list as well.
    list.add(by(Origin::Nar, 7), false);
    list.add(by(Origin::Push, 30), false);
    assert_eq!(told(&list), ("307".into(), 21));
}

#[test]
fn what_was_refused_before_is_counted_also_where_there_is_no_place_for_it() {
    for origin in ALL {
        let mut list = List::default();
        for number in 0..MOST {
            list.add(by(origin, number), false);
        }
        for _ in 0..2 {
            assert_eq!(list.add(by(origin, 1000), true), (false, None));
            assert_eq!(list.newest(1).1, (MOST + usize::from(origin.is_ours())) as u64, "{origin:?}");
        }
        assert_eq!(list.newest.len(), MOST);
    }
}

#[test]
fn what_is_here_stands_no_longer_whoever_refused_it() {
    for origin in ALL {
        let mut list = List::default();
        list.add(by(origin, 1), false);
        list.add(by(origin, 2), false);
        list.prune(Instant::now(), |here| *here == hash(1));
        assert_eq!(told(&list), ("2".into(), 1), "{origin:?}");
    }
}

#[test]
fn only_what_clients_were_refused_grows_old() {
    for origin in ALL {
        let mut list = List::default();
        list.add(by(origin, 1), false);
        list.prune(Instant::now() + LONGEST / 2, |_| false);
        assert_eq!(told(&list).1, 1, "{origin:?}");
        list.prune(Instant::now() + LONGEST, |_| false);
        assert_eq!(told(&list).1, u64::from(origin.is_ours()), "{origin:?}");
    }
}

#[test]
fn a_good_narinfo_says_nothing_about_its_nar_file_and_a_client_nothing_about_a_pass() {
    let stand_after = |good: Origin| {
        let stands = |origin: &Origin| {
            let mut list = List::default();
            list.add(by(*origin, 1), false);
            list.accept(&hash(1), good);
            list.has(&hash(1))
        };
        ALL.into_iter().filter(stands).collect::<Vec<_>>()
    };
    assert_eq!(stand_after(Origin::NarInfo), [Origin::Pass, Origin::Channel, Origin::Nar, Origin::Push]);
    assert_eq!(stand_after(Origin::Nar), [Origin::Pass, Origin::Channel]);
}
