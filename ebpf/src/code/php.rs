//! Programs that run PHP, and whether their processes take one request at a time.
//!
//! PHP shares nothing between requests: an interpreter works for one request until it is over. In builds that are not made for
//! threads a process has one interpreter, whose state is in variables that PHP exports for its extensions. What a script does
//! in the command line's interpreter is its own affair: it may be a server with an event loop.

use object::ReadRef;

use super::Elf;

/// What serves requests with the interpreter in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Php {
    /// PHP-FPM, or a module in Apache.
    Server,
    /// The command line, which has a server as well (`php -S`).
    CommandLine,
}

/// `None` for what has no interpreter, one for threads, or one of which it is not known who uses it.
pub(crate) fn of_file<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Option<Php> {
    let [Some(_), command_line] = elf.exported_functions(["php_request_startup", "php_cli_get_shell_callbacks"]) else {
        return None;
    };
    // In builds for threads each thread has its own, and there are no such variables.
    let [Some(_), Some(_), module] = elf.variables(["executor_globals", "sapi_module", "php_module"]) else {
        return None;
    };
    if command_line.is_some() {
        return elf.is_program().then_some(Php::CommandLine);
    }
    // Only PHP-FPM knows this option (sapi/fpm/fpm/fpm_main.c).
    let is_fpm = elf.is_program() && elf.mentions("fpm-config");
    (is_fpm || module.is_some()).then_some(Php::Server)
}

impl Php {
    /// Whether a process that was started with these arguments takes one request at a time.
    pub(crate) fn is_one_by_one(self, arguments: &[u8]) -> bool {
        match self {
            Php::Server => true,
            Php::CommandLine => is_server(arguments),
        }
    }
}

/// Whether `php` is to serve, by its arguments as `/proc/PID/cmdline` has them. What comes behind the name of a script is the
/// script's. Options are those of sapi/cli/php_cli.c; of letters that stand together nothing is known.
fn is_server(arguments: &[u8]) -> bool {
    const WITH_VALUE: [&[u8]; 20] = [
        b"-B",
        b"-c",
        b"-d",
        b"-E",
        b"-F",
        b"-f",
        b"-r",
        b"-R",
        b"-t",
        b"-z",
        b"--php-ini",
        b"--define",
        b"--docroot",
        b"--file",
        b"--run",
        b"--process-begin",
        b"--process-code",
        b"--process-file",
        b"--process-end",
        b"--zend-extension",
    ];
    let mut arguments = arguments.split(|&byte| byte == 0).skip(1);
    while let Some(argument) = arguments.next() {
        if argument == b"--server" || argument.starts_with(b"--server=") || argument.starts_with(b"-S") {
            return true;
        }
        // Not served, whatever else is said: a script, or code.
        let runs = [&b"-f"[..], b"-F", b"-r", b"-R", b"-B", b"-E", b"-a", b"--file", b"--run", b"--interactive"];
        if !argument.starts_with(b"-") || argument == b"--" || runs.contains(&argument) {
            return false;
        }
        if WITH_VALUE.contains(&argument) {
            arguments.next();
        }
    }
    false
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "skipped tests say why")]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::code::inspect;

    fn serves(arguments: &[&str]) -> bool {
        is_server([&["php"], arguments].concat().join("\0").as_bytes())
    }

    #[test]
    fn the_command_line_serves_where_it_is_told_to() {
        for arguments in [
            &["-S", "localhost:80"][..],
            &["-Slocalhost:80", "router.php"],
            &["-d", "memory_limit=1G", "-n", "-t", "public", "-S", "0:80", "router.php"],
            &["--server", "0:80"],
            &["--docroot", "public", "--server=0:80"],
        ] {
            assert!(serves(arguments), "{arguments:?}");
        }
        for arguments in [
            &[][..],
            &["server.php"],
            &["server.php", "-S", "0:80"],
            &["-d", "-S", "server.php"],
            &["-n", "--", "-S", "0:80"],
            &["-r", "serve();", "-S"],
            &["-f", "server.php", "-S"],
            &["-"],
        ] {
            assert!(!serves(arguments), "{arguments:?}");
        }
    }

    /// Each kind of PHP that this machine has.
    fn kinds(name: &str, folder: &str, prefix: &str, kind: Php) {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
        let is_one = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
        };
        let found: Vec<PathBuf> = files.filter(is_one).collect();
        if found.is_empty() {
            assert!(std::env::var_os("REGRESS_TEST_REQUIRE").is_none_or(|v| v != "all"), "there is no {prefix}");
            println!("skipped: {name}: there is no {prefix} in {folder}");
        }
        for path in found {
            let file = std::fs::read(&path).expect("it can be read");
            assert_eq!(inspect(&file[..]).php, Some(kind), "{}", path.display());
        }
    }

    #[test]
    fn php_fpm_takes_one_request_at_a_time() {
        kinds("php_fpm_takes_one_request_at_a_time", "/usr/sbin", "php-fpm", Php::Server);
    }

    #[test]
    fn the_command_line_is_told_from_servers() {
        kinds("the_command_line_is_told_from_servers", "/usr/bin", "php", Php::CommandLine);
    }

    #[test]
    fn nothing_else_is_php() {
        let file = std::fs::read(std::env::current_exe().expect("its own program")).expect("it can be read");
        assert_eq!(inspect(&file[..]).php, None);
    }
}
