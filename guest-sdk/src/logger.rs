//! The `log` crate's way to the console. The command line's `log=debug` sets the level; without it `info` is the limit.

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::println;

struct Logger;

static LOGGER: Logger = Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            match record.level() {
                Level::Info => println!("{}", record.args()),
                Level::Error => println!("error: {}", record.args()),
                Level::Warn => println!("warning: {}", record.args()),
                Level::Debug => println!("debug: {}: {}", record.target(), record.args()),
                Level::Trace => println!("trace: {}: {}", record.target(), record.args()),
            }
        }
    }

    fn flush(&self) {}
}

/// Returns the level that the value of `log=` asks for; anything unknown is `info`.
fn level(value: Option<&str>) -> LevelFilter {
    value.and_then(|value| value.parse().ok()).unwrap_or(LevelFilter::Info)
}

/// Makes `log::info!` and its sisters print, down to the level that the value of the command line's `log=` names.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "only a guest starts it"))]
pub(crate) fn start(value: Option<&str>) {
    // The guest may have brought a logger of its own; then it stays.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(level(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_chooses_the_level_and_nonsense_means_info() {
        assert_eq!(level(Some("debug")), LevelFilter::Debug);
        assert_eq!(level(Some("off")), LevelFilter::Off);
        assert_eq!(level(Some("loud")), LevelFilter::Info);
        assert_eq!(level(None), LevelFilter::Info);
    }
}
