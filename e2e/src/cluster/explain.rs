//! What a person wants to see when a test has failed.

use std::fmt::Write as _;

use super::Cluster;

const OBJECTS: &str =
    "pods,statefulsets,services,endpointslices,configmaps,poddisruptionbudgets,networkpolicies,pvc";
const LOG_LINES: &str = "--tail=60";

impl Cluster {
    /// Objects, events and logs of a namespace, and the operator's logs. What cannot be had is said, never an error.
    pub async fn explain(&self, namespace: &str) -> String {
        let mut text = String::new();
        self.section(&mut text, &["get", "nodes", "-o", "wide"]).await;
        let all = ["-n", namespace, "get", OBJECTS, "-o", "wide"];
        self.section(&mut text, &all).await;
        let own = ["-n", namespace, "get", "granary", "-o", "yaml"];
        self.section(&mut text, &own).await;
        let map =
            ["-n", namespace, "get", "configmap", "granary-mirror-map", "-o", "jsonpath={.data.map\\.json}"];
        self.section(&mut text, &map).await;
        self.section(&mut text, &["-n", namespace, "get", "events", "--sort-by=.lastTimestamp"]).await;
        self.pod_logs(&mut text, namespace).await;
        if namespace != OPERATOR_NAMESPACE {
            self.section(&mut text, &["-n", OPERATOR_NAMESPACE, "get", "pods", "-o", "wide"]).await;
            self.pod_logs(&mut text, OPERATOR_NAMESPACE).await;
        }
        text
    }

    async fn pod_logs(&self, text: &mut String, namespace: &str) {
        let names =
            self.kubectl(&["-n", namespace, "get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]).await;
        for pod in names.unwrap_or_default().split_whitespace() {
            let logs = ["-n", namespace, "logs", pod, "--all-containers", "--prefix", LOG_LINES];
            self.section(text, &logs).await;
            // What a container said before it was started again is most often why.
            let before =
                ["-n", namespace, "logs", pod, "--all-containers", "--prefix", "--previous", LOG_LINES];
            if let Ok(said) = self.kubectl(&before).await {
                let _ = writeln!(text, "--- before the restart of {pod}\n{said}");
            }
        }
    }

    async fn section(&self, text: &mut String, args: &[&str]) {
        let said = self.kubectl(args).await.unwrap_or_else(|error| format!("{error:#}"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "--- kubectl {}\n{}", args.join(" "), said.trim_end());
    }
}

/// Where the chart puts the operator.
pub const OPERATOR_NAMESPACE: &str = "granary-system";
