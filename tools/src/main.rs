//! The `waterpark` command.

use std::process::ExitCode;

use waterpark_reactor::allocations::CountingAllocator;

// Group logs and buffers have arenas of their own; this serves everything else.
#[global_allocator]
static ALLOCATOR: CountingAllocator<mimalloc::MiMalloc> = CountingAllocator(mimalloc::MiMalloc);

fn main() -> ExitCode {
    waterpark_tools::main()
}
