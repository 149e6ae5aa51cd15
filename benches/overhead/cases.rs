//! What is measured, and what it should come to.

use crate::{load::Shape, services::Program};

#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    pub program: Program,
    pub shape: Shape,
    /// Another process than the one that works is recorded.
    pub unrelated: bool,
    pub target: Target,
    /// Peers are measured here as well if nothing is asked for.
    pub with_peers: bool,
}

/// What `capture` and `record` should come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    None,
    /// The service's CPU a request, bare through recorded, with the socket source.
    Cpu(f64),
    /// Nothing may be lost.
    NothingLost,
}

/// The rate at which nothing may be lost, where the machine reaches it.
const PACE: u64 = 500_000_000;

impl Case {
    pub fn all() -> Vec<Case> {
        let case = |name, program, path, target| {
            let shape = Shape { path, connections: 16, limit: None };
            Case { name, program, shape, unrelated: false, target, with_peers: false }
        };
        let nginx = |sendfile| Program::Nginx { sendfile };
        let throughput = |name, limit| {
            let case = case(name, nginx(false), "/1m", Target::NothingLost);
            Case { shape: Shape { connections: 4, limit, ..case.shape }, ..case }
        };
        vec![
            Case { with_peers: true, ..case("nginx-1k", nginx(false), "/1k", Target::Cpu(0.90)) },
            case("nginx-1k-sendfile", nginx(true), "/1k", Target::None),
            case("nginx-64k", nginx(false), "/64k", Target::None),
            case("nginx-64k-sendfile", nginx(true), "/64k", Target::None),
            Case { with_peers: true, ..case("go-hello", Program::Go { work: 0 }, "/", Target::Cpu(0.93)) },
            case("go-250us", Program::Go { work: 250 }, "/", Target::Cpu(0.98)),
            case("node-hello", Program::Node, "/", Target::None),
            case("python-hello", Program::Python, "/", Target::None),
            Case { unrelated: true, ..case("unrelated", nginx(false), "/1k", Target::Cpu(0.98)) },
            throughput("throughput-500", Some(PACE)),
            Case { target: Target::None, ..throughput("throughput-full", None) },
        ]
    }
}
