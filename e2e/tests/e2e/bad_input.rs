//! Bad input (helper I writes this file; it is not in the list of main.rs yet).
