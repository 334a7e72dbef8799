//! Standard conditions: one of each type, and the time of the last change of its status.

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// Kubernetes refuses a longer message, in bytes.
const MAX_MESSAGE: usize = 32_768;

/// The condition of a type, if there is one.
#[must_use]
pub fn find_condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Puts a condition in place of the one of its type. `lastTransitionTime` becomes `now` only if the status differs, as the
/// Kubernetes convention asks; the order of the other conditions stays. `status` is `None` for `Unknown`.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: Option<bool>,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let since = find_condition(conditions, type_)
        .filter(|old| old.status == status)
        .map_or(Time(now), |old| old.last_transition_time.clone());
    let condition = Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message[..message.floor_char_boundary(MAX_MESSAGE)].to_owned(),
        observed_generation: generation,
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|old| old.type_ == type_) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut list = Vec::new();
        set_condition(&mut list, "Ready", Some(false), "Syncing", "3 of 5", Some(1), at(10));
        set_condition(&mut list, "Other", None, "X", "", Some(1), at(10));
        set_condition(&mut list, "Ready", Some(false), "Syncing", "4 of 5", Some(2), at(20));
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].last_transition_time, Time(at(10)));
        assert_eq!((list[0].message.as_str(), list[0].observed_generation), ("4 of 5", Some(2)));
        set_condition(&mut list, "Ready", Some(true), "Synced", "", Some(2), at(30));
        assert_eq!(find_condition(&list, "Ready").unwrap().last_transition_time, Time(at(30)));
        assert_eq!(find_condition(&list, "Other").unwrap().status, "Unknown");
    }
}
