//! What somebody has reason to think rotten.

use super::*;

#[tokio::test]
async fn a_suspect_is_looked_at_before_its_turn_and_without_a_scrub() {
    for scrubs in [true, false] {
        let mut site = Site::new().await;
        let library = site.library.clone();
        let nar = site.nar(&library);
        let slow = Rules { period: Duration::from_hours(24), bandwidth: 1 << 30 };
        let (name, suspects) = tokio::sync::mpsc::channel(1);
        let seen = Seen { rounds: Mutex::new(9), ..Seen::default() };
        let scrubber =
            Scrubber::open(Arc::clone(&site.tree), &site.cache.keys(), slow).with_suspects(suspects);
        let stop = seen.stop.clone();
        let found = async {
            // The first is due at once; nothing else is for hours.
            while scrubs && seen.reads.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            fs::write(&nar, "rotten").unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(seen.rotten.lock().unwrap().is_empty());
            name.send(Suspect::Artifact(library.hash_part())).await.unwrap();
            while seen.rotten.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
        };
        let found = tokio::time::timeout(Duration::from_secs(30), found);
        let scrub = async {
            if scrubs {
                scrubber.run(&seen, stop.clone()).await;
            } else {
                scrubber.run_suspects(&seen, stop.clone()).await;
            }
        };
        let (found, ()) = tokio::join!(found, scrub);
        found.unwrap();
        assert_eq!(*seen.rotten.lock().unwrap(), [("nar", true)]);
        site.repaired().await;
    }
}
