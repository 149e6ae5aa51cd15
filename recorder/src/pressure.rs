//! How loaded the host is: `/proc/pressure/cpu`, else the load average.

use std::{fs, io, path::Path};

use crate::Error;

/// The kernel's load average, which every kernel has.
const LOAD: &str = "/proc/loadavg";

/// Reads the pressure on processors.
#[derive(Debug)]
pub(crate) enum Pressure {
    /// The file of pressure stall information, and the microseconds and the time, in nanoseconds, of the last reading.
    Stalls(Box<Path>, Option<(u64, u64)>),
    /// This kernel has none.
    Load,
}

impl Pressure {
    /// From this file; from the load average where the kernel does not have it.
    ///
    /// # Errors
    /// When a file that was named by the user is not there or says something else.
    pub(crate) fn from(path: &Path, is_named: bool) -> Result<Pressure, Error> {
        let refused = |source| Error::Pressure { path: path.to_owned(), source };
        match fs::read_to_string(path) {
            Ok(text) if stalled(&text).is_some() => Ok(Pressure::Stalls(path.into(), None)),
            Ok(_) => Err(refused(io::Error::new(io::ErrorKind::InvalidData, "it has no line `some ... total=`"))),
            Err(error) if is_named => Err(refused(error)),
            Err(_) => Ok(Pressure::Load),
        }
    }

    /// Percent of the time since the last reading in which something waited for a processor; 0 where it is not known.
    pub(crate) fn read(&mut self, at: u64) -> f64 {
        match self {
            Pressure::Stalls(path, last) => {
                let Some(total) = fs::read_to_string(path).ok().as_deref().and_then(stalled) else { return 0.0 };
                let before = last.replace((total, at));
                before.map_or(0.0, |before| share(before, (total, at)))
            }
            Pressure::Load => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let load = fs::read_to_string(LOAD).ok().as_deref().and_then(load);
                load.map_or(0.0, |load| 100.0 * load / cores as f64)
            }
        }
    }
}

/// Microseconds in which something waited (proc(5), `/proc/pressure/cpu`).
fn stalled(text: &str) -> Option<u64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split_ascii_whitespace().find_map(|field| field.strip_prefix("total="))?.parse().ok()
}

/// The load of the last minute.
fn load(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Of (microseconds that something waited, nanoseconds) before and now: percent of the time between.
fn share(before: (u64, u64), now: (u64, u64)) -> f64 {
    let waited = now.0.saturating_sub(before.0) as f64 * 1000.0;
    let passed = now.1.saturating_sub(before.1).max(1) as f64;
    (100.0 * waited / passed).min(100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let text = "some avg10=86.74 avg60=87.68 avg300=57.07 total=277707704\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(stalled(text), Some(277_707_704));
        for wrong in ["", "some avg10=1", "full avg10=0.00 total=9", "some total=x"] {
            assert_eq!(stalled(wrong), None, "{wrong}");
        }
        assert_eq!(load("3.72 1.80 0.72 5/312 3212\n"), Some(3.72));
        assert_eq!(load(""), None);
    }

    #[test]
    fn the_share_of_the_time_between() {
        assert_eq!(share((1_000, 0), (501_000, 1_000_000_000)), 50.0);
        assert_eq!(share((0, 0), (9_000_000, 1_000_000_000)), 100.0);
        assert_eq!(share((9, 5), (3, 5)), 0.0, "counters that went back");
    }

    #[test]
    fn a_file_that_was_named_has_to_say_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pressure");
        assert!(matches!(Pressure::from(&file, false), Ok(Pressure::Load)));
        assert!(matches!(Pressure::from(&file, true), Err(Error::Pressure { .. })));
        std::fs::write(&file, "some total=x\n").unwrap();
        assert!(matches!(Pressure::from(&file, true), Err(Error::Pressure { .. })));
        std::fs::write(&file, "some avg10=0.00 total=5\n").unwrap();
        let mut pressure = Pressure::from(&file, true).unwrap();
        assert_eq!(pressure.read(0), 0.0);
        std::fs::write(&file, "some avg10=0.00 total=250005\n").unwrap();
        assert_eq!(pressure.read(1_000_000_000), 25.0);
    }
}
