//! What a recording sees, and what it costs, as metrics of Prometheus.

mod own;
mod registry;
mod serve;

pub(crate) use registry::Metrics;
pub(crate) use serve::Server;
