//! Why a pod does not run, in one sentence.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// What keeps a pod from running, in plain words; `None` when nothing does.
#[must_use]
pub fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let why = condition.message.as_deref().unwrap_or("the scheduler gives no reason");
        return Some(format!("the pod has no node: {why}"));
    }
    let init = status.init_container_statuses.iter().flatten();
    let main = status.container_statuses.iter().flatten();
    if let Some(trouble) = init.chain(main).find_map(of_container) {
        return Some(trouble);
    }
    match (status.phase.as_deref(), status.message.as_deref().or(status.reason.as_deref())) {
        (Some("Failed"), why) => Some(format!("the pod failed: {}", why.unwrap_or("no reason is given"))),
        (Some("Pending"), Some(why)) => Some(format!("the pod is pending: {why}")),
        _ => None,
    }
}

/// Whether Kubernetes calls the pod ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    let name = &container.name;
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        // Every pod passes through these two.
        if matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
            return None;
        }
        let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        let message = waiting.message.as_deref().unwrap_or("no message is given");
        return Some(match last {
            Some(last) => format!(
                "container {name} cannot start ({reason}): it last ended with exit code {}{}",
                last.exit_code,
                last.message.as_deref().map(|text| format!(": {}", text.trim())).unwrap_or_default()
            ),
            None => format!("container {name} cannot start ({reason}): {message}"),
        });
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    Some(format!(
        "container {name} ended with exit code {}{}",
        ended.exit_code,
        ended.message.as_deref().map(|text| format!(": {}", text.trim())).unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &str) -> Pod {
        serde_yaml::from_str(&format!("{{metadata: {{name: p}}, status: {status}}}")).unwrap()
    }

    #[test]
    fn each_trouble_has_its_words() {
        let unscheduled = pod(
            "{phase: Pending, conditions: [{type: PodScheduled, status: 'False', message: no free ports}]}",
        );
        assert_eq!(trouble(&unscheduled).unwrap(), "the pod has no node: no free ports");

        let image = pod(
            "{phase: Pending, containerStatuses: [{name: front, image: i, imageID: '', ready: false, restartCount: 0, state: {waiting: {reason: ErrImagePull, message: not found}}}]}",
        );
        assert_eq!(trouble(&image).unwrap(), "container front cannot start (ErrImagePull): not found");

        let crash = pod(
            "{phase: Running, containerStatuses: [{name: agent, image: i, imageID: '', ready: false, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 2, message: 'bad config'}}}]}",
        );
        assert_eq!(
            trouble(&crash).unwrap(),
            "container agent cannot start (CrashLoopBackOff): it last ended with exit code 2: bad config"
        );

        let prepare = pod(
            "{phase: Pending, initContainerStatuses: [{name: prepare, image: i, imageID: '', ready: false, restartCount: 0, state: {terminated: {exitCode: 1}}}]}",
        );
        assert_eq!(trouble(&prepare).unwrap(), "container prepare ended with exit code 1");
    }

    #[test]
    fn a_pod_that_starts_or_runs_has_none() {
        for status in [
            "{phase: Pending, containerStatuses: [{name: front, image: i, imageID: '', ready: false, restartCount: 0, state: {waiting: {reason: ContainerCreating}}}]}",
            "{phase: Running, conditions: [{type: Ready, status: 'True'}]}",
        ] {
            assert_eq!(trouble(&pod(status)), None, "{status}");
        }
        assert!(is_ready(&pod("{conditions: [{type: Ready, status: 'True'}]}")));
        assert!(!is_ready(&pod("{conditions: [{type: Ready, status: 'False'}]}")));
    }
}
