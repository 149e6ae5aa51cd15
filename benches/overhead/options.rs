//! What is asked for.

use std::time::Duration;

use regress_ebpf::Source;

use crate::{
    cases::{Case, Target},
    pairs::Rhythm,
    recorders::Method,
};

pub const USAGE: &str = "cargo bench --bench overhead [-- OPTION...]
  --case NAME,...      of the table's first column
  --method NAME,...    noop, copy, capture, record, server, mitmproxy, tcpdump, strace
  --pairs N            intervals with a recorder, and as many without (8; half as many where there is no target)
  --interval MS        length of an interval (500)
  --buffer BYTES       of the kernel's event buffer, for capture and record (the default)
environment: REGRESS_BENCH_VIA=SOURCE,... or all: the sources of capture and record (the best that this host has)";

#[derive(Debug, Default)]
pub struct Options {
    cases: Vec<String>,
    methods: Vec<String>,
    pairs: Option<usize>,
    interval: Option<u64>,
    pub buffer: Option<u32>,
    pub sources: Vec<Source>,
}

const METHODS: [&str; 8] = ["noop", "copy", "capture", "record", "server", "mitmproxy", "tcpdump", "strace"];

impl Options {
    /// # Errors
    /// In words, for what cannot be understood.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        while let Some(argument) = arguments.next() {
            // Cargo says so.
            if argument == "--bench" {
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{argument} is unknown, or takes a value"))?;
            let list = value.split(',').map(str::to_owned);
            let number = value.parse::<u64>().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| format!("{argument} takes a number, not {value}"));
            match argument.as_str() {
                "--case" => options.cases.extend(list),
                "--method" => options.methods.extend(list),
                "--pairs" => options.pairs = Some(usize::try_from(number?).map_err(|e| e.to_string())?),
                "--interval" => options.interval = Some(number?),
                "--buffer" => options.buffer = Some(u32::try_from(number?).map_err(|e| e.to_string())?),
                _ => return Err(format!("{argument} is unknown")),
            }
        }
        let names: Vec<&str> = Case::all().iter().map(|case| case.name).collect();
        check(&options.cases, &names)?;
        check(&options.methods, &METHODS)?;
        options.sources = sources(std::env::var("REGRESS_BENCH_VIA").ok().as_deref())?;
        Ok(options)
    }

    pub fn cases(&self) -> Vec<Case> {
        let asked = |case: &Case| self.cases.is_empty() || self.cases.iter().any(|name| name == case.name);
        Case::all().into_iter().filter(asked).collect()
    }

    pub fn methods(&self, case: &Case) -> Vec<Method> {
        let mut all = vec![Method::Noop, Method::Copy];
        all.extend(self.sources.iter().copied().map(Method::Capture));
        all.extend(self.sources.iter().copied().map(Method::Record));
        all.extend(self.sources.iter().copied().map(Method::Server));
        all.extend([Method::Mitmproxy, Method::Tcpdump, Method::Strace]);
        let asked = |method: &Method| {
            let name = method.to_string();
            let name = name.split(' ').next().unwrap_or_default();
            if self.methods.is_empty() {
                !method.is_peer() || case.with_peers
            } else {
                self.methods.iter().any(|asked| asked == name)
            }
        };
        all.retain(asked);
        all
    }

    pub fn rhythm(&self, case: &Case, method: Method) -> Rhythm {
        let usual = if method.is_peer() || !matches!(case.target, Target::Cpu(_)) { 4 } else { 8 };
        Rhythm { pairs: self.pairs.unwrap_or(usual), interval: Duration::from_millis(self.interval.unwrap_or(500)) }
    }
}

fn check(asked: &[String], known: &[&str]) -> Result<(), String> {
    match asked.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("there is no {name}: choose among {}", known.join(", "))),
        None => Ok(()),
    }
}

/// Those named, all that work here, or the best.
fn sources(asked: Option<&str>) -> Result<Vec<Source>, String> {
    match asked {
        None | Some("") => regress_ebpf::best_source().map(|source| vec![source]).map_err(|e| e.to_string()),
        Some("all") => {
            let probe = regress_ebpf::probe();
            Ok(probe.sources.into_iter().filter(|s| s.result.is_ok()).map(|s| s.source).collect())
        }
        Some(names) => names.split(',').map(|name| name.parse::<Source>().map_err(|e| e.to_string())).collect(),
    }
}
