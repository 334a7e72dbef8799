//! The API types of granary.dev, and the YAML generated from them
