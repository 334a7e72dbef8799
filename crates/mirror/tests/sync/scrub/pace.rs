//! What is read when, over restarts and with clocks that are wrong.

use std::time::Instant;

use granary_mirror::verify::verify_tree;

use super::*;

#[tokio::test]
async fn it_goes_on_where_it_was_and_says_when_the_budget_is_too_small() {
    let site = Site::new().await;
    // The first artifact is due at once, the second after most of the period.
    let slow = Rules { period: Duration::from_hours(24), bandwidth: 1 << 20 };
    let read_one = async |rules| {
        let seen = Seen { rounds: Mutex::new(9), ..Seen::default() };
        let scrub = Scrubber::open(Arc::clone(&site.tree), &site.cache.keys(), rules);
        // It is stopped by whoever waits for it.
        let stop = seen.stop.clone();
        tokio::join!(scrub.run(&seen, stop.clone()), async {
            loop {
                let read = seen.standing.lock().unwrap().as_ref().map_or(0, |last| last.round.artifacts);
                if read > 0 {
                    break stop.cancel();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        seen.standing.into_inner().unwrap().unwrap()
    };
    let standing = read_one(slow).await;
    assert_eq!((standing.round.artifacts, standing.artifacts, &standing.late), (1, 2, &None));
    let again = read_one(slow).await;
    let read = |of: &Standing| (of.round.began, of.round.after, of.round.bytes, of.round.artifacts);
    assert_eq!(read(&again), read(&standing), "nothing was read twice");
    let hopeless = Rules { period: Duration::from_secs(1), bandwidth: 10_000 };
    let standing = read_one(hopeless).await;
    assert!(standing.late.as_ref().unwrap().contains("10000 bytes a second"), "{standing:?}");
    // Without the document it begins anew.
    fs::write(site.path().join(".granary/scrub.json"), "damaged").unwrap();
    assert_eq!(read_one(slow).await.round.artifacts, 1);
    assert_eq!(verify_tree(site.path(), &site.cache.keys()).unwrap().faults, []);
}

/// A round that began while the clock was two centuries fast, and that has taken its time: the rest is due now, and not then.
#[tokio::test]
async fn a_clock_that_was_set_back_does_not_end_the_scrub() {
    let site = Site::new().await;
    let first = site.tree.next_after(None, 1)[0];
    let day = Duration::from_hours(24);
    let began = format!(
        r#"{{"began":"2199-01-01T00:00:00Z","kept":"2199-01-02T00:00:00Z","elapsed":{},"after":"{first}","artifacts":1,"bytes":1}}"#,
        day.as_millis()
    );
    fs::write(site.path().join(".granary/scrub.json"), began).unwrap();
    let rules = Rules { period: day, bandwidth: 1 << 30 };
    let seen = Seen { rounds: Mutex::new(1), ..Seen::default() };
    let scrubber = Scrubber::open(Arc::clone(&site.tree), &site.cache.keys(), rules);
    let round = tokio::time::timeout(Duration::from_mins(1), scrubber.run(&seen, seen.stop.clone()));
    round.await.expect("it waits for a time that does not come");
    let last = seen.standing.into_inner().unwrap().unwrap().round;
    assert!(last.ended.is_some() && last.artifacts == 0, "another has begun: {last:?}");
    assert!(last.elapsed < day, "with a time of its own");
}

#[tokio::test]
async fn a_single_artifact_is_read_once_in_a_period() {
    let site = Site::new().await;
    site.tree.forget(&site.app.hash_part());
    let rules = Rules { period: Duration::from_hours(24), bandwidth: 1 << 30 };
    let seen = Seen { rounds: Mutex::new(9), ..Seen::default() };
    let scrubber = Scrubber::open(Arc::clone(&site.tree), &site.cache.keys(), rules);
    let waited = async {
        while seen.reads.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Far more than one reading takes.
        tokio::time::sleep(Duration::from_secs(1)).await;
        seen.stop.cancel();
    };
    tokio::join!(scrubber.run(&seen, seen.stop.clone()), waited);
    assert_eq!(seen.reads.into_inner(), 1);
}

#[tokio::test]
async fn a_round_takes_the_time_that_the_budget_says() {
    let site = Site::new().await;
    let bytes = site.tree.totals().bytes;
    // No machine is too slow for this: what is asked is that it takes at least so long. The period would have it in no time.
    let rules = Rules { period: Duration::from_millis(10), bandwidth: bytes };
    let seen = Seen { rounds: Mutex::new(1), ..Seen::default() };
    let began = Instant::now();
    Scrubber::open(Arc::clone(&site.tree), &site.cache.keys(), rules).run(&seen, seen.stop.clone()).await;
    assert_eq!(seen.reads.into_inner(), 2);
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?} for {bytes} bytes", began.elapsed());
}

#[tokio::test]
async fn suspects_are_read_within_the_budget_too() {
    let mut site = Site::new().await;
    let bytes = fs::metadata(site.nar(&site.library.clone())).unwrap().len();
    let rules = Rules { period: Duration::from_hours(24), bandwidth: bytes };
    let (name, suspects) = tokio::sync::mpsc::channel(1);
    name.send(Suspect::Artifact(site.library.hash_part())).await.unwrap();
    let seen = Seen { rounds: Mutex::new(9), ..Seen::default() };
    let scrubber = Scrubber::open(Arc::clone(&site.tree), &site.cache.keys(), rules).with_suspects(suspects);
    let began = Instant::now();
    let read = async {
        while seen.reads.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen.stop.cancel();
        began.elapsed()
    };
    let ((), took) = tokio::join!(scrubber.run_suspects(&seen, seen.stop.clone()), read);
    assert!(took >= Duration::from_millis(990), "{took:?} for {bytes} bytes");
}
