//! SIGTERM and SIGINT, and the death of the parent.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::Signals;
use waterpark::Stopper;
use waterpark::config::StartCode;

use crate::errors;

/// Signals that are caught from now on.
pub(crate) struct Caught(Signals);

/// Catches SIGTERM and SIGINT.
pub(crate) fn catch() -> io::Result<Caught> {
    Signals::new([SIGTERM, SIGINT]).map(Caught)
}

/// The same; where it cannot be, that is said, and the exit code is a failure's.
pub(crate) fn catch_or_say() -> Result<Caught, ExitCode> {
    catch().map_err(|error| {
        let text = format!("signals cannot be caught: {error}");
        errors::say(StartCode::Signals.entry(), &text);
        ExitCode::FAILURE
    })
}

/// Ends the process quietly when whoever reads its output has gone, as other commands do. Not for a node: it has sockets to lose first.
pub(crate) fn end_with_reader() {
    let always = Arc::new(AtomicBool::new(true));
    if let Err(error) = signal_hook::flag::register_conditional_default(SIGPIPE, always) {
        tracing::debug!(%error, "a closed pipe will not end this command");
    }
}

/// What a command with processes of its own does: it is given whom to tell what goes on, and what to ask whether it goes on. Whoever reads may go
/// meanwhile; processes are ended in order all the same.
///
/// # Errors
/// The exit code, where signals cannot be caught; it is said.
pub(crate) fn attended<T>(work: impl FnOnce(&mut dyn FnMut(&str), &dyn Fn() -> bool) -> T) -> Result<T, ExitCode> {
    let interrupted = catch_or_say()?.raise();
    let mut say = |what: &str| drop(writeln!(io::stderr(), "{what}"));
    let done = work(&mut say, &|| !interrupted.load(Ordering::Relaxed));
    end_with_reader();
    Ok(done)
}

impl Caught {
    /// A flag that the first of them raises; a second ends the process at once.
    pub(crate) fn raise(mut self) -> Arc<AtomicBool> {
        let raised = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&raised);
        std::thread::spawn(move || {
            for signal in self.0.forever() {
                if flag.swap(true, Ordering::Relaxed) {
                    crate::demo_screen::terminal::restore();
                    std::process::exit(128 + signal);
                }
            }
        });
        raised
    }

    /// Stops a node at the first of them; a second ends the process at once.
    pub(crate) fn then(mut self, stopper: Stopper) {
        std::thread::spawn(move || {
            let mut stopping = false;
            for signal in self.0.forever() {
                if std::mem::replace(&mut stopping, true) {
                    std::process::exit(128 + signal);
                }
                stopper.stop();
            }
        });
    }
}

/// Makes the kernel end this process when its parent dies, also while it is stopped; refuses to go on if the parent has died already.
pub(crate) fn end_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // The parent may have died before that was set: then this process belongs to another by now.
    match rustix::process::getppid() {
        Some(parent) if parent != rustix::process::Pid::INIT => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "the process that started this one is gone",
        )),
    }
}
