//! Where `benches/install.sh` puts things.

use std::path::PathBuf;

/// The folder; `None` where neither the environment nor a home folder says.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("REGRESS_BENCH_TOOLS").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        Some(cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?.join("regress-bench"))
    })
}
