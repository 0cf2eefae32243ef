//! What makes several servers one: to agents and in what they sign they are the same, so each must come with the same keys.
//! The records remember them from the first start on.

use serde_json::json;
use wire::Sha256;

use super::{Actor, App, Problem, ProblemKind, details};
use crate::spool_key::SpoolKey;
use crate::store::{Change, NewLeaf, StoreError};

/// The digest of the issuing CA's certificate.
pub const CA: &str = "ca_sha256";
/// The public key that receipts and custody heads verify with.
pub const SIGNER: &str = "server_signer";
/// The public key of what automation orders.
pub const AUTOMATION: &str = "automation_signer";
/// To whom agents encrypt what waits on their hosts.
pub const SPOOL: &str = "spool_recipient";

impl App {
    /// Holds what this server comes with against what the records remember; at the first start they learn it. `cas` are
    /// the digests of the CAs that are in force here, the issuing one first: the records follow when it is replaced.
    ///
    /// # Errors
    /// [`ProblemKind::Conflict`] for another key.
    pub async fn check_identity(&self, cas: &[Sha256]) -> Result<(), Problem> {
        let cas: Vec<String> = cas.iter().map(Sha256::to_string).collect();
        self.check_name(CA, "the files ca*.pem and ca*.key", &cas).await?;
        self.check_name(SIGNER, "the file server_key", &[self.signer.public_line()]).await?;
        let automation: Vec<String> = self.automation.iter().map(bundle::sign::SigningKey::public_line).collect();
        self.check_name(AUTOMATION, "the file automation_key", &automation).await?;
        let spool = self.spool.as_ref().map(SpoolKey::recipients).unwrap_or_default();
        self.check_name(SPOOL, "the file spool_key", &spool).await
    }

    /// The records know one of these values under this name; from now on the first.
    async fn check_name(&self, name: &'static str, files: &str, ours: &[String]) -> Result<(), Problem> {
        let Some(first) = ours.first() else { return Ok(()) };
        let mut known = self.store.identity(name).await?;
        if known.as_ref().is_none_or(|known| known != first && ours.contains(known)) {
            known = self.learn(name, known, first).await?;
        }
        match known {
            Some(known) if known != *first => {
                let message = format!("{files} of this server are not those of the servers that share its records");
                let hint =
                    format!("copy {files} from the data directory of one of them: the records know {name} {known}");
                Err(Problem::new(ProblemKind::Conflict, message).hint(hint))
            }
            _ => Ok(()),
        }
    }

    /// Writes it down, unless another server was faster. What the records know then.
    async fn learn(&self, name: &'static str, from: Option<String>, to: &str) -> Result<Option<String>, Problem> {
        let leaf = NewLeaf {
            actor: Actor::Server.to_string(),
            details: details([("from", json!(from)), ("name", json!(name)), ("to", json!(to))]),
            event: "identity_learned",
            incident: None,
            subject: "server".to_owned(),
            time: self.now(),
        };
        match self.store.commit(vec![Change::SetIdentity { from, name, to: to.to_owned() }], vec![leaf]).await {
            Ok(_) => Ok(Some(to.to_owned())),
            Err(StoreError::Conflict(_)) => Ok(self.store.identity(name).await?),
            Err(error) => Err(error.into()),
        }
    }
}
