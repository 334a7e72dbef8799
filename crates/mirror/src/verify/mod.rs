//! Checks a whole tree, and single narinfo files, without trusting anything that is written in it.
