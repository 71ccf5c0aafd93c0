//! Other event loops as echo servers, each as its own documentation would have one: a task for each connection, on one thread.

#[cfg(feature = "compio")]
mod compio;
#[cfg(feature = "glommio")]
mod glommio;
#[cfg(feature = "monoio")]
mod monoio;
#[cfg(feature = "tokio")]
mod tokio;

use crate::Server;
#[cfg(any(feature = "compio", feature = "glommio", feature = "monoio", feature = "tokio"))]
use crate::{Took, cpu_time};

/// What a task reads at once: as much as a receive buffer of the reactor for links holds.
#[cfg(any(feature = "compio", feature = "glommio", feature = "monoio", feature = "tokio"))]
const READ_BYTES: usize = 64 << 10;

/// What the thread took since its CPU time was `begun`. None of them counts its system calls.
#[cfg(any(feature = "compio", feature = "glommio", feature = "monoio", feature = "tokio"))]
fn took_since(begun: std::time::Duration) -> Took {
    Took {
        cpu: cpu_time() - begun,
        calls: None,
    }
}

/// Those that were built in.
pub(crate) fn servers() -> Vec<Server> {
    vec![
        #[cfg(feature = "tokio")]
        Server {
            name: "tokio",
            serve: tokio::serve,
        },
        #[cfg(feature = "monoio")]
        Server {
            name: "monoio",
            serve: monoio::serve,
        },
        #[cfg(feature = "glommio")]
        Server {
            name: "glommio",
            serve: glommio::serve,
        },
        #[cfg(feature = "compio")]
        Server {
            name: "compio",
            serve: compio::serve,
        },
    ]
}

/// Names of those that were not.
pub(crate) fn absent() -> impl Iterator<Item = &'static str> {
    let all = [
        ("tokio", cfg!(feature = "tokio")),
        ("monoio", cfg!(feature = "monoio")),
        ("glommio", cfg!(feature = "glommio")),
        ("compio", cfg!(feature = "compio")),
    ];
    all.into_iter().filter_map(|(name, built)| (!built).then_some(name))
}
