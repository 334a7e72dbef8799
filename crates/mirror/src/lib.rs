//! The agent in each mirror: pulls, verifies, publishes, reports, and runs nginx in front
