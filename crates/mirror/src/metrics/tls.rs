//! The certificate of the front.

use prometheus::{IntGauge, Registry};

/// What is known about the certificate. Both stay 0 without `tls`.
#[derive(Debug)]
pub struct TlsMetrics {
    /// Whether the pair in the configured files can be used; an earlier one is used while it cannot.
    pub usable: IntGauge,
    /// When the certificate in use expires, in Unix time.
    pub expires: IntGauge,
}

impl TlsMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            usable: gauge(
                "tls_certificate_usable",
                "Whether the certificate and key in the configured files can be used",
            )?,
            expires: gauge(
                "tls_certificate_expiry_timestamp_seconds",
                "When the certificate in use expires, Unix time",
            )?,
        })
    }
}
