//! Why a node is not ready, in one sentence.

use k8s_openapi::api::core::v1::Node;

/// Why a node is not ready, in plain words; `None` when it is.
#[must_use]
pub fn trouble(node: &Node) -> Option<String> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    match conditions.into_iter().find(|condition| condition.type_ == "Ready") {
        None => Some("the node has not reported yet".to_owned()),
        Some(ready) if ready.status == "True" => None,
        Some(ready) => {
            let since = ready.last_transition_time.as_ref().map(|time| format!(" since {}", time.0));
            let since = since.unwrap_or_default();
            Some(match ready.message.as_deref().or(ready.reason.as_deref()) {
                Some(why) if !why.is_empty() => format!("the node is not ready{since}: {why}"),
                _ => format!("the node is not ready{since}"),
            })
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn node(name: &str, ready: &str) -> Node {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": ready, "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": "2026-11-23T12:00:00Z",
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn readiness_is_told_in_words() {
        assert_eq!(trouble(&node("n", "True")), None);
        let silent = trouble(&node("n", "Unknown")).unwrap();
        assert_eq!(
            silent,
            "the node is not ready since 2026-11-23T12:00:00Z: Kubelet stopped posting node status."
        );
        assert!(trouble(&Node::default()).is_some());
    }
}
