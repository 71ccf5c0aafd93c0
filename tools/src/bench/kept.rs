//! A result of `bench run` in a file of its own, with what it ran on.
//!
//! One line of JSON, under a name that sorts by time. Nothing here knows what a figure means. **Invariant:** a file that has a result's name
//! is whole, and no file is ever overwritten: what is written gets its name last, and only one that is free.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::environment::{command_line, environment};
use super::error::{Flaw, ResultsError};
use crate::host::{self, Root};
use crate::show;

/// The schema of a kept result.
pub(super) const SCHEMA: &str = "waterpark.bench_kept.1";
/// Longer than any result: the longest runs have 600 rows of time.
const BYTES_MAX: u64 = 16 << 20;
/// How the name of a log ends that lies beside its result.
const LOG: &str = "hlog";
/// Names that a moment has at most.
const SAME_MOMENT_MAX: u32 = 1_000;

/// Where a result will lie. Made before the measurement, so that none is in vain.
pub(super) struct Place {
    folder: PathBuf,
    file: NamedTempFile,
    at_ms: u64,
    steal_ms: Option<u64>,
}

impl Place {
    /// In a folder, which is made if it is not there.
    pub(super) fn prepare(folder: &Path) -> Result<Place, ResultsError> {
        fs::create_dir_all(folder).map_err(ResultsError::write(folder))?;
        let file = new_file(folder);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Place {
            folder: folder.to_owned(),
            file: file.map_err(ResultsError::write(folder))?,
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            steal_ms: host::steal_ms(),
        })
    }

    /// A log without a name yet.
    fn log(&self, text: &[u8]) -> io::Result<NamedTempFile> {
        let mut file = new_file(&self.folder)?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    /// Writes the result down, with what it ran on and the command that repeats it, and beside it the log of its times, if there is one;
    /// where, is the answer.
    pub(super) fn keep(mut self, result: &Value, log: Option<io::Result<Vec<u8>>>) -> Result<PathBuf, ResultsError> {
        let log = log.map(|log| self.log(&log?)).transpose();
        let log = log.map_err(ResultsError::write(&self.folder))?;
        let steal_ms = (host::steal_ms().zip(self.steal_ms)).map(|(after, before)| after.saturating_sub(before));
        let arguments = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let object = json!({
            "schema": SCHEMA, "complete": true, "at": show::instant(self.at_ms), "command": command_line(arguments),
            "environment": environment(&Root::new("/".as_ref()), steal_ms), "result": result,
        });
        let file = self.file.as_file_mut();
        let written = file
            .write_all(object.to_string().as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all());
        written.map_err(ResultsError::write(&self.folder))?;
        let workload = result["workload"].as_str().unwrap_or("run");
        let (mut file, mut names) = (self.file, file_names(self.at_ms, workload));
        loop {
            let path = self.folder.join(names.next().unwrap_or_default());
            match file.persist_noclobber(&path) {
                Ok(_) => {
                    let beside = path.with_extension(LOG);
                    let kept = log.map(|log| log.persist_noclobber(&beside)).transpose();
                    kept.map_err(|error| ResultsError::write(&beside)(error.error))?;
                    return Ok(path);
                }
                Err(error) if error.error.kind() == ErrorKind::AlreadyExists => file = error.file,
                Err(error) => return Err(ResultsError::write(&path)(error.error)),
            }
        }
    }
}

/// A file that has no name that anybody looks for.
fn new_file(folder: &Path) -> io::Result<NamedTempFile> {
    // Who else may read it is the umask's to say.
    tempfile::Builder::new()
        .prefix(".result-")
        .permissions(PermissionsExt::from_mode(0o666))
        .tempfile_in(folder)
}

/// Names of a result, the first that is free to be taken: by time, then by how many had that moment before. Colons are no part of a name
/// everywhere.
fn file_names(at_ms: u64, workload: &str) -> impl Iterator<Item = String> {
    let moment = show::instant(at_ms).replace(':', "-");
    let workload = workload.to_owned();
    (1..=SAME_MOMENT_MAX).map(move |number| match number {
        1 => format!("{moment}-{workload}.json"),
        _ => format!("{moment}-{workload}.{number}.json"),
    })
}

/// A result that was kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Its file, as it was named or found.
    pub(super) path: PathBuf,
    object: Value,
}

impl Kept {
    /// Reads one. Whatever the file holds, the answer is a result that has all that others ask of it, or why it is none.
    pub(super) fn read(path: &Path) -> Result<Kept, Flaw> {
        // A pipe would be waited for.
        let is_file = fs::metadata(path).map_err(Flaw::Read)?.is_file();
        let mut text = Vec::new();
        if !is_file {
            return Err(Flaw::NoFile);
        }
        let file = File::open(path).map_err(Flaw::Read)?;
        let bytes = file.metadata().map_err(Flaw::Read)?.len();
        if bytes > BYTES_MAX {
            return Err(Flaw::TooLong { bytes });
        }
        file.take(BYTES_MAX).read_to_end(&mut text).map_err(Flaw::Read)?;
        let object: Value = serde_json::from_slice(&text).map_err(Flaw::NotJson)?;
        Kept::checked(path, object)
    }

    fn checked(path: &Path, object: Value) -> Result<Kept, Flaw> {
        if object["schema"] != SCHEMA {
            let found = object["schema"].as_str().map(str::to_owned);
            return Err(Flaw::Schema { found });
        }
        let result = &object["result"];
        let is_figure = |figure: &Value| {
            let result = &figure["result"];
            figure["figure"].is_string() && figure["unit"].is_string() && (result.is_number() || result.is_null())
        };
        let needs = [
            ("at", object["at"].is_string()),
            ("command", object["command"].is_string()),
            ("environment", object["environment"].is_object()),
            ("result", result.is_object()),
            ("workload", result["workload"].is_string()),
            ("verdict", result["verdict"].is_string()),
            ("driver", result["driver"].is_string()),
            ("settings", result["settings"].is_object()),
            (
                "figures",
                (result["figures"].as_array()).is_some_and(|figures| figures.iter().all(is_figure)),
            ),
        ];
        if let Some((missing, _)) = needs.iter().find(|(_, is_there)| !is_there) {
            return Err(Flaw::Field(missing));
        }
        let path = path.to_owned();
        Ok(Kept { path, object })
    }

    /// What the run itself said.
    pub(super) fn result(&self) -> &Value {
        &self.object["result"]
    }

    pub(super) fn environment(&self) -> &Value {
        &self.object["environment"]
    }

    /// When it began, in RFC 3339.
    pub(super) fn at(&self) -> &str {
        self.object["at"].as_str().unwrap_or_default()
    }

    /// The command that repeats it.
    pub(super) fn command(&self) -> &str {
        self.object["command"].as_str().unwrap_or_default()
    }

    pub(super) fn workload(&self) -> &str {
        self.result()["workload"].as_str().unwrap_or_default()
    }

    pub(super) fn verdict(&self) -> &str {
        self.result()["verdict"].as_str().unwrap_or_default()
    }

    /// Its file's name, without the folder.
    pub(super) fn name(&self) -> String {
        name_of(&self.path)
    }
}

/// A file's name on a terminal.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    show::text_or_escaped(&name.to_string_lossy())
}

/// What lies in a folder: results by time, and what is none.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) results: Vec<Kept>,
    /// Those that are none, by name.
    pub(super) others: Vec<(PathBuf, Flaw)>,
}

impl Folder {
    /// Reads all files of a folder, hidden ones left out: those are still being written.
    pub(super) fn read(folder: &Path) -> Result<Folder, ResultsError> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(ResultsError::read(folder))? {
            let entry = entry.map_err(ResultsError::read(folder))?;
            let path = entry.path();
            // A log belongs to the result of its name.
            let is_log = path.extension().is_some_and(|extension| extension == LOG);
            if !is_log && !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut found = Folder::default();
        for path in paths {
            match Kept::read(&path) {
                Ok(kept) => found.results.push(kept),
                Err(flaw) => found.others.push((path, flaw)),
            }
        }
        // Whoever renames a file does not change when it was measured.
        found.results.sort_by(|a, b| a.at().cmp(b.at()));
        Ok(found)
    }
}

/// Results that a command line names, by their files or folders, and what lies among them and cannot be used.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) results: Vec<Kept>,
    /// Files of the folders that are none or are damaged, each with what is wrong.
    pub(super) damaged: Vec<String>,
}

impl Chosen {
    /// Reads them: each once, by whatever names; a folder has at least one result, and a file is one.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Chosen, ResultsError> {
        let mut chosen = Chosen::default();
        let mut seen = Vec::new();
        for path in paths {
            let results = if path.is_dir() {
                let found = Folder::read(path)?;
                if found.results.is_empty() {
                    let path = path.clone();
                    let flaw = Flaw::Empty;
                    return Err(ResultsError::NotResult { path, flaw });
                }
                let damaged = found.others.iter().filter(|(_, flaw)| flaw.is_damage());
                chosen
                    .damaged
                    .extend(damaged.map(|(path, flaw)| format!("{}: {flaw}", name_of(path))));
                found.results
            } else {
                let kept = Kept::read(path).map_err(|flaw| match flaw {
                    Flaw::Read(cause) => ResultsError::read(path)(cause),
                    flaw => ResultsError::NotResult {
                        path: path.clone(),
                        flaw,
                    },
                })?;
                vec![kept]
            };
            for kept in results {
                let real = fs::canonicalize(&kept.path).unwrap_or_else(|_| kept.path.clone());
                if !seen.contains(&real) {
                    seen.push(real);
                    chosen.results.push(kept);
                }
            }
        }
        Ok(chosen)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A result with these figures, as a run of a second would give it.
    pub(in crate::bench) fn result(acked_per_s: f64, p99_us: u64) -> Value {
        let times =
            json!({ "p50": p99_us / 2, "p90": p99_us - 1, "p99": p99_us, "p999": p99_us * 2, "max": p99_us * 3 });
        json!({
            "schema": "waterpark.bench_run.2", "complete": true, "verdict": "OK", "workload": "w128", "driver": "epoll",
            "settings": { "workload": "w128", "for_s": 1.0, "rate_per_s": 1_000.0, "driver": "auto" },
            "pace": { "open_per_s": 1_000.0 }, "seconds": 1.0, "durability": "ram, three of five members in two data centres at least",
            "figures": [
                { "figure": "acked", "result": acked_per_s, "unit": "messages/s", "target": 600.0, "bound": "at_least", "verdict": "met" },
                { "figure": "cpu of all replicas", "result": 2_500.0, "unit": "ns/message", "target": 2_000.0, "bound": "at_most", "verdict": "missed" },
                { "figure": "bytes on links", "result": 5.25, "unit": "per payload byte", "target": null, "bound": null, "verdict": null },
            ],
            "acked_per_s": acked_per_s, "ack_us": times, "service_us": times,
            "spectrum_us": {
                "response": [[0.0, 100], [0.5, p99_us / 2], [0.99, p99_us], [0.999, p99_us * 2], [1.0, p99_us * 3]],
                "service": [[0.0, 90], [0.5, p99_us / 3], [0.99, p99_us], [1.0, p99_us * 2]],
            },
            "over_time": [
                { "at_ms": 0, "acked": 100, "p50": 100, "p99": 200, "max": 300 },
                { "at_ms": 100, "acked": 0, "p50": 0, "p99": 0, "max": 0 },
                { "at_ms": 200, "acked": 90, "p50": 110, "p99": 2_000, "max": 30_000 },
            ],
            "sent": 1_000, "acked": 1_000, "refused": 0, "unknown": 0, "lost": 0, "duplicated": 0, "looked_for": 1_000, "findings": [],
        })
    }

    /// A file with such a result.
    pub(in crate::bench) fn write(folder: &Path, result: &Value) -> PathBuf {
        Place::prepare(folder).unwrap().keep(result, None).unwrap()
    }

    /// The same as it lies in a file.
    pub(in crate::bench) fn kept(name: &str, result: &Value) -> Kept {
        let object = json!({
            "schema": SCHEMA, "complete": true, "at": "2024-02-29T12:34:56.007Z", "command": "waterpark bench run --for 1s",
            "environment": { "cpu": "A CPU", "kernel": "6.12.3", "cores": "0-1", "version": "0.1.0" }, "result": result,
        });
        Kept::checked(Path::new(name), object).unwrap()
    }

    #[test]
    fn a_result_is_read_as_it_was_kept_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("runs");
        let mut paths = Vec::new();
        for round in 0..3_u32 {
            let mut place = Place::prepare(&below).unwrap();
            place.at_ms = 1_709_210_096_007;
            paths.push(place.keep(&result(f64::from(round), 100), None).unwrap());
        }
        let names: Vec<String> = paths.iter().map(|path| name_of(path)).collect();
        assert_eq!(
            names,
            [
                "2024-02-29T12-34-56.007Z-w128.json",
                "2024-02-29T12-34-56.007Z-w128.2.json",
                "2024-02-29T12-34-56.007Z-w128.3.json"
            ]
        );
        for (round, path) in (0..).zip(&paths) {
            let kept = Kept::read(path).unwrap();
            assert_eq!(kept.result(), &result(f64::from(round), 100));
            assert_eq!(kept.at(), "2024-02-29T12:34:56.007Z");
            assert!(kept.environment()["kernel"].is_string(), "{:?}", kept.environment());
            assert!(kept.command().starts_with("waterpark"), "{}", kept.command());
        }
        assert_eq!(
            Folder::read(&below).unwrap().others.len(),
            0,
            "nothing else is left there"
        );
    }

    #[test]
    fn a_log_lies_beside_its_result_and_is_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let keep = |log: &[u8]| {
            Place::prepare(folder.path())
                .unwrap()
                .keep(&result(1.0, 100), Some(Ok(log.to_vec())))
        };
        let path = keep(b"a log").unwrap();
        assert_eq!(fs::read(path.with_extension("hlog")).unwrap(), b"a log");
        keep(b"another").unwrap();
        let found = Folder::read(folder.path()).unwrap();
        assert_eq!((found.results.len(), found.others.len()), (2, 0));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
        let failed = Place::prepare(folder.path()).unwrap();
        let failed = failed.keep(&result(1.0, 100), Some(Err(ErrorKind::OutOfMemory.into())));
        assert!(matches!(failed, Err(ResultsError::Write { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "neither or both");
    }

    #[test]
    fn a_place_that_is_not_used_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(Place::prepare(folder.path()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = folder.path().join("a file");
        fs::write(&file, "").unwrap();
        let refused = Place::prepare(&file).map(|_| ()).unwrap_err();
        assert!(matches!(refused, ResultsError::Write { .. }), "{refused}");
    }

    #[test]
    fn damaged_and_foreign_files_are_named_and_hide_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = Place::prepare(folder.path())
            .unwrap()
            .keep(&result(1.0, 100), None)
            .unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let object: Value = serde_json::from_str(&whole).unwrap();
        let without = |pointer: &str, value: Value| {
            let mut changed = object.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            changed.to_string()
        };
        let deep = "[".repeat(100_000);
        let files = [
            ("b-cut.json", &whole[..whole.len() / 2], true),
            ("c-empty.json", "", true),
            ("d-number.json", "7", false),
            ("e-other.json", r#"{"schema":"waterpark.latency.1"}"#, false),
            (
                "f-figures.json",
                &without("/result/figures/0/result", json!("fast")),
                true,
            ),
            ("g-verdict.json", &without("/result/verdict", Value::Null), true),
            ("h-list.json", &without("/result/settings", json!([])), true),
            ("i-deep.json", &deep, true),
            ("j-notes.md", "# Notes", true),
        ];
        for (name, text, _) in &files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::write(folder.path().join("k-bytes.json"), b"{\xff\x00").unwrap();
        fs::create_dir(folder.path().join("l-folder")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("m-link.json")).unwrap();
        File::create(folder.path().join("n-long.json"))
            .unwrap()
            .set_len(BYTES_MAX + 1)
            .unwrap();

        let found = Folder::read(folder.path()).unwrap();
        assert_eq!(found.results.len(), 1);
        let others: Vec<(String, bool)> = (found.others.iter())
            .map(|(path, flaw)| (name_of(path), flaw.is_damage()))
            .collect();
        let mut wanted: Vec<(String, bool)> = files
            .iter()
            .map(|(name, _, damage)| ((*name).to_owned(), *damage))
            .collect();
        let rest = [
            ("k-bytes.json", true),
            ("l-folder", false),
            ("m-link.json", true),
            ("n-long.json", false),
        ];
        wanted.extend(rest.map(|(name, damage)| (name.to_owned(), damage)));
        assert_eq!(others, wanted);
        for (path, flaw) in &found.others {
            assert!(!flaw.to_string().contains('\n'), "{}: {flaw}", path.display());
        }
    }

    #[test]
    fn results_are_listed_by_when_they_were_measured_whatever_they_are_called() {
        let folder = tempfile::tempdir().unwrap();
        for (name, at_ms) in [("z.json", 1_000), ("y.json", 3_000), ("x.json", 2_000)] {
            let mut place = Place::prepare(folder.path()).unwrap();
            place.at_ms = at_ms;
            fs::rename(place.keep(&result(1.0, 100), None).unwrap(), folder.path().join(name)).unwrap();
        }
        let found = Folder::read(folder.path()).unwrap();
        let names: Vec<String> = found.results.iter().map(Kept::name).collect();
        assert_eq!(names, ["z.json", "x.json", "y.json"]);
    }
}
