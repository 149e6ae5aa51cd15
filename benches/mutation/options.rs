//! The command line.

/// What is asked for.
pub struct Options {
    /// How often the whole matrix is run; 0 leaves it out.
    pub runs: u32,
    /// Whether the rows of the matrix that must differ are run as well.
    pub regressions: bool,
    /// Whether peers are given the recordings as well.
    pub peers: bool,
    /// Whether recordings are altered.
    pub mutants: bool,
}

/// How to call it.
pub const USAGE: &str = "cargo bench --bench mutation [-- --runs N --harmless-only --no-peers --no-mutants]";

impl Options {
    /// Read the arguments; else what is wrong with them.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { runs: 1, regressions: true, peers: true, mutants: true };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo says so.
                "--bench" => {}
                "--harmless-only" => options.regressions = false,
                "--no-peers" => options.peers = false,
                "--no-mutants" => options.mutants = false,
                "--runs" => {
                    let value = arguments.next().unwrap_or_default();
                    let runs = value.parse().ok().filter(|runs| (0..=1000).contains(runs));
                    options.runs = runs.ok_or_else(|| format!("{value:?} is no number of runs from 0 to 1000"))?;
                }
                _ => return Err(format!("{argument} is unknown")),
            }
        }
        Ok(options)
    }
}
