//! What one can type in another shell while the demo runs: send to one of its nodes, and read back.
//!
//! Text alone. **Invariant:** each line can be pasted as it is.

use super::nodes::Nodes;
use crate::demo_screen::view::CommandLine;

/// Lines for another shell, with this command under the name by which it was called.
pub(super) fn of(nodes: &Nodes) -> Vec<CommandLine> {
    let binary = std::env::args().next().unwrap_or_else(|| "waterpark".to_owned());
    let config = nodes.config_path().display().to_string();
    let port = nodes.running.first().map_or(0, |running| running.mllp.port());
    command_lines(&binary, &config, port)
}

/// As [`of`], with names that a page can show.
pub(super) fn of_a_page() -> Vec<CommandLine> {
    command_lines("waterpark", "cluster.toml", 7_128)
}

fn command_lines(binary: &str, config: &str, port: u16) -> Vec<CommandLine> {
    let line = |purpose: &str, command: String| CommandLine {
        purpose: purpose.to_owned(),
        command,
    };
    let of_patient = |verb: &str| format!("{binary} actor {verb} patient/4711,facility=FL001 --config {config}");
    let admit = "MSH|^~\\\\&|A|FL001|||||ADT^A01|1|P|2.5\\rPID|||4711\\rPV1||I|WARD^1\\r";
    vec![
        line(
            "admit a patient",
            format!("printf '{admit}' | {binary} send --mllp 127.0.0.1:{port} -"),
        ),
        line("read it back", of_patient("history")),
        line("see where the patient is", of_patient("get")),
        line("see which members hold it", of_patient("where")),
    ]
}
