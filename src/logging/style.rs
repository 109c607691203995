//! How a line of the log is written: as JSON or as text, with or without the time.

use serde::Serialize;
use tracing::Level;

use crate::config::{Log, LogFormat};
use crate::timestamp::Timestamp;

/// What is written as one line.
pub trait Line: Serialize {
    /// Writes it for people, without the time and the line end.
    fn text(&self, out: &mut String);

    /// Whether it contains the time itself.
    fn has_time(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Style {
    format: LogFormat,
    time: bool,
}

impl Style {
    pub fn of(log: &Log) -> Self {
        Self { format: log.format, time: log.time }
    }

    /// The whole line including the line end; `None` if it cannot be written.
    pub fn line(self, line: &impl Line) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(512);
        let time = self.time && !line.has_time();
        match self.format {
            LogFormat::Json if time => {
                let timed = Timed { time: Timestamp::now(), line };
                serde_json::to_writer(&mut bytes, &timed).ok()?;
            }
            LogFormat::Json => serde_json::to_writer(&mut bytes, line).ok()?,
            LogFormat::Text => {
                let mut text = match time {
                    true => format!("{} ", Timestamp::now()),
                    false => String::new(),
                };
                line.text(&mut text);
                bytes = text.into_bytes();
            }
        }
        bytes.push(b'\n');
        Some(bytes)
    }
}

#[derive(Serialize)]
struct Timed<'a, T> {
    time: Timestamp,
    #[serde(flatten)]
    line: &'a T,
}

pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "Error",
        Level::WARN => "Warn",
        Level::INFO => "Info",
        Level::DEBUG => "Debug",
        Level::TRACE => "Trace",
    }
}
