//! A service with and without a recorder, in turns: what the machine does meanwhile meets both.

use std::{path::Path, time::Duration, time::Instant};

use crate::{
    cases::Case,
    cpu::{self, Cpus},
    load::Load,
    recorders::{Lost, Method, Recorder, Task, Told},
    services::Service,
};

/// One interval.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    seconds: f64,
    requests: f64,
    bytes: f64,
    service_seconds: f64,
    recorder_seconds: f64,
    told: Told,
    /// From the recorder's start to its end, which is what `told` is about.
    recorded_seconds: f64,
}

/// Of several values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        let median = match values.len() {
            0 => return Spread { median: f64::NAN, least: f64::NAN, most: f64::NAN },
            n if n % 2 == 0 => f64::midpoint(values[half - 1], values[half]),
            _ => values[half],
        };
        Spread { median, least: values[0], most: values[values.len() - 1] }
    }
}

/// What a method costs in a case.
#[derive(Clone, Debug)]
pub struct Cost {
    pub pairs: usize,
    /// The service's CPU time a request, bare through recorded: 1 is free.
    pub cpu: Spread,
    /// Requests a second, recorded through bare.
    pub throughput: Spread,
    /// Microseconds of the service's CPU a request, bare.
    pub bare_microseconds: f64,
    pub bare_requests_a_second: f64,
    pub bare_megabytes_a_second: f64,
    pub megabytes_a_second: f64,
    pub events_a_second: Option<f64>,
    /// Of one CPU.
    pub recorder_cpu: f64,
    /// In all intervals together; `None` where the recorder does not say.
    pub lost: Option<Lost>,
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    pub pairs: usize,
    pub interval: Duration,
}

const WARM_UP: Duration = Duration::from_millis(100);
const LEAST_REQUESTS: u64 = 50;

/// # Errors
/// In words, where something does not start or fails meanwhile.
pub fn measure(
    case: &Case,
    method: Method,
    service: &Service,
    rhythm: Rhythm,
    cpus: Cpus,
    folder: &Path,
    buffer: Option<u32>,
) -> Result<Cost, String> {
    let mut pairs = Vec::with_capacity(rhythm.pairs);
    // Whom to record when it is not the service.
    let other = if case.unrelated { Some(Service::start(case.program, folder, cpus.service)?) } else { None };
    let recorded = other.as_ref().unwrap_or(service);
    let task = Task { pids: &recorded.pids, service: recorded.address, folder, cpu: cpus.recorder, buffer };
    for pair in 0..rhythm.pairs {
        let with = || -> Result<Interval, String> {
            let recorder = Recorder::start(method, &task)?;
            let begun = Instant::now();
            let mut interval = run(case, service, Some(&recorder), rhythm.interval, cpus)?;
            interval.recorded_seconds = begun.elapsed().as_secs_f64();
            interval.told = recorder.finish()?;
            Ok(interval)
        };
        let bare = || run(case, service, None, rhythm.interval, cpus);
        // Neither is always the first, which something growing would favour.
        pairs.push(if pair % 2 == 0 {
            let bare = bare()?;
            (bare, with()?)
        } else {
            let with = with()?;
            (bare()?, with)
        });
    }
    Ok(cost(&pairs))
}

fn run(
    case: &Case,
    service: &Service,
    recorder: Option<&Recorder>,
    length: Duration,
    cpus: Cpus,
) -> Result<Interval, String> {
    let address = recorder.and_then(|recorder| recorder.address).filter(|_| !case.unrelated).unwrap_or(service.address);
    let recorder = recorder.map(|recorder| recorder.spenders.clone()).unwrap_or_default();
    let spenders = service.spenders();
    let load = Load::start(address, &case.shape, cpus.load).map_err(|e| format!("load: {e}"))?;
    std::thread::sleep(WARM_UP);
    let look = || (Instant::now(), load.so_far(), cpu::used(&spenders), cpu::used(&recorder));
    let (begun, (requests, bytes), service_used, recorder_used) = look();
    std::thread::sleep(length);
    // On a machine that is busy otherwise, or with a slow recorder in between, until it is more than a few.
    while load.so_far().0 < requests + LEAST_REQUESTS && begun.elapsed() < 20 * length {
        std::thread::sleep(length);
    }
    let (ended, (more_requests, more_bytes), service_used_then, recorder_used_then) = look();
    load.finish().map_err(|e| format!("load: {e}"))?;
    if more_requests == requests {
        return Err("no request was answered in an interval: make it longer".to_owned());
    }
    Ok(Interval {
        seconds: ended.duration_since(begun).as_secs_f64(),
        requests: (more_requests - requests) as f64,
        bytes: (more_bytes - bytes) as f64,
        service_seconds: service_used_then.saturating_sub(service_used) as f64 / 1e9,
        recorder_seconds: recorder_used_then.saturating_sub(recorder_used) as f64 / 1e9,
        told: Told::default(),
        recorded_seconds: 0.0,
    })
}

fn cost(pairs: &[(Interval, Interval)]) -> Cost {
    let cpu = |interval: &Interval| interval.service_seconds / interval.requests;
    let rate = |interval: &Interval| interval.requests / interval.seconds;
    let megabytes = |interval: &Interval| interval.bytes / interval.seconds / 1e6;
    let median = |of: &dyn Fn(&(Interval, Interval)) -> f64| Spread::of(pairs.iter().map(of)).median;
    let events = |with: &Interval| with.told.events.map_or(f64::NAN, |n| n as f64 / with.recorded_seconds);
    let add = |all: Option<Lost>, (_, with): &(Interval, Interval)| {
        let (all, more) = (all?, with.told.lost?);
        Some(Lost { events: all.events + more.events, bytes: all.bytes + more.bytes })
    };
    Cost {
        pairs: pairs.len(),
        cpu: Spread::of(pairs.iter().map(|(bare, with)| cpu(bare) / cpu(with))),
        throughput: Spread::of(pairs.iter().map(|(bare, with)| rate(with) / rate(bare))),
        bare_microseconds: median(&|(bare, _)| cpu(bare) * 1e6),
        bare_requests_a_second: median(&|(bare, _)| rate(bare)),
        bare_megabytes_a_second: median(&|(bare, _)| megabytes(bare)),
        megabytes_a_second: median(&|(_, with)| megabytes(with)),
        events_a_second: Some(median(&|(_, with)| events(with))).filter(|rate| rate.is_finite()),
        recorder_cpu: median(&|(_, with)| with.recorder_seconds / with.seconds),
        lost: pairs.iter().fold(Some(Lost::default()), add),
    }
}
