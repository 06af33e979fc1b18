//! The `writegate` program.

use std::process::ExitCode;

/// Many threads allocate and free buffers for each other; mimalloc keeps them from piling up.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    writegate::cli::run()
}
