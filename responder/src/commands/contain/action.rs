//! An action and its arguments, as people type them.

use wire::containment::{Action, BadEndpoint, Endpoint, ProcessRef};

use super::{Contain, Failure, usage};

impl Contain {
    pub(super) fn action(&self) -> Result<Action, Failure> {
        let name = self.action.as_str();
        self.check_flags(name)?;
        Ok(match name {
            "isolate_network" => {
                self.nothing()?;
                Action::IsolateNetwork { allow: self.allow.clone(), resolvers: self.resolver.clone() }
            }
            "block_egress" => {
                let to: Result<Vec<Endpoint>, BadEndpoint> = self.args.iter().map(|one| one.parse()).collect();
                let to = to.map_err(|error| usage(error.to_string()))?;
                if to.is_empty() {
                    return Err(usage("block_egress names no destination".to_owned()));
                }
                Action::BlockEgress { to }
            }
            "block_metadata_service" => {
                self.nothing()?;
                Action::BlockMetadataService {}
            }
            "freeze_process" => Action::FreezeProcess { process: self.process()? },
            "kill_process" => Action::KillProcess { process: self.process()? },
            "lock_account" => Action::LockAccount { account: self.one("an account")? },
            "end_sessions" => Action::EndSessions { account: self.one("an account")? },
            "revoke_ssh_keys" => match self.args.as_slice() {
                [] => return Err(usage("revoke_ssh_keys names no account".to_owned())),
                [account, keys @ ..] => Action::RevokeSshKeys { account: account.clone(), keys: keys.to_vec() },
            },
            "stop_unit" => Action::StopUnit { unit: self.one("a unit")? },
            "quarantine_file" => Action::QuarantineFile { path: self.one("a file")?, sha256: self.sha256 },
            other => return Err(usage(format!("there is no action {other}"))),
        })
    }

    fn check_flags(&self, name: &str) -> Result<(), Failure> {
        let is_odd = |flag: &str, wanted: &str| usage(format!("{flag} is for {wanted}, not for {name}"));
        if name != "isolate_network" && !self.allow.is_empty() {
            return Err(is_odd("--allow", "isolate_network"));
        }
        if name != "isolate_network" && !self.resolver.is_empty() {
            return Err(is_odd("--resolver", "isolate_network"));
        }
        if name != "quarantine_file" && self.sha256.is_some() {
            return Err(is_odd("--sha256", "quarantine_file"));
        }
        Ok(())
    }

    fn nothing(&self) -> Result<(), Failure> {
        self.args.first().map_or(Ok(()), |odd| Err(usage(format!("{} takes no argument {odd:?}", self.action))))
    }

    fn one(&self, what: &str) -> Result<String, Failure> {
        match self.args.as_slice() {
            [one] => Ok(one.clone()),
            _ => Err(usage(format!("{} takes {what}, and nothing else", self.action))),
        }
    }

    fn process(&self) -> Result<ProcessRef, Failure> {
        let text = self.one("PID:START_TICKS")?;
        let parsed = text
            .split_once(':')
            .and_then(|(pid, start)| Some(ProcessRef { pid: pid.parse().ok()?, start_ticks: start.parse().ok()? }));
        parsed.ok_or_else(|| {
            usage(format!("{text:?} is no PID:START_TICKS"))
                .hint("a PID alone may be another process by then: start_ticks stands in the rows of processes")
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        contain: Contain,
    }

    fn action(words: &[&str]) -> Result<String, String> {
        let words = ["x", "INC-1", "--host", "web-1"].iter().chain(words);
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let action = line.contain.action().map_err(|failure| failure.error.to_string())?;
        Ok(serde_json::to_string(&action).unwrap())
    }

    #[test]
    fn each_action_takes_its_own_arguments() {
        let isolate = action(&["isolate_network", "--allow", "10.0.0.5:443", "--resolver", "10.0.0.2"]).unwrap();
        assert_eq!(isolate, r#"{"action":"isolate_network","allow":["10.0.0.5:443"],"resolvers":["10.0.0.2"]}"#);
        let kill = action(&["kill_process", "4711:99"]).unwrap();
        assert_eq!(kill, r#"{"action":"kill_process","process":{"pid":4711,"start_ticks":99}}"#);
        assert!(action(&["block_egress", "10.0.0.0/8", "fd00::1"]).is_ok());
        assert!(action(&["revoke_ssh_keys", "eve", "SHA256:x"]).is_ok() && action(&["stop_unit", "x.service"]).is_ok());
        for wrong in [
            &["kill_process", "4711"][..],
            &["kill_process"],
            &["isolate_network", "web-1"],
            &["lock_account", "eve", "--allow", "10.0.0.5"],
            &["lock_account", "eve", "mallory"],
            &["block_egress"],
            &["block_egress", "example.org"],
            &["reboot"],
            &["isolate_network", "--lease", "5h"],
        ] {
            assert!(action(wrong).is_err(), "{wrong:?}");
        }
    }
}
