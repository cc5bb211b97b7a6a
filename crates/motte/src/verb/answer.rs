//! What a verb that answers a question writes, and its exit code.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use crate::verb::Fault;

/// Not as it should be: refuted, failed, findings, not permitted.
pub(crate) const NOT_SO: u8 = 1;
/// The question was not answered.
const NOT_ANSWERED: u8 = 2;

/// What is written, and the exit code.
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl Answer {
    pub(crate) fn new(text: String, is_so: bool) -> Self {
        Self { text, code: if is_so { 0 } else { NOT_SO } }
    }

    pub(crate) fn json(value: &Value, is_so: bool) -> Self {
        Self::new(format!("{value}\n"), is_so)
    }

    fn write(&self) -> Result<u8, Fault> {
        let mut out = std::io::stdout().lock();
        match out.write_all(self.text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(self.code),
            // Whoever reads may stop reading.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(self.code),
            Err(error) => Err(Fault::new(format!("cannot write: {error}"))),
        }
    }
}

/// Writes what was answered, or why it was not.
pub(crate) fn finish(answered: Result<Answer, Fault>) -> ExitCode {
    match answered.and_then(|answer| answer.write()) {
        Ok(code) => ExitCode::from(code),
        Err(fault) => {
            eprintln!("motte: {fault}");
            ExitCode::from(NOT_ANSWERED)
        }
    }
}

pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
