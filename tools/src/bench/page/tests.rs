use serde_json::json;

use super::super::kept::tests::{kept, result, write as keep};
use super::*;

/// Tags of a page in their order; every one that is opened is closed in its turn.
///
/// # Panics
/// If one is not, or if a text holds what would be a tag.
fn tags(page: &str) -> Vec<&str> {
    let mut open: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    let rest = page.strip_prefix("<!DOCTYPE html>").expect("it says what it is");
    for part in rest.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("no end: {part:.80}"));
        assert!(!text.contains('>') || tag == "style", "{text:.80}");
        for entity in text.split('&').skip(1) {
            let name = entity.split(';').next().unwrap_or_default();
            assert!(["amp", "lt", "gt"].contains(&name), "&{entity:.20}");
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        assert!(
            name.chars().all(|c| c.is_ascii_alphanumeric()) && !name.is_empty(),
            "<{tag}>"
        );
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> closes another");
        } else if !tag.ends_with('/') {
            open.push(name);
            found.push(name);
        } else {
            found.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "all are closed");
    found
}

fn chosen(results: Vec<Kept>) -> Chosen {
    Chosen {
        results,
        damaged: Vec::new(),
    }
}

#[test]
fn a_page_has_every_part_of_each_result() {
    let both = chosen(vec![
        kept("a.json", &result(700.0, 2_000)),
        kept("b.json", &result(500.0, 3_000)),
    ]);
    let page = page(&both);
    let tags = tags(&page);
    let count = |name: &str| tags.iter().filter(|tag| **tag == name).count();
    assert_eq!((count("section"), count("svg"), count("figcaption")), (2, 7, 7));
    assert_eq!(
        count("script") + count("link") + count("img") + count("iframe"),
        0,
        "it loads nothing"
    );
    assert!(!page.contains("url(") && !page.contains("@import"));
    let addresses = page.match_indices("://").count();
    assert_eq!(
        addresses,
        page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count(),
        "no address but a name"
    );
    for part in [
        "2 · <a href=\"#run-2\">",
        "<figcaption>Response of each, by its number</figcaption>",
        "<section id=\"run-2\">",
        "<h3>Figures</h3>",
        "<td>at least 600</td>",
        "<span class=\"good\">met</span>",
        "<span class=\"bad\">missed</span>",
        "<td>response</td><td>1.00 ms</td>",
        "<figcaption>Percentile spectrum</figcaption>",
        "<figcaption>Response over time</figcaption>",
        "<figcaption>Throughput over time</figcaption>",
        "Durability: ram, three of five members",
        "Method: open loop",
        "<tr><td>cpu</td><td>A CPU</td></tr>",
        "<pre><code>waterpark bench run --for 1s</code></pre>",
        "<tr><td>lost</td><td>0</td></tr>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for name in ["response", "service", "p50", "p99", "max", "acked a second"] {
        assert!(page.contains(&format!("y=\"18.5\">{name}</text>")), "{name}");
    }
}

#[test]
fn one_result_has_no_overview_and_what_was_left_out_is_said() {
    let mut one = chosen(vec![kept("a.json", &result(700.0, 2_000))]);
    one.damaged.push("cut.json: <nothing> in it".to_owned());
    let page = page(&one);
    tags(&page);
    assert!(!page.contains("class=\"overview\""));
    assert!(page.contains("left out: cut.json: &lt;nothing&gt; in it"));
}

#[test]
fn whatever_stands_in_a_result_is_text() {
    let tag = "</style><script>alert(1)</script>&\"'";
    let mut run = result(700.0, 2_000);
    for pointer in [
        "/workload",
        "/verdict",
        "/driver",
        "/durability",
        "/figures/0/figure",
        "/figures/0/unit",
        "/settings/workload",
    ] {
        *run.pointer_mut(pointer).unwrap() = tag.into();
    }
    run["settings"][tag] = json!([tag, { tag: tag }]);
    run["findings"] = json!([tag]);
    run["figures"][0]["bound"] = tag.into();
    run["figures"][0]["verdict"] = tag.into();
    let both = chosen(vec![kept(tag, &run), kept("<b>.json", &run)]);
    let page = page(&both);
    let tags = tags(&page);
    assert!(!tags.contains(&"script") && !tags.contains(&"b"), "{page}");
    assert!(page.matches("&lt;script&gt;alert(1)").count() >= 10);
}

#[test]
fn what_a_result_does_not_hold_is_said_to_be_missing() {
    let bare = json!({
        "workload": "hl7", "verdict": "FAIL", "driver": "epoll", "settings": {}, "figures": [{ "figure": "acked", "unit": "", "result": null }],
        "spectrum_us": { "response": [] }, "over_time": [{ "at_ms": "x" }, 7, null],
    });
    let page = page(&chosen(vec![kept("a.json", &bare)]));
    let tags = tags(&page);
    assert!(!tags.contains(&"svg"));
    assert!(page.contains("This result holds no spectrum") && page.contains("This result holds nothing over time"));
    assert!(page.contains("<span class=\"verdict bad\">FAIL</span>"));
    assert!(page.contains("Durability: not said."));
}

#[test]
fn strange_numbers_make_no_strange_pictures() {
    let mut run = result(700.0, 2_000);
    run["spectrum_us"] = json!({ "response": [[0.0, 0], [-3, 5], [0.5, 1e300], [2.0, 7], [1.0, -4]], "service": "x" });
    run["over_time"] = json!([
        { "at_ms": 0, "acked": 1e300, "p50": -1, "p99": 0, "max": 1e300 },
        { "at_ms": 0, "acked": 5, "p50": 1, "p99": 1, "max": 1 },
    ]);
    run["settings"]["for_s"] = (-1.0).into();
    let page = page(&chosen(vec![kept("a.json", &run)]));
    assert_eq!(tags(&page).iter().filter(|tag| **tag == "svg").count(), 3);
    let drawn = page.split("<svg").skip(1).all(|svg| {
        let svg = svg.split("</svg>").next().unwrap_or_default();
        !svg.contains("NaN") && !svg.contains("\"inf")
    });
    assert!(drawn);
}

/// A run of `bench refill`, as far as the page looks at it.
fn with_events(mut run: Value) -> Value {
    run["events"] = json!([
        { "at_ms": 90, "event": "kill", "nodes": ["FL-A-1", "FL-B-1"], "fault": true },
        { "at_ms": 190, "event": "whole", "nodes": [], "fault": false },
        { "at_ms": "x", "event": "none", "nodes": [], "fault": true }, 7,
    ]);
    run
}

#[test]
fn events_stand_on_the_axis_of_time_and_in_a_table() {
    let page = page(&chosen(vec![kept("a.json", &with_events(result(700.0, 2_000)))]));
    tags(&page);
    // On both plots over time.
    assert_eq!(page.matches("class=\"mark chief\"").count(), 2);
    assert_eq!(page.matches("class=\"mark\"").count(), 2);
    assert!(
        page.contains("<td>0.090</td><td><span class=\"bad\">kill</span></td><td>FL-A-1 FL-B-1</td>"),
        "{page}"
    );
    assert!(
        page.contains("<td>0.190</td><td><span class=\"good\">whole</span></td><td></td>"),
        "{page}"
    );
    assert!(!page.contains("none</"), "what is no event is none");
}

#[test]
fn each_scenario_has_its_own_axis_of_time() {
    let part = |name: &str| {
        let mut part = with_events(
            json!({ "scenario": name, "figures": result(1.0, 100)["figures"], "over_time": result(1.0, 100)["over_time"] }),
        );
        part["spectrum_us"] = json!({ "unavailability": [[0.0, 100], [0.5, 200_000], [1.0, 300_000]] });
        part
    };
    let mut run = result(700.0, 2_000);
    run["workload"] = "failover".into();
    run.as_object_mut().unwrap().remove("over_time");
    run["scenarios"] = json!([part("kill"), part("<b>")]);
    let page = page(&chosen(vec![kept("a.json", &run)]));
    let tags = tags(&page);
    assert_eq!(tags.iter().filter(|tag| **tag == "svg").count(), 1 + 2 * 3);
    for part in [
        "<figcaption>Response over time: kill</figcaption>",
        "<figcaption>Throughput over time: &lt;b&gt;</figcaption>",
        "<figcaption>Unavailability: kill</figcaption>",
        "<h3>Events: kill</h3>",
        "<h3>Figures: kill</h3>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("holds nothing over time"));
    // Without a target: with each scenario, not above them.
    assert_eq!(page.matches("<td>bytes on links</td>").count(), 2);
}

#[test]
fn a_sweep_is_drawn_by_its_throughput_with_the_knee() {
    let step = |rate: f64, verdict: &str, why: Value| {
        json!({
            "rate_per_s": rate, "acked_per_s": rate, "verdict": verdict, "why": why,
            "ack_us": { "p50": 100, "p99": rate, "p999": 2.0 * rate },
        })
    };
    let mut run = result(2_000.0, 2_000);
    run.as_object_mut().unwrap().remove("over_time");
    run["settings"] = json!({ "from_per_s": 1_000, "to_per_s": 9_000 });
    let steps = [
        step(1_000.0, "OK", Value::Null),
        step(2_000.0, "OK", Value::Null),
        step(4_000.0, "OK", "p99 <".into()),
    ];
    run["steps"] = [&steps[..], &[step(9_000.0, "INVALID", "late".into())]].concat().into();
    (run["is_knee"], run["bounded_by"]) = (true.into(), "p99 <".into());
    let shown = page(&chosen(vec![kept("a.json", &run)]));
    assert_eq!(tags(&shown).iter().filter(|tag| **tag == "svg").count(), 2);
    assert!(
        shown.contains("<figcaption>Response by throughput</figcaption>") && shown.contains(">knee</text>"),
        "{shown}"
    );
    assert!(
        shown.contains("1000 to 9000/s") && shown.contains("Method: open loop"),
        "{shown}"
    );
    assert!(
        shown.contains("<span class=\"bad\">p99 &lt;</span>") && shown.contains("is marked: p99 &lt;."),
        "{shown}"
    );
    assert_eq!(shown.matches("<span class=\"good\">carried</span>").count(), 2);
    // The fastest one is in the table, and not in the picture: the axis ends before it.
    assert!(
        shown.contains("<td>9000</td>") && !shown.contains(">9k</text>") && shown.contains(">4k</text>"),
        "{shown}"
    );
    assert!(!shown.contains("holds nothing over time"));

    run["is_knee"] = false.into();
    assert!(page(&chosen(vec![kept("a.json", &run)])).contains(">carried</text>"));
    run["steps"] = json!([7, { "acked_per_s": "x" }, step(9_000.0, "INVALID", Value::Null)]);
    let none = page(&chosen(vec![kept("a.json", &run)]));
    tags(&none);
    assert!(none.contains("No rate of this sweep has figures"), "{none}");
}

#[test]
fn results_stand_over_each_other_as_far_as_they_can_be_told_apart_and_promise_the_same() {
    let all: Vec<Kept> = (1..=8)
        .map(|number| kept("a.json", &result(700.0, 1_000 * number)))
        .collect();
    let shown = page(&chosen(all[..6].to_vec()));
    tags(&shown);
    let plot = shown
        .split("by its number</figcaption>")
        .nth(1)
        .and_then(|rest| rest.split("</svg>").next())
        .unwrap();
    assert_eq!(plot.matches("d=\"M68.0 ").count(), 6 + 1, "each, and the axis: {plot}");
    assert!(plot.contains("y=\"18.5\">6</text>"), "{plot}");
    assert!(page(&chosen(all)).contains("Response of the first 6 of 8, by their numbers"));

    let mut other = result(700.0, 1_000);
    other["durability"] = "disk".into();
    let mixed = page(&chosen(vec![
        kept("a.json", &other),
        kept("b.json", &result(700.0, 1_000)),
    ]));
    assert!(mixed.contains("no plot has both"), "{mixed}");
}

#[test]
fn an_interval_that_the_plan_cuts_off_is_no_drop() {
    let mut run = result(700.0, 2_000);
    run["settings"]["for_s"] = 0.25.into();
    run["over_time"] = json!([
        { "at_ms": 0, "acked": 100, "p50": 1, "p99": 1, "max": 1 },
        { "at_ms": 100, "acked": 100, "p50": 1, "p99": 1, "max": 1 },
        { "at_ms": 200, "acked": 50, "p50": 1, "p99": 1, "max": 1 },
    ]);
    let svg = throughput(&run).unwrap();
    let line = svg
        .split("class=\"line s0\" d=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    let heights: std::collections::BTreeSet<&str> = line
        .split(['M', 'L'])
        .filter_map(|point| point.trim_end_matches("h0").split(' ').nth(1))
        .collect();
    assert_eq!(heights.len(), 1, "{line}");
}

#[test]
fn a_page_replaces_a_page_and_never_a_result() {
    let folder = tempfile::tempdir().unwrap();
    let kept = keep(folder.path(), &result(1.0, 100));
    let before = std::fs::read(&kept).unwrap();
    let refused = write(&kept, "page").unwrap_err();
    assert!(refused.to_string().contains("it is a result"), "{refused}");
    assert_eq!(std::fs::read(&kept).unwrap(), before);
    let path = folder.path().join("page.html");
    for text in ["one", "two"] {
        write(&path, text).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing else is left"
    );
    assert!(write(&folder.path().join("no/page.html"), "x").is_err());
    // A device would be replaced by a file.
    let device = folder.path().join("device");
    let _socket = std::os::unix::net::UnixListener::bind(&device).unwrap();
    let refused = write(&device, "page").unwrap_err();
    assert!(refused.to_string().contains("it is no file"), "{refused}");
    assert!(!std::fs::metadata(&device).unwrap().is_file());
}
