//! Colours by role, in three depths: none, the sixteen that every terminal has, and fixed ones of 256.
//!
//! Whether a terminal is dark or light cannot be asked for reliably, so no colour here needs to know: the fixed ones stand out from black and
//! from white alike (a test computes it), text that only has to be read keeps the terminal's own colour, and what recedes is dimmed. No state
//! is told by colour alone: each has its word or its sign beside it.

use ratatui::style::{Color, Modifier, Style};

/// How many colours the terminal takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// None: bold, dim and reversed text alone.
    Plain,
    /// The sixteen of the terminal's own scheme.
    Sixteen,
    /// The 256 that are the same everywhere.
    Many,
}

/// What a piece of the picture stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Text.
    Text,
    /// What names other things: units, labels, rules.
    Label,
    /// The name of a panel.
    Title,
    /// A figure that the eye should find first.
    Figure,
    /// As it should be.
    Good,
    /// Worse than before, or in between.
    Warning,
    /// What must not be.
    Bad,
    /// Acks of messages that entered in the writer's data centre; and what counts acks.
    Acks,
    /// Acks of messages that entered in another data centre.
    OtherDc,
    /// What is under a cursor.
    Selected,
    /// The name of the program.
    Banner,
}

impl Role {
    /// Every one of them.
    #[cfg(test)]
    pub(crate) const ALL: [Role; 11] = [
        Role::Text,
        Role::Label,
        Role::Title,
        Role::Figure,
        Role::Good,
        Role::Warning,
        Role::Bad,
        Role::Acks,
        Role::OtherDc,
        Role::Selected,
        Role::Banner,
    ];
}

/// How the roles look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Theme {
    depth: Depth,
}

impl Theme {
    /// The theme of a depth.
    #[must_use]
    pub(crate) const fn new(depth: Depth) -> Theme {
        Theme { depth }
    }

    /// How a role looks.
    #[must_use]
    pub(crate) fn style(self, role: Role) -> Style {
        let plain = Style::new().add_modifier(modifier(role));
        // A title lies on its rule, which is dimmed; it must not be.
        let plain = if role == Role::Label {
            plain
        } else {
            plain.remove_modifier(Modifier::DIM)
        };
        match color(role, self.depth) {
            Some(color) => plain.fg(color),
            None => plain,
        }
    }
}

fn modifier(role: Role) -> Modifier {
    match role {
        Role::Text | Role::Good | Role::Acks | Role::OtherDc => Modifier::empty(),
        Role::Label => Modifier::DIM,
        Role::Title | Role::Figure | Role::Warning | Role::Bad => Modifier::BOLD,
        Role::Selected => Modifier::REVERSED,
        Role::Banner => Modifier::BOLD.union(Modifier::REVERSED),
    }
}

fn color(role: Role, depth: Depth) -> Option<Color> {
    let (sixteen, many) = match role {
        Role::Text | Role::Label | Role::Figure | Role::Selected => return None,
        Role::Title | Role::Banner => (Color::Cyan, 31),
        Role::Good => (Color::Green, 29),
        Role::Warning => (Color::Yellow, 166),
        Role::Bad => (Color::Red, 160),
        Role::Acks => (Color::Blue, 32),
        Role::OtherDc => (Color::Magenta, 134),
    };
    match depth {
        Depth::Plain => None,
        Depth::Sixteen => Some(sixteen),
        Depth::Many => Some(Color::Indexed(many)),
    }
}

/// Red, green and blue of one of the 256: the first sixteen as most terminals have them, then the cube and the greys, which are fixed.
#[must_use]
pub(crate) fn rgb_of_index(index: u8) -> [u8; 3] {
    const SIXTEEN: [[u8; 3]; 16] = [
        [0, 0, 0],
        [205, 49, 49],
        [13, 188, 121],
        [196, 160, 0],
        [36, 114, 200],
        [188, 63, 188],
        [17, 168, 205],
        [204, 204, 204],
        [118, 118, 118],
        [241, 76, 76],
        [35, 209, 139],
        [245, 245, 67],
        [59, 142, 234],
        [214, 112, 214],
        [41, 184, 219],
        [255, 255, 255],
    ];
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    match index {
        0..16 => SIXTEEN[usize::from(index)],
        16..232 => {
            let cube = usize::from(index - 16);
            [LEVELS[cube / 36], LEVELS[cube / 6 % 6], LEVELS[cube % 6]]
        }
        232.. => [8 + 10 * (index - 232); 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance as WCAG 2 defines it.
    fn luminance(rgb: [u8; 3]) -> f64 {
        let linear = rgb.map(|channel| {
            let channel = f64::from(channel) / 255.0;
            if channel <= 0.04045 {
                channel / 12.92
            } else {
                ((channel + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn fixed_colours_stand_out_from_black_and_from_white() {
        for role in Role::ALL {
            let Some(Color::Indexed(index)) = Theme::new(Depth::Many).style(role).fg else {
                continue;
            };
            let luminance = luminance(rgb_of_index(index));
            // Three to one is what large text and graphics need.
            assert!((luminance + 0.05) / 0.05 >= 3.0, "{role:?} on black");
            assert!(1.05 / (luminance + 0.05) >= 3.0, "{role:?} on white");
        }
    }

    #[test]
    fn plain_has_no_colour() {
        for role in Role::ALL {
            let style = Theme::new(Depth::Plain).style(role);
            assert_eq!((style.fg, style.bg), (None, None), "{role:?}");
        }
    }

    #[test]
    fn what_is_selected_shows_without_colour() {
        for depth in [Depth::Plain, Depth::Sixteen, Depth::Many] {
            let style = Theme::new(depth).style(Role::Selected);
            assert!(style.add_modifier.contains(Modifier::REVERSED));
        }
    }

    #[test]
    fn the_cube_and_the_greys_are_where_terminals_have_them() {
        assert_eq!(rgb_of_index(16), [0, 0, 0]);
        assert_eq!(rgb_of_index(32), [0, 135, 215]);
        assert_eq!(rgb_of_index(231), [255, 255, 255]);
        assert_eq!(rgb_of_index(255), [238, 238, 238]);
    }
}
