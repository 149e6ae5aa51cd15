//! Less is kept while the host is loaded, and where that does not help nothing is captured for a while. Pure: readings in,
//! steps out.

/// When a host is loaded, and what is done then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// Loaded from this share of time on, in percent, in which something waited for a processor (PSI); where the kernel does
    /// not tell, from a load of so many percent of the processors.
    pub cpu: u32,
    /// Loaded from this share of the kernel's buffer on, in percent, that waits for the recorder.
    pub buffer: u32,
    /// How long nothing is captured once the breaker opens, in milliseconds; each time in a row twice as long, up to 32 times.
    pub pause: u64,
    /// Where pressure is read, in the form of `/proc/pressure/cpu` (proc(5)): also the `cpu.pressure` of a cgroup.
    pub pressure: std::path::PathBuf,
}

impl Default for BackOff {
    fn default() -> BackOff {
        BackOff { cpu: 80, buffer: 50, pause: 10_000, pressure: "/proc/pressure/cpu".into() }
    }
}

/// The most that is thinned out: one of 2^4 entries is kept.
const MOST_THINNING: u8 = 4;
/// Readings in a row that have to be loaded, with the most thinned out, before the breaker opens.
const PATIENCE: u32 = 3;
/// Readings in a row that have to be calm before more is kept.
const CALM: u32 = 5;
/// Readings that have to be calm while the breaker is half open.
const TRIAL: u32 = 3;
/// How many times a pause is doubled.
const MOST_DOUBLING: u32 = 5;

const MILLISECOND: u64 = 1_000_000;

/// How the host is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    /// Monotonic nanoseconds.
    pub at: u64,
    /// Percent of the time since the last reading in which something waited for a processor.
    pub cpu: f64,
    /// Percent of the kernel's buffer that waits for the recorder; 0 while nothing is captured.
    pub buffer: f64,
    /// Nothing is captured: to take a capture away, and to begin again, takes time itself.
    pub is_off: bool,
}

/// Whether anything is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// As usual.
    #[default]
    Closed,
    /// Nothing is.
    Open,
    /// It is tried.
    HalfOpen,
}

impl Breaker {
    /// Its name, for example `half-open`.
    pub fn word(self) -> &'static str {
        match self {
            Breaker::Closed => "closed",
            Breaker::Open => "open",
            Breaker::HalfOpen => "half-open",
        }
    }
}

/// What to do from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Keep one of 2^n entries.
    Thin(u8),
    /// Capture nothing.
    Pause,
    /// Capture again.
    Resume,
    /// Capturing again has proved bearable.
    Close,
}

/// Decides by readings of the host.
#[derive(Debug)]
pub(crate) struct Controller {
    limits: BackOff,
    /// Whether there is something to pause.
    can_pause: bool,
    breaker: Breaker,
    thinning: u8,
    loaded: u32,
    calm: u32,
    /// Pauses in a row.
    pauses: u32,
    /// How long this pause is, in nanoseconds, and when it is over.
    pause: u64,
    until: u64,
}

impl Controller {
    pub(crate) fn new(limits: BackOff, can_pause: bool) -> Controller {
        Controller {
            limits,
            can_pause,
            breaker: Breaker::Closed,
            thinning: 0,
            loaded: 0,
            calm: 0,
            pauses: 0,
            pause: 0,
            until: 0,
        }
    }

    pub(crate) fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// Take in a reading.
    pub(crate) fn read(&mut self, reading: Reading) -> Option<Step> {
        let is_loaded = reading.cpu >= f64::from(self.limits.cpu) || reading.buffer >= f64::from(self.limits.buffer);
        (self.loaded, self.calm) = if is_loaded { (self.loaded + 1, 0) } else { (0, self.calm + 1) };
        match self.breaker {
            Breaker::Closed if is_loaded && self.thinning < MOST_THINNING => self.thin(self.thinning + 1),
            Breaker::Closed if self.loaded > PATIENCE && self.can_pause => Some(self.open(reading.at)),
            Breaker::Closed if self.calm >= CALM && self.thinning > 0 => {
                self.pauses = 0;
                self.thin(self.thinning - 1)
            }
            Breaker::Closed => None,
            Breaker::Open if !reading.is_off => {
                self.until = reading.at.saturating_add(self.pause);
                None
            }
            Breaker::Open if reading.at >= self.until => {
                self.breaker = Breaker::HalfOpen;
                (self.loaded, self.calm) = (0, 0);
                Some(Step::Resume)
            }
            Breaker::Open => None,
            Breaker::HalfOpen if reading.is_off => {
                (self.loaded, self.calm) = (0, 0);
                None
            }
            // To begin again costs something itself: one reading is not enough.
            Breaker::HalfOpen if self.loaded >= 2 => Some(self.open(reading.at)),
            Breaker::HalfOpen if self.calm >= TRIAL => {
                self.breaker = Breaker::Closed;
                self.calm = 0;
                Some(Step::Close)
            }
            Breaker::HalfOpen => None,
        }
    }

    fn thin(&mut self, thinning: u8) -> Option<Step> {
        self.thinning = thinning;
        (self.loaded, self.calm) = (0, 0);
        Some(Step::Thin(thinning))
    }

    fn open(&mut self, at: u64) -> Step {
        self.pause = self.limits.pause.saturating_mul(MILLISECOND) << self.pauses.min(MOST_DOUBLING);
        self.pauses += 1;
        self.breaker = Breaker::Open;
        self.until = at.saturating_add(self.pause);
        Step::Pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Plays readings of the processor and the buffer, a second apart, and gives the steps with their seconds.
    fn play(controller: &mut Controller, from: u64, readings: &[(f64, f64)]) -> Vec<(u64, Step)> {
        let steps = (from..).zip(readings).map(|(second, &(cpu, buffer))| {
            let is_off = controller.breaker() == Breaker::Open;
            controller.read(Reading { at: second * SECOND, cpu, buffer, is_off }).map(|step| (second, step))
        });
        steps.flatten().collect()
    }

    const LOADED: (f64, f64) = (95.0, 0.0);
    const BUSY: (f64, f64) = (0.0, 70.0);
    const CALM_ONE: (f64, f64) = (3.0, 1.0);

    #[test]
    fn a_calm_host_is_left_alone() {
        let mut controller = Controller::new(BackOff::default(), true);
        assert_eq!(play(&mut controller, 0, &[CALM_ONE; 100]), []);
    }

    #[test]
    fn load_thins_out_and_calm_takes_it_back() {
        let mut controller = Controller::new(BackOff::default(), true);
        let steps = play(&mut controller, 0, &[LOADED, BUSY, CALM_ONE, LOADED]);
        assert_eq!(steps, [(0, Step::Thin(1)), (1, Step::Thin(2)), (3, Step::Thin(3))]);
        let steps = play(&mut controller, 4, &[CALM_ONE; 30]);
        assert_eq!(steps, [(8, Step::Thin(2)), (13, Step::Thin(1)), (18, Step::Thin(0))]);
        assert_eq!(controller.breaker(), Breaker::Closed);
    }

    #[test]
    fn load_that_stays_opens_the_breaker_for_longer_each_time() {
        let mut controller = Controller::new(BackOff::default(), true);
        let steps = play(&mut controller, 0, &[LOADED; 100]);
        let thinned = [(0, Step::Thin(1)), (1, Step::Thin(2)), (2, Step::Thin(3)), (3, Step::Thin(4))];
        assert_eq!(steps[..4], thinned);
        // Four more, then 10 seconds; two loaded ones are enough in the trial, then 20, then 40.
        let pauses = [
            (7, Step::Pause),
            (17, Step::Resume),
            (19, Step::Pause),
            (39, Step::Resume),
            (41, Step::Pause),
            (81, Step::Resume),
            (83, Step::Pause),
        ];
        assert_eq!(steps[4..], pauses);
        assert_eq!(controller.breaker(), Breaker::Open);
    }

    #[test]
    fn the_breaker_closes_after_a_calm_trial_and_the_rest_comes_back_by_and_by() {
        let mut controller = Controller::new(BackOff::default(), true);
        play(&mut controller, 0, &[LOADED; 8]);
        assert_eq!(controller.breaker(), Breaker::Open);
        let steps = play(&mut controller, 8, &[CALM_ONE; 40]);
        assert_eq!(steps[..3], [(17, Step::Resume), (20, Step::Close), (25, Step::Thin(3))]);
        assert_eq!(steps.last(), Some(&(40, Step::Thin(0))));
        // The next pause is a short one again.
        let steps = play(&mut controller, 50, &[LOADED; 20]);
        assert!(steps.ends_with(&[(57, Step::Pause), (67, Step::Resume), (69, Step::Pause)]), "{steps:?}");
    }

    #[test]
    fn a_pause_and_a_trial_begin_when_the_capture_has_gone_and_come() {
        let mut controller = Controller::new(BackOff::default(), true);
        play(&mut controller, 0, &[LOADED; 8]);
        let mut read = |at: u64, is_off| controller.read(Reading { at: at * SECOND, cpu: 0.0, buffer: 0.0, is_off });
        assert!((8..30).all(|at| read(at, false).is_none()), "it is still being taken away");
        assert!((30..39).all(|at| read(at, true).is_none()));
        assert_eq!(read(39, true), Some(Step::Resume));
        assert!((40..60).all(|at| read(at, true).is_none()), "it is still being put back");
        assert_eq!([60, 61, 62].map(|at| read(at, false)), [None, None, Some(Step::Close)]);
    }

    #[test]
    fn one_reading_spoils_no_trial() {
        let mut controller = Controller::new(BackOff::default(), true);
        play(&mut controller, 0, &[LOADED; 8]);
        let steps = play(&mut controller, 17, &[CALM_ONE, LOADED, CALM_ONE, CALM_ONE, CALM_ONE]);
        assert_eq!(steps, [(17, Step::Resume), (21, Step::Close)]);
    }

    #[test]
    fn where_nothing_can_be_paused_the_most_is_thinned_out() {
        let mut controller = Controller::new(BackOff::default(), false);
        assert_eq!(play(&mut controller, 0, &[LOADED; 100]).last(), Some(&(3, Step::Thin(4))));
    }
}
