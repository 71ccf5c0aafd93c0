//! `waterpark init`: the files of a new cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use waterpark::config::{self, Bytes, ENTROPY_BYTES, HostCode, InitOptions, Nodes};

use crate::errors;

/// What the new cluster shall be.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder for cluster.toml, cluster.key and the voters' files; made if it does not exist
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// The nodes, `DC-ZONE-N` each
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "FL-A-1,FL-B-1,TN-A-1,TX-A-1,UT-A-1"
    )]
    nodes: Vec<String>,
    /// Host of all nodes; for several machines, write the others' hosts into the file
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// First port of the first node; each next node is 256 above
    #[arg(long, value_name = "PORT", default_value_t = 7000)]
    base_port: u16,
    /// Placement groups, a power of two; by default 32 per shard of these nodes
    #[arg(long)]
    groups: Option<u32>,
    /// Home classes, a power of two
    #[arg(long, default_value_t = 4)]
    classes: u32,
    /// Shards per node
    #[arg(long, default_value_t = 1)]
    workers: u16,
    /// Memory budget per node
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    memory: Bytes,
    /// Make no key; then only loopback is accepted
    #[arg(long)]
    without_key: bool,
    /// Name no voters: the cluster has no topology log, its topology stays what the file says
    #[arg(long = "static")]
    fixed: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// 0: written. 1: not. 3: the options make no configuration.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let options = InitOptions {
        folder: arguments.folder.clone(),
        nodes: Nodes::Named(arguments.nodes.clone()),
        host: arguments.host.clone(),
        base_port: arguments.base_port,
        groups: arguments.groups,
        classes: arguments.classes,
        workers: arguments.workers,
        memory: arguments.memory,
        with_key: !arguments.without_key,
        with_voters: !arguments.fixed,
    };
    let entropy = match entropy() {
        Ok(entropy) => entropy,
        Err(error) => {
            errors::say(
                HostCode::Kernel.entry(),
                &format!("the kernel gives no random bytes: {error}"),
            );
            return ExitCode::FAILURE;
        }
    };
    let written = match config::init(&options, &entropy) {
        Ok(written) => written,
        Err(error) => {
            // It brings its own heading.
            eprintln!("{error}");
            let meant = matches!(error, config::InitError::BadOptions { .. });
            return ExitCode::from(if meant { 3 } else { 1 });
        }
    };
    for warning in &written.warnings {
        eprintln!("{warning}");
    }
    let path = written.config_path.display().to_string();
    let key = written.key_path.as_ref().map(|path| path.display().to_string());
    let names: Vec<&str> = written.config.nodes.iter().map(|node| node.name.as_str()).collect();
    let voter_files: Vec<String> = written
        .voter_paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    if arguments.json {
        let object = json!({
            "schema": "waterpark.init.1", "complete": true,
            "config": path, "key": key, "nodes": names, "groups": written.config.groups, "voter_files": voter_files,
        });
        println!("{object}");
    } else {
        println!("{path}: {} nodes, {} groups", names.len(), written.config.groups);
        if let Some(key) = key {
            println!("{key}: the cluster's key; copy it to every machine, show it to nobody");
        }
        if let Some(folder) = written.voter_paths.first().and_then(|path| path.parent()) {
            let (folder, count) = (folder.display(), voter_files.len());
            println!(
                "{folder}: the votes of {count} nodes; move each file to the machine of its node, and keep no copy"
            );
        }
        println!("start each with: waterpark node --name {} --config {path}", names[0]);
    }
    ExitCode::SUCCESS
}

/// The bytes that a new cluster's id and key are made of.
pub(crate) fn entropy() -> std::io::Result<[u8; ENTROPY_BYTES]> {
    let mut bytes = [0; ENTROPY_BYTES];
    // Fewer than 256 bytes come whole.
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if got < bytes.len() {
        return Err(std::io::ErrorKind::Interrupted.into());
    }
    Ok(bytes)
}
