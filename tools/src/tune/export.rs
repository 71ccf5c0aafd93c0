//! The settings in forms that outlive a restart: as sysctl.d has them, as a shell script, as a unit of systemd, or as a playbook of Ansible that
//! installs that unit.
//!
//! **Invariant:** what a form cannot say stands in it as a comment, never nowhere.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Said, Setting, State, Wanted};
use crate::failure::Failure;

/// What a playbook calls the unit.
const UNIT: &str = "waterpark-tune.service";

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
    /// A unit for /etc/systemd/system that writes them at each start of the host
    Systemd,
    /// A playbook that installs and starts that unit on the hosts of the group `waterpark`
    Ansible,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Target::Sysctl => "sysctl",
            Target::Shell => "shell",
            Target::Systemd => "systemd",
            Target::Ansible => "ansible",
        }
    }
}

impl Export {
    pub(super) fn said(&self) -> Result<Said, Failure> {
        let text = text(self.form, &self.wanted.examine()?);
        let form = self.form.name();
        let object = json!({ "schema": "waterpark.tune_export.1", "complete": true, "form": form, "text": text });
        Ok(Said::done(object, text))
    }
}

/// The settings as a file: wanted values, and good ones as they are.
pub(super) fn text(form: Target, examined: &[(Setting, State)]) -> String {
    if form == Target::Ansible {
        return playbook(&text(Target::Systemd, examined));
    }
    let written = format!("# Written by `waterpark tune export --form {}`", form.name());
    let mut out = match form {
        Target::Shell => format!("#!/bin/sh\n{written}; to be run as root.\nset -eu\n"),
        Target::Systemd => format!(
            "{written}.\n\n[Unit]\nDescription=Settings of this host for Waterpark\nAfter=systemd-sysctl.service systemd-modules-load.service\n\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\n"
        ),
        Target::Sysctl | Target::Ansible => format!("{written}.\n"),
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
        let Setting { reason, path, .. } = setting;
        out += &match form {
            Target::Sysctl if setting.is_sysctl() => format!("\n# {reason}\n{name} = {value}\n"),
            Target::Sysctl => format!("\n# {name} is no sysctl: the other forms have it\n"),
            Target::Shell => {
                let quoted = value.replace('\'', "'\\''");
                format!("\n# {reason}\nprintf '%s\\n' '{quoted}' > {path}\n")
            }
            // What systemd or the shell would read as more than a word is no value of any kernel.
            Target::Systemd | Target::Ansible if !value.chars().all(is_plain) => {
                format!("\n# {name} has a value that a unit cannot say: --form shell has it\n")
            }
            Target::Systemd | Target::Ansible => {
                format!("\n# {reason}\nExecStart=/bin/sh -c 'echo {value} > {path}'\n")
            }
        };
    }
    if form == Target::Systemd {
        out += "\n[Install]\nWantedBy=multi-user.target\n";
    }
    out
}

/// A character that means itself to systemd and to the shell.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || " ._,:/+-".contains(letter)
}

/// Installs a unit, and starts it anew where it has changed.
fn playbook(unit: &str) -> String {
    let indented = |line: &str| {
        if line.is_empty() {
            "\n".to_owned()
        } else {
            format!("          {line}\n")
        }
    };
    let unit: String = unit.lines().map(indented).collect();
    format!(
        "# Written by `waterpark tune export --form ansible`, of one host: cores and interrupts of others may have other numbers.\n\
         - name: Settings of hosts for Waterpark\n  \
           hosts: waterpark\n  \
           become: true\n  \
           tasks:\n    \
             - name: The unit that writes them\n      \
               ansible.builtin.copy:\n        \
                 dest: /etc/systemd/system/{UNIT}\n        \
                 mode: \"0644\"\n        \
                 content: |\n{unit}      \
               notify: Write them anew\n    \
             - name: It runs now, and at each start\n      \
               ansible.builtin.systemd_service:\n        \
                 name: {UNIT}\n        \
                 enabled: true\n        \
                 state: started\n        \
                 daemon_reload: true\n  \
           handlers:\n    \
             - name: Write them anew\n      \
               ansible.builtin.systemd_service:\n        \
                 name: {UNIT}\n        \
                 state: restarted\n"
    )
}
