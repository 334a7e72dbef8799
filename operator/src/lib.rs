//! The control plane: reconciles CacheMirror and ReplicationPolicy, and writes the mirror map
