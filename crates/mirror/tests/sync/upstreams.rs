//! What an upstream is given of ours, and where it may lead: credentials, hosts, names of files, its share of connections and
//! bandwidth.

mod credentials;
mod hosts;
mod names;
mod share;
