//! One request for a report: bounded in time and in size.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use granary_placement::{
    MirrorName,
    report::{MAX_REPORT_BYTES, Report, ReportError},
};

/// The agent's port in a holder's pod.
const PORT: u16 = 8081;
const PATH: &str = "/granary/v1/report";
/// For the whole answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no report. The words stay the same while the reason does, so that only a new reason is news.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No answer in time.
    #[error("no answer within 2 s")]
    Timeout,
    /// No connection.
    #[error("its agent cannot be connected to")]
    Connect,
    /// The answer broke off.
    #[error("its agent's answer broke off")]
    Body,
    /// Not the answer that was asked for.
    #[error("its agent answered with status {0}")]
    Status(u16),
    /// The report cannot be read.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Somebody else answers at this address.
    #[error("{0} answers at its address")]
    Other(MirrorName),
}

/// Asks holders.
#[derive(Clone)]
pub struct Asker {
    client: reqwest::Client,
    port: u16,
}

impl Asker {
    /// An asker. Fails when the TLS provider cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            // A report comes from the pod itself or not at all.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client, port: PORT })
    }

    /// Asks the holder at an address.
    pub async fn ask(&self, holder: &MirrorName, address: IpAddr) -> Result<Report, AskError> {
        let url = format!("http://{}{PATH}", SocketAddr::new(address, self.port));
        let mut answer = self.client.get(url).send().await.map_err(|error| of_request(&error))?;
        if answer.status() != http::StatusCode::OK {
            return Err(AskError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| of_body(&error))? {
            body.extend_from_slice(&chunk);
            // What is said about the length cannot be believed, so what comes is counted.
            if body.len() > MAX_REPORT_BYTES {
                return Err(ReportError::TooLarge(body.len()).into());
            }
        }
        let report = Report::from_json(&body)?;
        if report.mirror == *holder { Ok(report) } else { Err(AskError::Other(report.mirror)) }
    }
}

fn of_request(error: &reqwest::Error) -> AskError {
    // A connection that is refused is told apart from one that hangs: the pod is there, its agent is not.
    if error.is_timeout() { AskError::Timeout } else { AskError::Connect }
}

fn of_body(error: &reqwest::Error) -> AskError {
    if error.is_timeout() { AskError::Timeout } else { AskError::Body }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use tokio::net::TcpListener;

    use super::*;
    use crate::reports::tests::report;

    /// The error, in words, of asking `north-0` at a server that answers so.
    async fn ask(body: Vec<u8>) -> Result<Report, String> {
        // Idempotent: other tests of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = get(move || async move { Body::from(body) });
        let server = tokio::spawn(async { axum::serve(listener, Router::new().route(PATH, answer)).await });
        let asker = Asker { port: address.port(), ..Asker::new().unwrap() };
        let outcome = asker.ask(&"north-0".parse().unwrap(), address.ip()).await;
        server.abort();
        outcome.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_report_is_read() {
        let north = report("north-0", 4);
        assert_eq!(ask(serde_json::to_vec(&north).unwrap()).await, Ok(north));
    }

    #[tokio::test]
    async fn what_is_no_report_of_this_holder_is_refused() {
        let other = serde_json::to_vec(&report("south-0", 4)).unwrap();
        assert_eq!(ask(other).await, Err("south-0 answers at its address".into()));
        assert!(ask(b"{}".to_vec()).await.unwrap_err().contains("cannot be read"));
        assert!(ask(vec![b' '; MAX_REPORT_BYTES + 1]).await.unwrap_err().contains("at most"));
    }

    #[tokio::test]
    async fn nobody_there_is_told() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let asker = Asker { port: address.port(), ..Asker::new().unwrap() };
        let error = asker.ask(&"north-0".parse().unwrap(), address.ip()).await.unwrap_err();
        assert!(matches!(error, AskError::Connect));
    }
}
