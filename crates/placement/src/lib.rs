//! Partitions, ranking of mirrors, the mirror map and the report. Pure: no I/O
