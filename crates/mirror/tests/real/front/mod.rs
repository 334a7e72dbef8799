//! nginx before a mirror: Mirrors entries, methods, ranges, what is hidden, and what survives a kill.

use reqwest::{Client, Response};

mod entries;
mod reading;
mod restart;

const NIX: &str = "curl/8.13.0 Nix/2.26.3";

async fn get(client: &Client, url: &str, agent: &str) -> Response {
    client.get(url).header("User-Agent", agent).send().await.unwrap()
}
