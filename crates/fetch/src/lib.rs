//! Verified transfer of narinfos and NARs from upstreams and other mirrors
