//! How a host becomes one of ours: with a ticket, a proof that it holds its signing key, and a certificate from our CA.

use serde_json::json;
use ssh_key::PublicKey;
use wire::agent_api::{EnrollReply, EnrollRequest, HostFacts, RenewReply, RenewRequest};
use wire::signed::namespace;
use wire::ticket::TicketKind;
use wire::{AgentId, Instant, Sha256};

use super::{Actor, App, Problem, ProblemKind, details};
use crate::authority::{AuthorityError, ClientCertified};
use crate::spool_key::SpoolKey;
use crate::store::{Change, HostRecord, NewLeaf, StoreError};

/// Texts in a host's facts, in bytes.
const FACT_BYTES_MAX: usize = 256;
/// Profiles that an agent may have.
const PROFILES_MAX: usize = 100;
/// CAs by which an agent may know its server.
const CAS_MAX: usize = 8;
/// Certificates of one host that are good at a time: the newest, and those whose reply may have been lost.
const SERIALS_MAX: usize = 8;
/// Certificates of a host that has [`SERIALS_MAX`] of them are at least this far apart, or this part of their life.
const RENEWED_NS_MIN: i128 = 3_600_000_000_000;
const RENEWED_PARTS: i128 = 6;

impl App {
    /// Lets a host in. The same key may enrol again with a new ticket: it keeps its id, and its old certificates end.
    ///
    /// # Errors
    /// [`ProblemKind::Credentials`] for the ticket, [`ProblemKind::Input`] for what is asked, [`ProblemKind::Forbidden`]
    /// for a host that was shut out, [`ProblemKind::Conflict`] for the id of another key.
    pub async fn enroll(&self, request: EnrollRequest) -> Result<EnrollReply, Problem> {
        let now = self.now();
        // The secret has 256 random bits and is looked up by its digest: no comparison here depends on the secret.
        let ticket = Sha256::of(request.secret.as_bytes());
        self.check_enrollment_ticket(ticket, now).await?;
        check_facts(&request.host)?;
        check_proof(&request)?;
        let agent = AgentId::of_host(&request.host.name, Sha256::of(request.signer.as_bytes()));
        let certified = self.certify(&request.csr_pem, &agent, now)?;
        let _one_at_a_time = self.host_writes.lock().await;
        let known = self.store.host(&agent).await?;
        if let Some(known) = &known {
            check_known(known, &request.signer)?;
        }
        let marks = known.as_ref().map(|known| known.marks.clone()).unwrap_or_default();
        let host = HostRecord {
            agent: agent.clone(),
            beat: None,
            certificate_expires: certified.expires,
            certificate_serials: vec![certified.serial.clone()],
            enrolled: known.as_ref().map_or(now, |known| known.enrolled),
            facts: request.host,
            gone: None,
            last_seen: Some(now),
            marks,
            revoked: None,
            signer: request.signer,
            silent: None,
            version: known.as_ref().map_or(1, |known| known.version + 1),
            went_back: None,
        };
        let leaf = NewLeaf {
            actor: Actor::Agent { agent: agent.clone(), serial: certified.serial.clone() }.to_string(),
            details: details([
                ("again", json!(known.is_some())),
                ("certificate_expires", json!(certified.expires)),
                ("certificate_serial", json!(certified.serial)),
                ("signer", json!(host.signer)),
                ("ticket", json!(ticket)),
            ]),
            event: "host_enrolled",
            incident: None,
            subject: format!("host:{agent}"),
            time: now,
        };
        let host = Box::new(host);
        let mut changes = vec![Change::UseTicket { ticket, at: now, by: agent.to_string(), kind: TicketKind::Enroll }];
        if known.is_some() {
            changes.push(Change::PutHost(host));
            changes.push(Change::HostSeen { agent: agent.clone(), at: now, beat: None });
        } else {
            changes.push(Change::AddHost(host));
        }
        match self.store.commit(changes, vec![leaf]).await {
            Ok(_) => {}
            // Somebody else was faster: with the ticket, most likely.
            Err(StoreError::Conflict(what)) => {
                self.check_enrollment_ticket(ticket, now).await?;
                return Err(Problem::new(ProblemKind::Conflict, what).hint("try again"));
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(%agent, "host enrolled");
        let server_signer = self.signer.public_line();
        let spool_recipient = self.spool.as_ref().map(SpoolKey::recipient);
        Ok(EnrollReply { agent, certificate_pem: certified.certificate_pem, server_signer, spool_recipient })
    }

    /// A new certificate for an agent that still has a good one, with this serial number.
    ///
    /// # Errors
    /// [`ProblemKind::Input`] for the signing request.
    pub async fn renew(&self, agent: &AgentId, serial: &str, request: RenewRequest) -> Result<RenewReply, Problem> {
        let now = self.now();
        let certified = self.certify(&request.csr_pem, agent, now)?;
        let apart = RENEWED_NS_MIN.min(i128::from(self.limits.certificate_secs) * 1_000_000_000 / RENEWED_PARTS);
        let changed = self.change_host(agent, |host| {
            check_enrolled(host)?;
            // Each renewal is a leaf for ever: after a few, for an agent whose answers were lost, one an hour is enough.
            let is_full = host.certificate_serials.len() >= SERIALS_MAX;
            if is_full && certified.expires.0 - host.certificate_expires.0 < apart {
                return Err(Problem::new(ProblemKind::TooMany, "the certificate was renewed a moment ago")
                    .hint("the agent renews when a third of its life is left; try again in an hour"));
            }
            host.certificate_expires = certified.expires;
            host.certificate_serials.push(certified.serial.clone());
            // The one in use stays: the agent goes on with it when this reply does not arrive.
            while host.certificate_serials.len() > SERIALS_MAX {
                let oldest = host.certificate_serials.iter().position(|there| there != serial).unwrap_or(0);
                host.certificate_serials.remove(oldest);
            }
            Ok(Some(vec![NewLeaf {
                actor: Actor::Agent { agent: agent.clone(), serial: serial.to_owned() }.to_string(),
                details: details([
                    ("certificate_expires", json!(certified.expires)),
                    ("certificate_serial", json!(certified.serial)),
                ]),
                event: "certificate_renewed",
                incident: None,
                subject: format!("host:{agent}"),
                time: now,
            }]))
        });
        changed.await?;
        let ca_pem = self.authorities.get().map(|in_force| in_force.offered_pem());
        Ok(RenewReply { ca_pem, certificate_pem: certified.certificate_pem })
    }

    /// What a host says of itself now. Its id and its name stay those that it was enrolled with: people dispatch by name,
    /// and a host must not take another one's.
    ///
    /// # Errors
    /// [`ProblemKind::Input`] for facts beyond the bounds.
    pub async fn put_facts(&self, agent: &AgentId, facts: HostFacts) -> Result<(), Problem> {
        check_facts(&facts)?;
        let changed = self.change_host(agent, |host| {
            check_enrolled(host)?;
            let facts = HostFacts { name: host.facts.name.clone(), ..facts.clone() };
            let is_news = host.facts != facts;
            if facts.is_clock_wrong() && !host.facts.is_clock_wrong() {
                let clock = facts.clock().unwrap_or_default();
                tracing::warn!(%agent, clock, "a host's clock is wrong: its evidence says by how much");
            }
            host.facts = facts;
            Ok(is_news.then(Vec::new))
        });
        changed.await.map(|_| ())
    }

    /// The record of an agent that is welcome.
    ///
    /// # Errors
    /// [`ProblemKind::Credentials`] when it is not.
    pub async fn enrolled(&self, agent: &AgentId) -> Result<HostRecord, Problem> {
        match self.store.host(agent).await? {
            Some(host) => check_enrolled(&host).map(|()| host),
            None => Err(not_enrolled(agent)),
        }
    }

    async fn check_enrollment_ticket(&self, ticket: Sha256, now: Instant) -> Result<(), Problem> {
        let refused = |what: &str, hint: &str| Err(Problem::new(ProblemKind::Credentials, what).hint(hint));
        match self.store.ticket(ticket).await? {
            Some(ticket) if ticket.kind == TicketKind::Enroll => {
                if ticket.used_by.is_some() {
                    let hint = "ask for another; if it was not used on this host, somebody else had it: say so";
                    return refused("this enrolment ticket was used already", hint);
                }
                if ticket.expires <= now {
                    return refused("this enrolment ticket has ended", "ask a responder for another");
                }
                Ok(())
            }
            _ => refused(
                "this is no enrolment ticket of this server",
                "ask a responder for one; an upload ticket is used with: holdfast-agent collect --ticket FILE",
            ),
        }
    }

    fn certify(&self, csr_pem: &str, agent: &AgentId, now: Instant) -> Result<ClientCertified, Problem> {
        let Some(in_force) = self.authorities.get() else {
            return Err(Problem::new(ProblemKind::Unavailable, "this server issues no certificates"));
        };
        in_force.issuing.certify_agent(csr_pem, agent, now, self.limits.certificate_secs).map_err(|error| match error {
            AuthorityError::Request(_) => Problem::new(ProblemKind::Input, error.to_string())
                .hint("csr_pem is a PKCS #10 request in PEM, for an ECDSA or Ed25519 key"),
            error => {
                Problem::new(ProblemKind::Internal, "the certificate could not be made").cause(format!("{error:?}"))
            }
        })
    }
}

fn check_enrolled(host: &HostRecord) -> Result<(), Problem> {
    if host.is_enrolled() { Ok(()) } else { Err(not_enrolled(&host.agent)) }
}

fn not_enrolled(agent: &AgentId) -> Problem {
    Problem::new(ProblemKind::Credentials, format!("the host {agent} is not enrolled, or was shut out"))
        .hint("enrol it again, with a new ticket")
}

/// Only eight digits of the key's digest stand in the id: another key with the same ones can be found by trying.
fn check_known(known: &HostRecord, signer: &str) -> Result<(), Problem> {
    let agent = &known.agent;
    if known.signer != signer {
        return Err(Problem::new(ProblemKind::Conflict, format!("the id {agent} belongs to another signing key"))
            .hint("make a new signing key on the host, and find out why there are two with one id"));
    }
    if known.revoked.is_some() {
        return Err(Problem::new(ProblemKind::Forbidden, format!("the host {agent} was shut out"))
            .hint("if it is welcome again, enrol it with a new signing key"));
    }
    Ok(())
}

/// The agent holds both keys: it signed the request for the one with the other.
fn check_proof(request: &EnrollRequest) -> Result<(), Problem> {
    let refused = |what: &str, hint: &str| Err(Problem::new(ProblemKind::Input, what).hint(hint));
    let key = PublicKey::from_openssh(&request.signer).ok().filter(|key| {
        key.algorithm() == ssh_key::Algorithm::Ed25519 && key.comment().is_empty()
            // The id is made of this text: there must be one way to write the key.
            && key.to_openssh().is_ok_and(|text| text == request.signer)
    });
    let Some(key) = key else {
        return refused("the signer is no signing key", "\"ssh-ed25519 AAAA…\" without a comment is wanted");
    };
    if !bundle::sign::verifies(&key, namespace::ENROLL, request.csr_pem.as_bytes(), request.proof_ssh.as_bytes()) {
        let hint =
            "proof_ssh is an SSHSIG over the bytes of csr_pem in the namespace holdfast-enroll, by the signer's key";
        return refused("the proof is not a signature of this request by this signer", hint);
    }
    Ok(())
}

fn check_facts(facts: &HostFacts) -> Result<(), Problem> {
    let HostFacts { agent_version, arch, boot_id, cas, clock_offset_ns: _, kernel, machine_id, name, os_id, profiles } =
        facts;
    let optional = [boot_id, machine_id, os_id].into_iter().flatten();
    let texts = [agent_version, arch, kernel, name].into_iter().chain(optional).chain(profiles);
    if profiles.len() > PROFILES_MAX || cas.len() > CAS_MAX || texts.into_iter().any(|text| text.len() > FACT_BYTES_MAX)
    {
        return Err(Problem::new(ProblemKind::Input, "the host says more of itself than is kept")
            .hint(format!("texts of at most {FACT_BYTES_MAX} bytes, at most {PROFILES_MAX} profiles")));
    }
    Ok(())
}
