//! What the last failure cost: whom it hit, for how long, and whether all copies are back.

use ratatui::text::{Line, Span};

use super::part::Part;
use crate::demo_screen::figures::{clock, count, latency, short};
use crate::demo_screen::theme::Role;
use crate::demo_screen::view::{DemoView, FailureView};

pub(super) fn draw(part: &mut Part<'_>, view: &DemoView) {
    let Some(failure) = &view.failure else {
        let long =
            "no failure yet: choose a node with the arrows; x kills it, r starts it again, w chooses its data centre";
        let lines = [
            long,
            "no failure yet: x kills the chosen node, ? explains",
            "no failure yet",
        ];
        let lines = lines.map(|text| Line::from(part.span(format!(" {text}"), Role::Label)));
        return part.first_that_fits(0, lines.to_vec());
    };
    let what = part.span(format!(" {} ", failure.what), Role::Figure);
    let ago = |words: &str| Span::raw(format!("{}{words}", clock(failure.ago)));
    let back = part.span(back(failure), whole_role(failure));
    let long = vec![
        part.span(" last failure", Role::Label),
        what.clone(),
        ago(" ago  "),
        Span::raw(failure.cost()),
        Span::raw(format!("  {} groups acked again  ", count(failure.groups_back))),
        back.clone(),
    ];
    let waited = |figure: fn(u64) -> String| {
        format!(
            "{} waited, median {}, worst {}  ",
            figure(failure.patients),
            latency(failure.median_us),
            latency(failure.worst_us)
        )
    };
    let middle = vec![
        what.clone(),
        ago(" ago  "),
        Span::raw(format!("{} groups, patients: {}", count(failure.groups), waited(count))),
        back,
    ];
    let less = vec![what.clone(), ago("  "), Span::raw(waited(short))];
    let least = vec![what, Span::raw(format!("worst {}", latency(failure.worst_us)))];
    part.first_that_fits(0, [long, middle, less, least].map(Line::from).to_vec());
}

fn back(failure: &FailureView) -> String {
    match failure.whole_after {
        Some(after) => format!("5 copies after {:.1} s", after.as_secs_f64()),
        None => "copies missing".to_owned(),
    }
}

fn whole_role(failure: &FailureView) -> Role {
    match failure.whole_after {
        Some(_) => Role::Good,
        None => Role::Warning,
    }
}
