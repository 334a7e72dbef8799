//! The test cluster, fault injection, and the tests that cross process boundaries
