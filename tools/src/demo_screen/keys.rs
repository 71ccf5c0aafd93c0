//! What a key of the keyboard asks of the demo.
//!
//! One table says both what a key does and what the screen tells about it, so that help and deed cannot differ. Nothing here acts.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What somebody at the keyboard asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// End the feed, read back, show the summary. Ctrl-C too: a terminal in raw mode sends it as a key, not as a signal.
    Quit,
    /// Let what is selected stand still, or go on.
    PauseOrResume,
    /// End what is selected without a word.
    Kill,
    /// End the whole data centre of the cursor without a word.
    Lose,
    /// Let the links of what is selected carry nothing.
    Cut,
    /// Let what is selected give its groups away.
    Drain,
    /// Undo whatever was done to what is selected.
    Restore,
    /// Select the whole data centre of the selected node, or that node again.
    Whole,
    /// Select the node above.
    Up,
    /// Select the node below.
    Down,
    /// Select the node at the same place of the data centre to the left.
    Left,
    /// Select the node at the same place of the data centre to the right.
    Right,
    /// Select the next node, through all data centres.
    NextNode,
    /// Select the node before, through all data centres.
    PreviousNode,
    /// Select the next link between two data centres.
    NextLink,
    /// Slow the selected link, or give it its configured round trip again.
    SlowLink,
    /// Show or hide the explanation of keys and figures.
    Help,
    /// Draw everything anew: the terminal has another size, or something else wrote on it.
    Redraw,
}

/// One row of the help: how a key is written, what it does in a word, and in a sentence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHelp {
    /// The keys, as people write them.
    pub(crate) keys: &'static str,
    /// In a word or two, for the line at the bottom.
    pub(crate) short: &'static str,
    /// In a sentence.
    pub(crate) long: &'static str,
}

/// What the keys do, the most useful first.
pub(crate) const HELP: [KeyHelp; 12] = [
    KeyHelp {
        keys: "q",
        short: "quit",
        long: "end the feed, read back, show the summary (Esc, Ctrl-C too)",
    },
    KeyHelp {
        keys: "p",
        short: "pause",
        long: "pause the selected node, or let it go on",
    },
    KeyHelp {
        keys: "x",
        short: "kill",
        long: "end it without a word, as kill -9: what it held is gone",
    },
    KeyHelp {
        keys: "X",
        short: "lose DC",
        long: "the same with all nodes of its data centre",
    },
    KeyHelp {
        keys: "c",
        short: "cut",
        long: "its links carry nothing; a data centre keeps its inner ones",
    },
    KeyHelp {
        keys: "d",
        short: "drain",
        long: "it gives its groups away and stays",
    },
    KeyHelp {
        keys: "r",
        short: "undo",
        long: "undo all that; a killed node starts anew, with nothing",
    },
    KeyHelp {
        keys: "↑↓←→",
        short: "node",
        long: "select a node; Tab goes through all of them",
    },
    KeyHelp {
        keys: "w",
        short: "DC",
        long: "select its whole data centre, or the node again",
    },
    KeyHelp {
        keys: "l",
        short: "link",
        long: "select the next link between two data centres",
    },
    KeyHelp {
        keys: "s",
        short: "slow",
        long: "slow the selected link, or give it its round trip back",
    },
    KeyHelp {
        keys: "?",
        short: "help",
        long: "show or hide this page",
    },
];

impl Key {
    /// Every one of them.
    #[cfg(test)]
    pub(crate) const ALL: [Key; 18] = [
        Key::Quit,
        Key::PauseOrResume,
        Key::Kill,
        Key::Lose,
        Key::Cut,
        Key::Drain,
        Key::Restore,
        Key::Whole,
        Key::Up,
        Key::Down,
        Key::Left,
        Key::Right,
        Key::NextNode,
        Key::PreviousNode,
        Key::NextLink,
        Key::SlowLink,
        Key::Help,
        Key::Redraw,
    ];

    /// What an event of the terminal asks for; `None` if nothing, as keys without a meaning, released keys, and pasted text.
    #[must_use]
    pub(crate) fn of(event: &Event) -> Option<Key> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => Key::of_key(key),
            Event::Resize(..) => Some(Key::Redraw),
            _ => None,
        }
    }

    fn of_key(key: &KeyEvent) -> Option<Key> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c' | 'd') => Some(Key::Quit),
                KeyCode::Char('l') => Some(Key::Redraw),
                _ => None,
            };
        }
        if key.modifiers.contains(KeyModifiers::ALT) {
            return None;
        }
        // Held down, a toggle would flicker between its two states; moving on is what one holds a key for.
        let repeated = key.kind == KeyEventKind::Repeat;
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
            KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
            KeyCode::Left => Some(Key::Left),
            KeyCode::Right => Some(Key::Right),
            KeyCode::Tab => Some(Key::NextNode),
            KeyCode::BackTab => Some(Key::PreviousNode),
            _ if repeated => None,
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Key::Quit),
            KeyCode::Char('p' | 'P' | ' ') => Some(Key::PauseOrResume),
            KeyCode::Char('x') => Some(Key::Kill),
            // With the shift key alone: nobody loses a data centre by a slip.
            KeyCode::Char('X') => Some(Key::Lose),
            KeyCode::Char('c' | 'C') => Some(Key::Cut),
            KeyCode::Char('d' | 'D') => Some(Key::Drain),
            KeyCode::Char('r' | 'R') => Some(Key::Restore),
            KeyCode::Char('w' | 'W') => Some(Key::Whole),
            KeyCode::Char('l' | 'L') => Some(Key::NextLink),
            KeyCode::Char('s' | 'S') => Some(Key::SlowLink),
            KeyCode::Char('?' | 'h' | 'H') | KeyCode::F(1) => Some(Key::Help),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
        Key::of(&Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn ctrl_c_quits_as_q_does() {
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(pressed(KeyCode::Char('q'), KeyModifiers::NONE), Some(Key::Quit));
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::NONE), Some(Key::Cut));
    }

    #[test]
    fn every_key_of_the_help_has_its_meaning() {
        let meant = [
            ("q", KeyCode::Char('q'), Key::Quit),
            ("p", KeyCode::Char('p'), Key::PauseOrResume),
            ("x", KeyCode::Char('x'), Key::Kill),
            ("X", KeyCode::Char('X'), Key::Lose),
            ("c", KeyCode::Char('c'), Key::Cut),
            ("d", KeyCode::Char('d'), Key::Drain),
            ("r", KeyCode::Char('r'), Key::Restore),
            ("↑↓←→", KeyCode::Right, Key::Right),
            ("w", KeyCode::Char('w'), Key::Whole),
            ("l", KeyCode::Char('l'), Key::NextLink),
            ("s", KeyCode::Char('s'), Key::SlowLink),
            ("?", KeyCode::Char('?'), Key::Help),
        ];
        assert_eq!(HELP.map(|help| help.keys), meant.map(|(keys, ..)| keys));
        for (keys, code, key) in meant {
            assert_eq!(pressed(code, KeyModifiers::NONE), Some(key), "{keys}");
        }
    }

    #[test]
    fn a_released_key_asks_for_nothing() {
        let mut key = KeyEvent::new(KeyCode::Char('p'), KeyModifiers::NONE);
        key.kind = KeyEventKind::Release;
        assert_eq!(Key::of(&Event::Key(key)), None);
    }

    #[test]
    fn a_held_key_moves_on_but_toggles_once() {
        let held = |code| {
            let mut key = KeyEvent::new(code, KeyModifiers::NONE);
            key.kind = KeyEventKind::Repeat;
            Key::of(&Event::Key(key))
        };
        assert_eq!(held(KeyCode::Down), Some(Key::Down));
        assert_eq!(held(KeyCode::Char('p')), None);
        assert_eq!(held(KeyCode::Char('s')), None);
    }

    #[test]
    fn another_size_asks_for_a_new_picture() {
        assert_eq!(Key::of(&Event::Resize(80, 24)), Some(Key::Redraw));
    }
}
