//! The terminal: whether there is one, and taking and giving it back.
//!
//! [`sight`] decides from the surroundings alone and says why there is no live screen. [`Screen`] holds the terminal in raw mode with its other
//! screen. **Invariant:** whoever took it gives it back, once: when the screen is dropped, in a panic before its message is printed, and when
//! [`restore`] is called before the process ends without unwinding.
//!
//! Nothing here waits: keys are taken as they lie there, and pictures come at most ten times a second.

use std::fmt;
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

use super::draw::draw;
use super::keys::Key;
use super::theme::{Depth, Theme};
use super::view::DemoView;

/// Between two pictures.
const PICTURE_INTERVAL: Duration = Duration::from_millis(100);
/// Keys that are taken at once at most; the rest waits for the next time.
const KEYS_MAX: usize = 64;

/// Whether the terminal is ours now, in whatever thread that was.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// The hook that gives it back in a panic is set once.
static HOOK: Once = Once::new();

/// What of the surroundings decides how the demo is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// Whether stdout is a terminal.
    pub(crate) stdout_is_terminal: bool,
    /// `TERM`.
    pub(crate) term: Option<String>,
    /// `COLORTERM`.
    pub(crate) colorterm: Option<String>,
    /// `NO_COLOR`.
    pub(crate) no_color: Option<String>,
}

impl Surroundings {
    /// As they are now.
    #[must_use]
    pub(crate) fn look() -> Surroundings {
        // A value that is no Unicode is a value all the same.
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Surroundings {
            stdout_is_terminal: io::stdout().is_terminal(),
            term: variable("TERM"),
            colorterm: variable("COLORTERM"),
            no_color: variable("NO_COLOR"),
        }
    }
}

/// Why there is no live screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoScreen {
    /// Stdout goes to a file or a pipe.
    NotATerminal,
    /// `TERM` is not set: nothing is known of the terminal.
    NoTerm,
    /// `TERM=dumb`: the terminal cannot move its cursor.
    Dumb,
}

impl fmt::Display for NoScreen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self {
            NoScreen::NotATerminal => "stdout is not a terminal",
            NoScreen::NoTerm => "TERM is not set",
            NoScreen::Dumb => "the terminal is dumb (TERM=dumb)",
        };
        write!(f, "no live screen, since {cause}: one line per second instead")
    }
}

/// How the demo can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// On a live screen, with these colours.
    Screen(Theme),
    /// In lines.
    Lines(NoScreen),
}

/// How the demo can be shown in these surroundings.
#[must_use]
pub(crate) fn sight(surroundings: &Surroundings) -> Sight {
    if !surroundings.stdout_is_terminal {
        return Sight::Lines(NoScreen::NotATerminal);
    }
    match surroundings.term.as_deref() {
        None | Some("") => Sight::Lines(NoScreen::NoTerm),
        Some("dumb") => Sight::Lines(NoScreen::Dumb),
        Some(term) => Sight::Screen(Theme::new(depth(surroundings, term))),
    }
}

fn depth(surroundings: &Surroundings, term: &str) -> Depth {
    let is_set = |value: &Option<String>| value.as_deref().is_some_and(|value| !value.is_empty());
    // An empty NO_COLOR counts as none, as its authors define it.
    if is_set(&surroundings.no_color) {
        return Depth::Plain;
    }
    let known = ["256color", "direct", "kitty", "alacritty", "ghostty", "wezterm", "foot"];
    if is_set(&surroundings.colorterm) || known.iter().any(|part| term.contains(part)) {
        Depth::Many
    } else if term.starts_with("vt") {
        Depth::Plain
    } else {
        Depth::Sixteen
    }
}

/// The terminal, taken.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    theme: Theme,
    /// When the last picture was drawn.
    drawn: Option<Instant>,
    /// Whether what is on the terminal cannot be relied on.
    stale: bool,
}

impl Screen {
    /// Takes the terminal: raw mode, other screen, no cursor.
    ///
    /// Log lines on stderr would write into the picture: whoever takes the terminal keeps them for its events, or sends them elsewhere.
    ///
    /// # Errors
    ///
    /// The terminal did not let itself be taken; it is as it was. The demo goes on in lines.
    pub(crate) fn enter(theme: Theme) -> io::Result<Screen> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // First, or the message would be gone with the other screen; later there may be no unwinding.
                restore();
                before(panic);
            }));
        });
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let begun = execute!(io::stdout(), EnterAlternateScreen).and_then(|()| {
            let mut terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
            terminal.hide_cursor()?;
            Ok(terminal)
        });
        match begun {
            Ok(terminal) => Ok(Screen {
                terminal,
                theme,
                drawn: None,
                stale: false,
            }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Draws, unless the last picture is younger than a tenth of a second. Whether it did.
    ///
    /// # Errors
    ///
    /// The terminal takes nothing more: it has gone. The demo ends in order.
    pub(crate) fn draw(&mut self, view: &DemoView) -> io::Result<bool> {
        if !self.stale && self.drawn.is_some_and(|drawn| drawn.elapsed() < PICTURE_INTERVAL) {
            return Ok(false);
        }
        if std::mem::replace(&mut self.stale, false) {
            self.terminal.clear()?;
        }
        let theme = self.theme;
        self.terminal.draw(|frame| draw(frame, view, theme))?;
        self.drawn = Some(Instant::now());
        Ok(true)
    }

    /// The keys that were pressed since the last time, without waiting. A new size of the terminal and Ctrl-L are seen to here.
    ///
    /// # Errors
    ///
    /// The terminal gives nothing more: it has gone. The demo ends in order.
    pub(crate) fn keys(&mut self) -> io::Result<Vec<Key>> {
        let mut keys = Vec::new();
        for _ in 0..KEYS_MAX {
            if !event::poll(Duration::ZERO)? {
                break;
            }
            match Key::of(&event::read()?) {
                Some(Key::Redraw) => self.stale = true,
                Some(key) => keys.push(key),
                None => (),
            }
        }
        Ok(keys)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, if it is taken. To be called before `process::exit`, which drops nothing; harmless at any other time.
pub(crate) fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut stdout = io::stdout();
        // A terminal that has gone needs nothing back.
        drop(execute!(stdout, LeaveAlternateScreen, Show));
        drop(stdout.flush());
        drop(disable_raw_mode());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(term: &str) -> Surroundings {
        Surroundings {
            stdout_is_terminal: true,
            term: Some(term.to_owned()),
            ..Surroundings::default()
        }
    }

    #[test]
    fn without_a_terminal_there_are_lines_and_a_reason() {
        let rows = [
            (
                Surroundings {
                    stdout_is_terminal: false,
                    ..terminal("xterm")
                },
                NoScreen::NotATerminal,
                "stdout is not a terminal",
            ),
            (
                Surroundings {
                    term: None,
                    ..terminal("")
                },
                NoScreen::NoTerm,
                "TERM is not set",
            ),
            (terminal(""), NoScreen::NoTerm, "TERM is not set"),
            (terminal("dumb"), NoScreen::Dumb, "TERM=dumb"),
        ];
        for (surroundings, expected, said) in rows {
            assert_eq!(sight(&surroundings), Sight::Lines(expected));
            assert!(expected.to_string().contains(said));
        }
    }

    #[test]
    fn colours_are_as_many_as_the_terminal_takes() {
        let rows = [
            (terminal("xterm-256color"), Depth::Many),
            (terminal("xterm-kitty"), Depth::Many),
            (
                Surroundings {
                    colorterm: Some("truecolor".to_owned()),
                    ..terminal("xterm")
                },
                Depth::Many,
            ),
            (terminal("linux"), Depth::Sixteen),
            (terminal("vt100"), Depth::Plain),
            (
                Surroundings {
                    no_color: Some("1".to_owned()),
                    ..terminal("xterm-256color")
                },
                Depth::Plain,
            ),
            (
                Surroundings {
                    no_color: Some(String::new()),
                    ..terminal("xterm-256color")
                },
                Depth::Many,
            ),
        ];
        for (surroundings, depth) in rows {
            assert_eq!(
                sight(&surroundings),
                Sight::Screen(Theme::new(depth)),
                "{surroundings:?}"
            );
        }
    }

    #[test]
    fn giving_back_what_was_not_taken_does_nothing() {
        restore();
        assert!(!TAKEN.load(Ordering::SeqCst));
    }
}
