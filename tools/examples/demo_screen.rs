//! Shows the screen of `waterpark demo` on made-up data: live, as text, or as an SVG file. For those who work on the screen.
//!
//! `cargo run -p waterpark-tools --example demo_screen -- live|text|svg [WIDTH HEIGHT [dark|light] [calm|troubled|help|empty]]`

use std::error::Error;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use waterpark_tools::demo_screen::draw::draw_into;
use waterpark_tools::demo_screen::svg::{Ground, svg};
use waterpark_tools::demo_screen::terminal::{Surroundings, sight};
use waterpark_tools::demo_screen::theme::{Depth, Theme};
use waterpark_tools::demo_screen::{DemoView, Key, PlainLines, Screen, Sight, sample};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |place: usize| words.get(place).map_or("", String::as_str);
    let size = |place: usize, otherwise: u16| word(place).parse().unwrap_or(otherwise);
    let view = match word(4) {
        "calm" => sample::calm(),
        "empty" => sample::empty(),
        "help" => DemoView {
            help: true,
            ..sample::troubled()
        },
        _ => sample::troubled(),
    };
    let area = Rect::new(0, 0, size(1, 80), size(2, 24));
    let mut buffer = Buffer::empty(area);
    draw_into(&mut buffer, area, &view, Theme::new(Depth::Many));
    match word(0) {
        "live" => live(view)?,
        "svg" => {
            let ground = if word(3) == "light" {
                Ground::Light
            } else {
                Ground::Dark
            };
            print!("{}", svg(&buffer, ground, "The screen of waterpark demo"));
        }
        _ => {
            for row in 0..area.height {
                let row: String = (0..area.width).map(|column| buffer[(column, row)].symbol()).collect();
                println!("{}", row.trim_end());
            }
        }
    }
    Ok(())
}

/// Until a key ends it; keys move the cursors and nothing else.
fn live(mut view: DemoView) -> Result<(), Box<dyn Error>> {
    let theme = match sight(&Surroundings::look()) {
        Sight::Screen(theme) => theme,
        Sight::Lines(why) => {
            eprintln!("{why}");
            let mut lines = PlainLines::new();
            lines.next(&view).iter().for_each(|line| println!("{line}"));
            sample::summary().lines().iter().for_each(|line| println!("{line}"));
            return Ok(());
        }
    };
    let mut screen = Screen::enter(theme)?;
    loop {
        for key in screen.keys()? {
            match key {
                Key::Quit => {
                    drop(screen);
                    sample::summary().lines().iter().for_each(|line| println!("{line}"));
                    return Ok(());
                }
                Key::Help => view.help = !view.help,
                _ => view.cursor = view.moved(key),
            }
        }
        screen.draw(&view)?;
        std::thread::sleep(Duration::from_millis(20));
        view.elapsed += Duration::from_millis(20);
    }
}
