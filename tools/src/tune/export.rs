//! The settings in forms that outlive a restart: as sysctl.d has them, or as a shell script.
//!
//! **Invariant:** what a form cannot say stands in it as a comment, never nowhere.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Said, Setting, State, Wanted};
use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(super) wanted: Wanted,
    /// What reads it
    #[arg(long, value_enum, default_value_t = Target::Shell)]
    form: Target,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Target {
    /// A file for /etc/sysctl.d: sysctls alone
    Sysctl,
    /// A script for sh, to be run as root at each start of the host
    Shell,
}

impl Export {
    pub(super) fn said(&self) -> Result<Said, Failure> {
        let text = text(self.form, &self.wanted.examine()?);
        let form = match self.form {
            Target::Sysctl => "sysctl",
            Target::Shell => "shell",
        };
        let object = json!({ "schema": "waterpark.tune_export.1", "complete": true, "form": form, "text": text });
        Ok(Said::done(object, text))
    }
}

/// The settings as a file: wanted values, and good ones as they are.
pub(super) fn text(form: Target, examined: &[(Setting, State)]) -> String {
    let mut out = match form {
        Target::Sysctl => "# Written by `waterpark tune export --form sysctl`.\n".to_owned(),
        Target::Shell => {
            "#!/bin/sh\n# Written by `waterpark tune export --form shell`; to be run as root.\nset -eu\n".to_owned()
        }
    };
    for (setting, state) in examined {
        let name = &setting.name;
        let value = match state {
            State::Good(value) => value,
            State::Differs(change) => &change.new,
            State::NotSettable { why, .. } => {
                out += &format!("\n# {name} cannot be set on this host: {}\n", why.replace('\n', " "));
                continue;
            }
        };
        out += &match form {
            Target::Sysctl if setting.is_sysctl() => format!("\n# {}\n{name} = {value}\n", setting.reason),
            Target::Sysctl => format!("\n# {name} is no sysctl: --form shell has it\n"),
            Target::Shell => {
                let quoted = value.replace('\'', "'\\''");
                format!("\n# {}\nprintf '%s\\n' '{quoted}' > {}\n", setting.reason, setting.path)
            }
        };
    }
    out
}
