//! Shards as a picture: one bar each, as long as its core is busy, in pieces for its groups.
//!
//! No font, script or address is in it. **Invariant:** equal loads give equal bytes.

use super::load::NodeLoad;
use crate::demo_screen::svg::{escaped, put};

const WIDTH: f64 = 860.0;
/// Where bars begin, and how long one of a whole core is.
const LEFT: f64 = 220.0;
const WHOLE: f64 = 540.0;
const ROW: f64 = 26.0;
const TOP: f64 = 64.0;
/// A piece that is shorter is drawn with its neighbours.
const PIECE_MIN: f64 = 4.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1b2430}.soft{fill:#5b6775}.paper{fill:#fff}.whole{fill:#e9edf2}\
                     .writes{fill:#1f6fb2}.follows{fill:#8fb8d8}.piece{stroke:#fff;stroke-width:1}\
                     @media(prefers-color-scheme:dark){text{fill:#e6ebf0}.soft{fill:#9aa7b4}.paper{fill:#12171d}.whole{fill:#232c36}\
                     .writes{fill:#4aa3e8}.follows{fill:#2c5f86}.piece{stroke:#12171d}}";

/// The picture as an SVG document.
pub(super) fn picture(nodes: &[NodeLoad]) -> String {
    let rows: usize = nodes.iter().map(|node| node.shards.len()).sum();
    let rows = f64::from(u32::try_from(rows).unwrap_or(u32::MAX));
    let height = TOP + rows * ROW + 20.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" role=\"img\">\n\
         <title>How busy each shard is</title>\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n"
    );
    let mut put = |text: std::fmt::Arguments<'_>| put(&mut out, text);
    put(format_args!(
        "<rect class=\"writes\" x=\"{LEFT}\" y=\"16\" width=\"12\" height=\"12\"/><text x=\"{}\" y=\"27\">groups that it writes</text>\n\
         <rect class=\"follows\" x=\"{}\" y=\"16\" width=\"12\" height=\"12\"/><text x=\"{}\" y=\"27\">groups that it follows</text>\n\
         <text class=\"soft\" x=\"{LEFT}\" y=\"52\">CPU of its thread, of one core; groups by their entries</text>\n",
        LEFT + 18.0,
        LEFT + 180.0,
        LEFT + 198.0,
    ));
    let mut top = TOP;
    for node in nodes {
        for shard in &node.shards {
            let core = shard.core.map_or_else(String::new, |core| format!(", core {core}"));
            put(format_args!(
                "<text x=\"16\" y=\"{}\">{}</text><text class=\"soft\" x=\"104\" y=\"{}\">shard {}{core}</text>\n\
                 <rect class=\"whole\" x=\"{LEFT}\" y=\"{}\" width=\"{WHOLE}\" height=\"16\"/>\n",
                top + 13.0,
                escaped(&node.name),
                top + 13.0,
                shard.shard,
                top,
            ));
            let mut at = LEFT;
            for writes in [true, false] {
                let class = if writes { "writes" } else { "follows" };
                let mut rest = 0.0;
                for group in shard.groups.iter().filter(|group| group.writes == writes) {
                    let width = group.cpu * WHOLE;
                    if width < PIECE_MIN {
                        rest += width;
                        continue;
                    }
                    put(format_args!(
                        "<rect class=\"{class} piece\" x=\"{at:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"16\"><title>group {}: {:.1} %</title></rect>\n",
                        group.group,
                        group.cpu * 100.0,
                    ));
                    at += width;
                }
                if rest > 0.0 {
                    put(format_args!(
                        "<rect class=\"{class}\" x=\"{at:.1}\" y=\"{top}\" width=\"{rest:.1}\" height=\"16\"/>\n"
                    ));
                    at += rest;
                }
            }
            put(format_args!(
                "<text x=\"{}\" y=\"{}\">{:.1} %</text>\n",
                LEFT + WHOLE + 12.0,
                top + 13.0,
                shard.cpu * 100.0,
            ));
            top += ROW;
        }
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::super::load::{GroupLoad, ShardLoad};
    use super::*;

    #[test]
    fn each_shard_has_a_bar_as_long_as_its_core_is_busy() {
        let group = |group, writes, cpu| GroupLoad {
            group,
            writes,
            entries_per_s: 1.0,
            bytes_per_s: 1.0,
            cpu,
        };
        let shard = ShardLoad {
            shard: 1,
            core: Some(5),
            cpu: 0.5,
            written_per_s: 1.0,
            followed_per_s: 1.0,
            bytes_per_s: 1.0,
            crossed_per_s: 0.0,
            groups: vec![group(7, true, 0.3), group(9, false, 0.199), group(8, true, 0.001)],
            actors: Vec::new(),
        };
        let node = NodeLoad {
            name: "<A>".to_owned(),
            host: "h".to_owned(),
            shards: vec![shard],
        };
        let drawn = picture(&[node]);
        for part in [
            "&lt;A&gt;",
            "shard 1, core 5",
            "group 7: 30.0 %",
            "group 9: 19.9 %",
            ">50.0 %<",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        let widths = drawn
            .lines()
            .filter(|line| line.contains("class=\"writes") || line.contains("class=\"follows"));
        let widths = widths.filter(|line| line.contains("height=\"16\""));
        let width = |line: &str| -> f64 {
            line.split("width=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        let sum: f64 = widths.map(width).sum();
        assert!((sum - 0.5 * WHOLE).abs() < 0.2, "{sum}");
        assert!(!drawn.contains("group 8"), "too short to be told apart");
    }
}
