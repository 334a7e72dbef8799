//! How a mirror looks after what it has, and who may bring more.

use granary_crds::{
    cache_mirror::{self, SecretKeyRef},
    is_object_name, is_public_key, is_secret_key,
};

use super::{Invalid, check_size};

/// Reading everything again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrub {
    /// Whether it is done.
    pub enabled: bool,
    /// Within how many seconds.
    pub period: Option<u64>,
    /// The most bytes a second.
    pub bandwidth: Option<u64>,
}

/// Who may bring artifacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The Secret with the tokens.
    pub secret: String,
    /// The key in it.
    pub key: String,
    /// The most bytes of what no policy wants.
    pub max_size: u64,
    /// The keys of which one must have signed.
    pub public_keys: Vec<String>,
}

pub(super) fn check_scrub(scrub: &cache_mirror::Scrub, faults: &mut Vec<Invalid>) -> Scrub {
    let cache_mirror::Scrub { enabled, period, bandwidth } = scrub;
    let period = period.as_ref().and_then(|period| match period.seconds() {
        Ok(seconds) => Some(seconds),
        Err(source) => {
            let value = period.as_str().to_owned();
            faults.push(Invalid::Duration { field: "spec.scrub.period", value, source });
            None
        }
    });
    let bandwidth = check_size("spec.scrub.bandwidth", bandwidth.as_ref(), faults);
    Scrub { enabled: *enabled, period, bandwidth }
}

pub(super) fn check_push(push: &cache_mirror::Push, faults: &mut Vec<Invalid>) -> Push {
    let cache_mirror::Push { token_secret_ref, max_size, public_keys, allow_plain_http } = push;
    let SecretKeyRef { name, key } = token_secret_ref;
    if !allow_plain_http {
        faults.push(Invalid::PlainPush);
    }
    if public_keys.is_empty() {
        faults.push(Invalid::NoPushKey);
    }
    for bad in public_keys.iter().filter(|key| !is_public_key(key)) {
        faults.push(Invalid::PushKey(bad.clone()));
    }
    for (field, value, good) in [
        ("spec.push.tokenSecretRef.name", name, is_object_name(name)),
        ("spec.push.tokenSecretRef.key", key, is_secret_key(key)),
    ] {
        if !good {
            faults.push(Invalid::SecretRef { field, value: value.clone() });
        }
    }
    Push {
        secret: name.clone(),
        key: key.clone(),
        max_size: check_size("spec.push.maxSize", Some(max_size), faults).unwrap_or_default(),
        public_keys: public_keys.clone(),
    }
}
