//! How often the list of a channel is asked for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use granary_mirror::channels::{RoundOutcome, Watcher};
use granary_mirror::sync::Observer;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::super::common::{Cache, Reply};
use super::{LIST, Site};

/// A channel with one thing, whose list is asked for so often.
async fn site(every: Duration) -> Site {
    let mut cache = Cache::new("test-1");
    let path = cache.add("path", &[]);
    let mut site = Site::new(cache, 1).await;
    site.list("1", &[&path]);
    site.every = Some(every);
    site.open();
    site
}

fn asked(site: &Site) -> usize {
    site.upstream.take_asked().iter().filter(|asked| asked.path == LIST).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_asks_only_for_what_is_due_and_for_what_could_not_be_had() {
    let mut site = site(Duration::from_hours(1)).await;
    for _ in 0..3 {
        assert!(site.round().await.complete.is_some());
    }
    assert_eq!(asked(&site), 1);
    site.open();
    site.upstream.set(LIST, Reply::Status(500));
    for _ in 0..3 {
        assert!(site.round().await.trouble.is_some());
    }
    assert_eq!(asked(&site), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_says_so_is_asked_for_more_often_than_the_others() {
    let site = site(Duration::from_millis(20)).await;
    let (wake, stop) = (Notify::new(), CancellationToken::new());
    let run = site.channels.as_ref().unwrap().run(Duration::from_hours(1), true, &(), &wake, &stop);
    let mut count = 0;
    let often = async {
        while count < 3 {
            count += asked(&site);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    tokio::time::timeout(Duration::from_mins(1), async { tokio::join!(run, often) }).await.unwrap();
}

#[derive(Default)]
struct Rounds(AtomicUsize);

impl Observer for Rounds {}

impl Watcher for Rounds {
    fn ended(&self, _: &RoundOutcome) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_often_asked_for_costs_a_round_only_when_it_is_new() {
    let mut site = site(Duration::from_millis(5)).await;
    let second = site.cache.add("second", &[]);
    site.cache.serve(&site.upstream);
    let (wake, stop, rounds) = (Notify::new(), CancellationToken::new(), Rounds::default());
    let run = site.channels.as_ref().unwrap().run(Duration::from_hours(1), true, &rounds, &wake, &stop);
    let look = async {
        let mut count = 0;
        while count < 10 {
            count += asked(&site);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(rounds.0.load(Ordering::SeqCst), 1, "nothing was new");
        site.list("2", &[&second]);
        while !site.holds(&second) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    tokio::time::timeout(Duration::from_mins(1), async { tokio::join!(run, look) }).await.unwrap();
}
