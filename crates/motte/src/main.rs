//! The `motte` command: one module a verb, each reads top to bottom.

mod accounts;
mod cli;
mod role;
mod state;
mod verb;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    leave_quietly_when_nobody_reads();
    // Huge pages would round the memory of a small process up by megabytes. Refused: then it stays as it was.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli = cli::Cli::parse();
    match verb::run(cli.verb) {
        Ok(code) => code,
        Err(fault) => {
            if !fault.is_told() {
                eprintln!("motte: {fault}");
            }
            ExitCode::FAILURE
        }
    }
}

/// `motte … | head` closes the pipe when it has enough: that is no fault of anybody's.
fn leave_quietly_when_nobody_reads() {
    let former = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            // As a shell reports the end by SIGPIPE.
            std::process::exit(128 + 13);
        }
        former(panic);
    }));
}
