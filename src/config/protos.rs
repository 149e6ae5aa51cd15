//! Which schemas messages are read by.

use std::{fs, path::PathBuf};

use regress_cassettes::diff::Schemas;

use super::Config;
use crate::output::Failure;

/// The descriptor sets that are named on the command line.
#[derive(Debug, Default, clap::Args)]
pub struct Protos {
    /// Name the fields of Protocol Buffers by this descriptor set (`protoc --include_imports --descriptor_set_out=FILE`, or
    /// `buf build -o FILE`); repeatable [default: `protos` in regress.toml]
    #[arg(long = "proto", value_name = "FILE", env = "REGRESS_PROTO")]
    named: Vec<PathBuf>,
}

impl Protos {
    /// The files: those that are named, else those of the settings.
    pub fn files<'a>(&'a self, config: &'a Config) -> &'a [PathBuf] {
        if self.named.is_empty() { &config.protos } else { &self.named }
    }

    /// What they say.
    ///
    /// # Errors
    /// When one cannot be read, or is no descriptor set.
    pub fn read(&self, config: &Config) -> Result<Schemas, Failure> {
        let content = |path: &PathBuf| match fs::read(path) {
            Ok(content) => Ok((path.clone(), content)),
            Err(error) => Err(Failure::new(format_args!("cannot read {}: {error}", path.display()))
                .hint("name an existing file with --proto, or under `protos` in regress.toml")),
        };
        let files = self.files(config).iter().map(content).collect::<Result<Vec<_>, _>>()?;
        Schemas::read(files).map_err(|error| {
            let hint = error.hint();
            Failure::from_error(error).hint(hint)
        })
    }
}
