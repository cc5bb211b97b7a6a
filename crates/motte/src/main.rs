//! The `motte` command: one module a verb, each reads top to bottom.

mod cli;
mod role;
mod state;
mod verb;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Huge pages would round the memory of a small process up by megabytes. Refused: then it stays as it was.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli = cli::Cli::parse();
    match verb::run(cli.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            if !fault.is_told() {
                eprintln!("motte: {fault}");
            }
            ExitCode::FAILURE
        }
    }
}
