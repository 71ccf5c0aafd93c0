//! The real command line, in a binary that this crate's tests may ask Cargo for by name.

use std::process::ExitCode;

use waterpark_reactor::allocations::CountingAllocator;

// As in `waterpark` itself: what is tested is what is shipped.
#[global_allocator]
static ALLOCATOR: CountingAllocator<mimalloc::MiMalloc> = CountingAllocator(mimalloc::MiMalloc);

fn main() -> ExitCode {
    waterpark_tools::main()
}
