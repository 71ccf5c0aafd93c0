//! What a measurement ran on, and the command that repeats it.
//!
//! Facts are the host's own words, from its files; nothing is judged. **Invariant:** what the host did not say is `null`.

use serde_json::{Value, json};

use crate::host::{Facts, HugePages, Root};

/// What ran the measurement; `steal_ms` is what a hypervisor gave to others meanwhile.
pub(super) fn environment(root: &Root, steal_ms: Option<u64>) -> Value {
    let facts = Facts::read(root);
    let mut governors: Vec<&str> = facts.governors.iter().map(|governor| governor.name.as_str()).collect();
    governors.sort_unstable();
    governors.dedup();
    let huge_pages = facts.huge_pages.map(|pages| match pages {
        HugePages::Always => "always",
        HugePages::Advised => "madvise",
        HugePages::Never => "never",
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "assertions": cfg!(debug_assertions),
        "cpu": facts.cpu,
        "kernel": facts.release,
        "cores": facts.cores.as_ref().map(ToString::to_string),
        "core_count": facts.cores.as_ref().map(|cores| cores.as_slice().len()),
        "quota_millicores": facts.quota_millicores,
        "memory_bytes": facts.memory_bytes,
        "clock_source": facts.clock.as_ref().map(|clock| &clock.current),
        "governors": governors,
        "huge_pages": huge_pages,
        "congestion_control": facts.congestion.as_ref().map(|congestion| &congestion.default),
        "send_bytes_max": facts.send_bytes_max,
        "receive_bytes_max": facts.receive_bytes_max,
        "steal_ms": steal_ms,
    })
}

/// These arguments as a line for a shell, the program under its usual name.
pub(super) fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let words = arguments.skip(1).map(|word| shell_word(&word));
    std::iter::once("waterpark".to_owned())
        .chain(words)
        .collect::<Vec<String>>()
        .join(" ")
}

/// A word as a shell takes it whole.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,%+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::Host;

    #[test]
    fn the_environment_is_what_the_host_says_and_null_where_it_says_nothing() {
        let host = Host::good().with(
            "/proc/cpuinfo",
            "processor\t: 0\nmodel name\t: A CPU @ 3 GHz\n\nprocessor\t: 1\nmodel name\t: A CPU @ 3 GHz\n",
        );
        let found = environment(&host.root(), Some(7));
        assert_eq!(found["cpu"], "A CPU @ 3 GHz");
        assert_eq!((&found["cores"], &found["core_count"]), (&json!("0-3"), &json!(4)));
        assert_eq!(found["kernel"], "6.12.3");
        assert_eq!(found["congestion_control"], "cubic");
        assert_eq!(found["governors"], json!(["performance"]));
        assert_eq!(found["steal_ms"], 7);

        let folder = tempfile::tempdir().unwrap();
        let found = environment(&Root::new(folder.path()), None);
        for name in [
            "cpu",
            "kernel",
            "cores",
            "clock_source",
            "congestion_control",
            "steal_ms",
        ] {
            assert_eq!(found[name], Value::Null, "{name}");
        }
    }

    #[test]
    fn a_command_line_is_taken_by_a_shell_as_it_was() {
        let table: [(&[&str], &str); 3] = [
            (
                &["/x/waterpark", "bench", "run", "--closed=64"],
                "waterpark bench run --closed=64",
            ),
            (&["w", "--save", "my runs", ""], "waterpark --save 'my runs' ''"),
            (&["w", "it's;$(x)"], "waterpark 'it'\\''s;$(x)'"),
        ];
        for (words, line) in table {
            assert_eq!(command_line(words.iter().map(|word| (*word).to_owned())), line);
        }
    }
}
