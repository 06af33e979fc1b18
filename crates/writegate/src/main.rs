//! The `writegate` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    writegate::cli::run()
}
