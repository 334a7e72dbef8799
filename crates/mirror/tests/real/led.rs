//! Documents that come over TLS, and lead to where there is none.

use std::io::ErrorKind;
use std::net::TcpListener;

use super::guarded::Guarded;
use super::support::{Mirror, Site, config, eventually, folder, text, tools};

const WHY: &str = "from https to http";

#[tokio::test]
async fn a_list_and_a_map_over_tls_that_lead_to_plain_http_are_refused_and_nobody_is_asked_there() {
    if !tools() {
        return;
    }
    let folder = folder();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    plain.set_nonblocking(true).unwrap();
    let led = format!("location / {{ return 302 http://{}$request_uri; }}\n", plain.local_addr().unwrap());
    let guarded = Guarded::serve(folder.path(), &led).await;
    let key = "test-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
    let run = |name: &str, wanted: &str| {
        let site = Site::new(folder.path(), name);
        config(&site, &guarded.url, key, wanted);
        Mirror::run_with(site, &[("SSL_CERT_FILE", text(&guarded.authority))])
    };
    let url = &guarded.url;

    let listed = run("listed", &format!("channels: [{{url: '{url}/nixos-26.05'}}]"));
    let report = listed.until("the channel is in trouble", |report| {
        report.channels.first().is_some_and(|channel| channel.trouble.is_some())
    });
    let trouble = report.await.channels.remove(0).trouble.unwrap();
    assert!(trouble.contains(WHY), "{trouble}");

    let mapped = run("mapped", &format!("map: {{url: '{url}/v1/map/granary'}}"));
    eventually("the map is refused", async || mapped.log().contains(WHY).then_some(())).await;
    let report = eventually("it answers", async || mapped.report().await).await;
    assert_eq!(report.epoch, 0, "no map is in force");

    let asked = plain.accept().map(drop);
    assert!(asked.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{asked:?}");
}
