//! What must be seen on a picture, as facts; whole pictures are looked at, not compared.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::draw_into;
use crate::demo_screen::sample;
use crate::demo_screen::theme::{Depth, Theme};
use crate::demo_screen::view::{DemoView, LogState, NodeState, Phase};

const SIZES: [(u16, u16); 4] = [(80, 24), (100, 30), (160, 50), (200, 60)];

fn buffer_of(view: &DemoView, width: u16, height: u16, depth: Depth) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    draw_into(&mut buffer, area, view, Theme::new(depth));
    buffer
}

/// The picture as rows of text, without any colour.
fn rows_of(view: &DemoView, width: u16, height: u16) -> Vec<String> {
    let buffer = buffer_of(view, width, height, Depth::Plain);
    let row = |row| (0..width).map(|column| buffer[(column, row)].symbol()).collect();
    (0..height).map(row).collect()
}

fn text_of(view: &DemoView, width: u16, height: u16) -> String {
    rows_of(view, width, height).join("\n")
}

#[test]
fn every_size_is_drawn() {
    let view = sample::troubled();
    for width in 1..=200 {
        for height in 1..=60 {
            buffer_of(&view, width, height, Depth::Many);
        }
    }
    buffer_of(&sample::calm(), 0, 0, Depth::Many);
    buffer_of(&sample::calm(), 600, 300, Depth::Many);
}

#[test]
fn other_views_are_drawn_at_every_small_and_some_large_sizes() {
    let mut help = sample::troubled();
    help.help = true;
    for view in [sample::calm(), sample::empty(), help] {
        for width in (1..=84).chain([119, 120, 200]) {
            for height in (1..=26).chain([35, 36, 60]) {
                buffer_of(&view, width, height, Depth::Many);
            }
        }
    }
}

#[test]
fn figures_at_their_largest_are_drawn_at_every_size() {
    let view = sample::extreme();
    for width in (1..=84).chain((85..=200).step_by(9)) {
        for height in (1..=26).chain((27..=60).step_by(5)) {
            buffer_of(&view, width, height, Depth::Sixteen);
        }
    }
}

#[test]
fn nothing_is_written_outside_the_area() {
    let view = sample::troubled();
    for (width, height) in [(1, 1), (17, 9), (80, 24), (130, 40)] {
        let whole = Rect::new(0, 0, width + 10, height + 10);
        let mut buffer = Buffer::empty(whole);
        let area = Rect::new(5, 5, width, height);
        draw_into(&mut buffer, area, &view, Theme::new(Depth::Many));
        for position in whole.positions().filter(|position| !area.contains(*position)) {
            assert_eq!(buffer[position].symbol(), " ", "{position} at {width}x{height}");
        }
    }
}

#[test]
fn an_area_beyond_the_buffer_is_left_out() {
    let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 4));
    draw_into(
        &mut buffer,
        Rect::new(2, 2, 500, 500),
        &sample::calm(),
        Theme::new(Depth::Many),
    );
    draw_into(
        &mut buffer,
        Rect::new(50, 50, 5, 5),
        &sample::calm(),
        Theme::new(Depth::Many),
    );
}

#[test]
fn every_node_has_its_name_on_an_ordinary_terminal() {
    let view = sample::troubled();
    for (width, height) in SIZES {
        let text = text_of(&view, width, height);
        for node in view.nodes() {
            assert!(text.contains(&node.name), "{} at {width}x{height}\n{text}", node.name);
        }
    }
}

#[test]
fn quantiles_are_shown_with_their_names_and_unit() {
    let view = sample::calm();
    let p99 = view.latency.writers_dc.recent.quantiles().p99_us;
    for (width, height) in SIZES {
        let text = text_of(&view, width, height);
        for fact in ["p50", "p99", "p99.9", "max", " ms", "writer's DC", "another DC"] {
            assert!(text.contains(fact), "{fact} at {width}x{height}\n{text}");
        }
        let figure = crate::demo_screen::figures::milliseconds(p99);
        assert!(text.contains(&figure), "{figure} at {width}x{height}\n{text}");
    }
}

#[test]
fn totals_copies_memory_and_rates_are_shown() {
    let view = sample::troubled();
    for (width, height) in SIZES {
        let text = text_of(&view, width, height);
        let facts = [
            "93,412",
            "93,371",
            "in flight",
            "refused",
            "unknown",
            "resends",
            "1,284",
            "copies per group",
            "846",
            "171",
            "60 %",
        ];
        for fact in facts {
            assert!(text.contains(fact), "{fact} at {width}x{height}\n{text}");
        }
    }
}

#[test]
fn a_paused_node_is_told_in_words() {
    for (width, height) in SIZES {
        let rows = rows_of(&sample::troubled(), width, height);
        let row = rows.iter().find(|row| row.contains("FL-A-2")).unwrap();
        assert!(row.contains("FL-A-2 ‖ paused ↓"), "{row}");
        assert!(rows[0].contains("31 of 32 nodes up; 1 down"), "{}", rows[0]);
    }
}

#[test]
fn a_killed_node_differs_from_a_paused_one_in_sign_and_word() {
    let mut view = sample::calm();
    let node = &mut view.data_centres[3].zones[1].nodes[3];
    (node.state, node.log) = (NodeState::Killed, LogState::Up);
    assert!(text_of(&view, 80, 24).contains("UT-B-4 × killed"));
    assert!(text_of(&view, 40, 12).contains('×'));
}

#[test]
fn a_slowed_link_has_its_mark_from_both_ends() {
    for (width, height) in SIZES {
        let text = text_of(&sample::troubled(), width, height);
        assert_eq!(text.matches("145!").count(), 2, "{text}");
        assert!(
            text.contains("slowed from 45.0 ms") || text.contains("45 → 145 ms"),
            "{text}"
        );
        assert!(!text_of(&sample::calm(), width, height).contains("18!"));
    }
}

#[test]
fn the_selected_node_is_marked_without_colour() {
    let view = sample::troubled();
    for (width, height) in SIZES {
        assert!(text_of(&view, width, height).contains("›FL-A-2"));
        let buffer = buffer_of(&view, width, height, Depth::Plain);
        let reversed = buffer
            .content()
            .iter()
            .filter(|cell| cell.modifier.contains(Modifier::REVERSED))
            .count();
        assert!(reversed > 0);
    }
}

#[test]
fn the_last_event_and_the_way_out_are_always_shown() {
    let view = sample::troubled();
    for (width, height) in SIZES {
        let rows = rows_of(&view, width, height);
        assert!(rows.join("\n").contains("FL-UT slowed from 45 ms"), "{width}x{height}");
        let last = rows.last().unwrap();
        assert!(last.contains("qquit ") || last.contains(" q  quit"), "{width}x{height}");
    }
}

#[test]
fn every_key_has_its_place_in_the_last_row() {
    let view = sample::troubled();
    for (width, height) in SIZES {
        let rows = rows_of(&view, width, height);
        for help in crate::demo_screen::keys::HELP {
            let (keys, word) = (help.keys, help.short);
            let last = rows.last().unwrap();
            let is_there = [format!("{keys}{word} "), format!(" {keys}  {word}")]
                .iter()
                .any(|key| last.contains(key));
            assert!(is_there, "{keys} at {width}x{height}: {last}");
        }
    }
}

#[test]
fn what_a_failure_cost_is_shown_and_before_one_how_to_make_it() {
    for (width, height) in SIZES {
        let text = text_of(&sample::troubled(), width, height);
        for fact in ["kill FL-A-1", "waited", "median 312 ms", "worst 640 ms"] {
            assert!(text.contains(fact), "{fact} at {width}x{height}\n{text}");
        }
        let text = text_of(&sample::calm(), width, height);
        assert!(text.contains("no failure yet"), "{width}x{height}\n{text}");
    }
}

#[test]
fn what_the_log_says_is_told_beside_what_was_done() {
    let mut view = sample::calm();
    view.data_centres[1].zones[0].nodes[0].log = LogState::Draining;
    view.data_centres[1].zones[0].nodes[0].state = NodeState::Draining;
    view.data_centres[2].zones[0].nodes[0].log = LogState::Down;
    for (width, height) in SIZES {
        let text = text_of(&view, width, height);
        assert!(text.contains("TN-A-1 ◐ draining"), "{text}");
        assert!(
            text.contains("TX-A-1 ● down"),
            "it goes on, and the log has not heard: {text}"
        );
        assert!(text.contains("30 of 32 nodes up; 1 draining, 1 down"), "{text}");
    }
}

#[test]
fn a_whole_data_centre_is_marked_at_each_of_its_nodes() {
    let mut view = sample::calm();
    (view.cursor.data_centre, view.cursor.whole) = (1, true);
    for (width, height) in SIZES {
        let text = text_of(&view, width, height);
        assert_eq!(text.matches("›TN-").count(), 8, "{text}");
        assert!(text.contains("›all of TN"), "{text}");
    }
}

#[test]
fn a_small_terminal_shows_the_state_of_each_node() {
    let text = text_of(&sample::troubled(), 40, 12);
    assert_eq!(text.matches('●').count(), 31, "{text}");
    assert_eq!(text.matches('‖').count(), 1, "{text}");
    assert!(text.contains("p99"), "{text}");
    assert!(text.contains("93,371"), "{text}");
}

#[test]
fn more_nodes_than_rows_are_counted() {
    let mut view = sample::calm();
    for there in &mut view.data_centres {
        let nodes = there.zones[0].nodes.clone();
        (0..10).for_each(|_| there.zones[0].nodes.extend(nodes.clone()));
    }
    let text = text_of(&view, 80, 24);
    assert!(text.contains(" and 38 more"), "{text}");
}

#[test]
fn a_bad_figure_stands_out() {
    let mut view = sample::calm();
    let bad = Theme::new(Depth::Many).style(crate::demo_screen::theme::Role::Bad);
    let seen = |view: &DemoView| {
        let buffer = buffer_of(view, 80, 24, Depth::Many);
        buffer
            .content()
            .iter()
            .filter(|cell| Some(cell.fg) == bad.fg)
            .map(|cell| cell.symbol().to_owned())
            .collect::<String>()
    };
    assert_eq!(seen(&view), "");
    view.totals.unknown = 77;
    assert_eq!(seen(&view), "77");
}

#[test]
fn before_the_first_ack_the_screen_says_so() {
    let mut view = sample::calm();
    view.latency = crate::demo_screen::latency::AckLatency::default();
    view.phase = Phase::Starting;
    let text = text_of(&view, 80, 24);
    assert!(text.contains("no ack yet") && text.contains("starting"), "{text}");
}

#[test]
fn every_command_is_whole_on_the_help_page() {
    let mut view = sample::calm();
    view.help = true;
    for (width, height) in [(80, 24), (160, 50)] {
        let rows = rows_of(&view, width, height);
        let joined = rows
            .iter()
            .map(|row| row.trim_end())
            .collect::<Vec<_>>()
            .join("\n")
            .replace(" \\\n", " ");
        for command in &view.commands {
            assert!(joined.contains(&command.command), "{}\n{joined}", command.command);
        }
    }
    let text = text_of(&view, 160, 50);
    for fact in ["paused", "unknown", "writer's DC", "pause the selected node"] {
        assert!(text.contains(fact), "{fact}");
    }
}

#[test]
fn no_colour_is_used_where_none_is_wanted() {
    let buffer = buffer_of(&sample::troubled(), 160, 50, Depth::Plain);
    let reset = ratatui::style::Color::Reset;
    assert!(buffer.content().iter().all(|cell| cell.fg == reset && cell.bg == reset));
}

#[test]
fn the_same_data_give_the_same_picture() {
    let draw = || buffer_of(&sample::troubled(), 160, 50, Depth::Many);
    assert_eq!(draw(), draw());
}
