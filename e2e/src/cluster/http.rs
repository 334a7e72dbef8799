//! HTTP from the bridge, which reaches host ports and pods, but no service addresses.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::header::HeaderMap;
use reqwest::{Client, StatusCode, redirect};

use super::Cluster;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).context("the body is not UTF-8")
    }
}

impl Cluster {
    /// Sends a GET and reads the answer, whatever its status.
    pub async fn fetch(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response> {
        self.request(reqwest::Method::GET, url, headers).await
    }

    /// Sends a request without a body and reads the answer, whatever its status.
    pub async fn request(
        &self,
        method: reqwest::Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response> {
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.with_context(|| format!("no answer from {url}"))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.with_context(|| format!("the answer of {url} broke off"))?.to_vec();
        Ok(Response { status, headers, body })
    }

    /// Sends a GET that must be answered by 200 and text.
    pub async fn fetch_text(&self, url: &str) -> Result<String> {
        let response = self.fetch(url, &[]).await?;
        if response.status != StatusCode::OK {
            bail!("{url} answered {}", response.status);
        }
        response.text().map(Into::into)
    }
}

/// No proxy of the host's environment, no redirects: tests look at what a mirror itself answers.
pub fn client() -> Result<Client> {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(Duration::from_secs(3))
        .timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(0)
        .build()
        .context("cannot make an HTTP client")
}
