//! One collection, on whosever behalf: what stands in its header, and its run into an output.
//!
//! The console, an order and a ticket differ in where the bytes go and in the [`Mandate`]; all else is the same.
//!
//! What a run must not wait for is a collection of its own, with a bundle of its own that `belongs_to` the run's: its
//! [sibling](Collection::take_sibling).

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bundle::coverage::Outcome;
use bundle::encryption::Recipient;
use bundle::header::{Agent, Authority, ClockState, Encryption, FORMAT, Header, HostIdentity, ProfileIdentity};
use bundle::time::{Clock as _, Instant};
use bundle::write::{Output, World, WriteError, Writer};
use serde_json::{Map, Value, json};
use wire::profile::{Limits, Profile, Sensitive, Values};
use wire::signed::Signed;
use wire::{BundleId, IncidentId, Sha256, Tier};

use crate::host::{Host, SystemClock, capabilities, sys};
use crate::log::Log;
use crate::run::bind::BoundStep;
use crate::run::gate::{Gate, Opener, Opens};
use crate::run::parts::Outputs;
use crate::run::progress::Progress;
use crate::run::session::Allowed;
use crate::run::{Finished, Run};
use crate::state::{Identity, StateError};

/// On whose behalf a collection is made. The default is a person at the host's console.
#[derive(Clone, Debug, Default)]
pub struct Mandate {
    /// Sensitive classes whose content is taken.
    pub approved: Vec<Sensitive>,
    /// Variables of processes whose values are taken: all, where it does not say.
    pub environment: Option<Vec<String>>,
    /// Who ordered it.
    pub authority: Option<Authority>,
    /// The incident that the evidence belongs to.
    pub incident: Option<IncidentId>,
    /// The last receipt that this agent was given, for whichever bundle.
    pub last_receipt: Option<Signed>,
    /// Digest of the signed order.
    pub order_sha256: Option<Sha256>,
    /// Who can read the bundles: this host's own word, never an order's. Nobody means that they are not encrypted.
    pub recipients: Vec<Recipient>,
    /// The server's clock minus this host's, in nanoseconds.
    pub server_offset_ns: Option<i128>,
}

/// What is to be collected.
pub struct Plan {
    /// The steps, bound.
    pub steps: Vec<BoundStep>,
    /// What the whole run is held to.
    pub limits: Limits,
    /// What each tier is held to.
    pub tiers: BTreeMap<Tier, Limits>,
    /// Which profile it is.
    pub profile: ProfileIdentity,
    /// What is known of the incident.
    pub values: Values,
}

impl Plan {
    /// The plan of a profile, its steps already bound to `values`, held to the profile's own limits.
    pub fn of(profile: &Profile, version: &str, steps: Vec<BoundStep>, values: Values) -> Self {
        let identity =
            ProfileIdentity { name: profile.name.clone(), sha256: Some(profile.sha256()), version: version.to_owned() };
        Self { steps, limits: profile.limits, tiers: profile.tiers.clone(), profile: identity, values }
    }
}

/// A collection that has its id and its header; nothing is collected yet.
pub struct Collection {
    /// The bundle that it will write.
    pub bundle: BundleId,
    /// The bundle's file name.
    pub name: String,
    header: Header,
    run: Run,
    world: World,
    /// What goes into a bundle of its own, until somebody takes it.
    sibling: Option<Box<Self>>,
    /// What the custody log says of the sibling that somebody took.
    beside: Option<Map<String, Value>>,
    /// Steps that are not run, and why.
    left_out: Vec<(Tier, &'static str, &'static str)>,
    /// Lets the sibling begin.
    opener: Option<Opener>,
    /// What a sibling waits for.
    gate: Option<Gate>,
}

impl Collection {
    /// Gives the collection its id. Steps that no run waits for become its sibling, unless they are all that is asked
    /// for.
    ///
    /// # Errors
    /// [`StateError::NoRandom`].
    pub fn new(
        host: &Arc<Host>,
        who: HostIdentity,
        agent: &Identity,
        plan: Plan,
        mandate: Mandate,
        ends: (Arc<AtomicBool>, Log),
    ) -> Result<Self, StateError> {
        let clock = SystemClock;
        let started = clock.realtime();
        let bundle = new_id(started)?;
        let header = Header {
            agent: Agent {
                build_sha256: own_digest(),
                capabilities: capabilities::effective(host),
                name: env!("CARGO_PKG_NAME").into(),
                pid: std::process::id(),
                uid: rustix::process::geteuid().as_raw(),
                version: env!("CARGO_PKG_VERSION").into(),
            },
            authority: mandate.authority,
            belongs_to: None,
            bundle,
            clock: ClockState {
                boottime_ns: clock.boottime_ns().to_string(),
                ntp_synced: sys::clock_discipline().ok().map(|clock| clock.is_synchronised()),
                realtime_ns: started.0.to_string(),
                server_offset_ns: mandate.server_offset_ns.map(|offset| offset.to_string()),
            },
            continues: None,
            encryption: Encryption::to(&mandate.recipients),
            format: FORMAT.into(),
            hash: "sha256".into(),
            host: who,
            incident: mandate.incident,
            last_receipt: mandate.last_receipt,
            limits: plan.limits,
            order_sha256: mandate.order_sha256,
            part: 1,
            profile: plan.profile,
            signature: "sshsig namespace=holdfast-bundle".into(),
            signer: agent.key.public_line(),
            signer_principal: agent.id.principal(),
            started,
            kind: "evidence-bundle".into(),
            v: 1,
            values: plan.values.clone(),
        };
        let name = name_of(&header);
        let (interrupted, log) = ends;
        let allowed = Arc::new(Allowed { sensitive: mandate.approved, environment: mandate.environment });
        let (limits, tiers, values) = (plan.limits, plan.tiers, Arc::new(plan.values));
        let is_apart = |step: &BoundStep| step.collector.own_bundle && host.is_live();
        let (apart, steps): (Vec<_>, Vec<_>) = plan.steps.into_iter().partition(is_apart);
        // Alone it keeps nobody waiting.
        let (apart, steps) = if steps.is_empty() { (steps, apart) } else { (apart, steps) };
        let begin = |name: String, header: Header, steps: Vec<BoundStep>| {
            let (tiers, values, interrupted) = (tiers.clone(), Arc::clone(&values), Arc::clone(&interrupted));
            let (allowed, log) = (Arc::clone(&allowed), log.clone());
            let run = Run { host: Arc::clone(host), steps, limits, tiers, values, interrupted, allowed, log };
            let world = World { key: agent.key.clone(), clock: Box::new(SystemClock), random: Box::new(random()) };
            let (sibling, beside, left_out, opener, gate) = (None, None, Vec::new(), None, None);
            Self { bundle: header.bundle, name, header, run, world, sibling, beside, left_out, opener, gate }
        };
        let mut main = begin(name, header.clone(), steps);
        if !apart.is_empty() {
            let header = Header { belongs_to: Some(bundle), bundle: new_id(started)?, ..header };
            let name = name_of(&header);
            let gate = Gate::default();
            let mut sibling = begin(name.replace(".evidence.zip", ".memory.evidence.zip"), header, apart);
            main.opener = Some(Opener(gate.clone()));
            sibling.gate = Some(gate);
            main.sibling = Some(Box::new(sibling));
        }
        Ok(main)
    }

    /// The collection that is to run at the same time, on a thread of its own and into an output of its own. It begins
    /// when this one has what is volatile.
    pub fn take_sibling(&mut self) -> Option<Self> {
        let sibling = *self.sibling.take()?;
        let collectors: Vec<&str> = sibling.run.steps.iter().map(|step| step.collector.name).collect();
        let told = json!({"bundle": sibling.bundle, "collectors": collectors, "name": sibling.name});
        self.beside = told.as_object().cloned();
        Some(sibling)
    }

    /// The bundle that this one's stands beside.
    pub fn belongs_to(&self) -> Option<BundleId> {
        self.header.belongs_to
    }

    /// Says that there is no room for a sibling; the bundle then says what was not collected.
    pub fn leave_out_sibling(&mut self, reason: &'static str) {
        for step in self.sibling.take().iter().flat_map(|sibling| &sibling.run.steps) {
            tracing::warn!(collector = step.collector.name, reason, "not collected");
            self.left_out.push((step.collector.tier, step.collector.name, reason));
        }
    }

    /// Says that these steps are not run.
    pub fn leave_out(&mut self, steps: &[(BoundStep, &'static str)]) {
        for (step, reason) in steps {
            tracing::warn!(collector = step.collector.name, reason, "not collected");
            self.left_out.push((step.collector.tier, step.collector.name, reason));
        }
    }

    /// Runs it. The caller's thread owns the bundle until the seal.
    ///
    /// # Errors
    /// [`WriteError`]: the output failed, and what it holds is a partial bundle.
    pub fn run<W: Output, S: Write>(
        self,
        out: W,
        sidecar: S,
        outputs: &mut dyn Outputs<W, S>,
        progress: &mut dyn Progress,
    ) -> Result<Finished, WriteError> {
        if let Some(gate) = &self.gate {
            gate.wait();
        }
        let opener = self.opener.unwrap_or_else(|| Opener(Gate::default()));
        tell_what_is_lacking(&self.run.steps, &self.run.host);
        tracing::info!(bundle = %self.bundle, profile = self.header.profile.name, "collection started");
        let mut writer = Writer::start(out, sidecar, self.header, self.world)?;
        if let Some(beside) = self.beside {
            let of = |key| beside.get(key).cloned().unwrap_or_default();
            let names = ["bundle", "collectors", "name"];
            writer.custody("sibling_begun", names.map(|name| (name, of(name))));
        }
        for (tier, collector, reason) in self.left_out {
            writer.not_run(tier, collector, Outcome::NotRun, reason);
        }
        self.run.execute(writer, outputs, &mut Opens { opener, inner: progress })
    }
}

/// The name of a bundle's file.
fn name_of(header: &Header) -> String {
    let name = bundle::name::of_bundle(&header.host.name, header.started, header.bundle);
    if header.encryption.is_some() { name + ".age" } else { name }
}

/// A new bundle's id.
fn new_id(started: Instant) -> Result<BundleId, StateError> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).map_err(|_| StateError::NoRandom)?;
    Ok(BundleId::new(u64::try_from(started.0 / 1_000_000).unwrap_or(0), bytes))
}

/// Random bytes for the items' salts, fetched from the kernel by the page.
fn random() -> impl FnMut(&mut [u8]) + Send {
    let mut page = [0; 4096];
    let mut used = page.len();
    move |buffer| {
        if page.len() - used < buffer.len() {
            // getrandom(2) cannot fail once it has worked, and the bundle's id came from it.
            let _ = getrandom::fill(&mut page);
            used = 0;
        }
        let length = buffer.len().min(page.len());
        buffer[..length].copy_from_slice(&page[used..used + length]);
        used += length;
    }
}

/// The digest of this program's own file, read by the piece: new memory for all of it would cost more than the reading.
fn own_digest() -> Option<Sha256> {
    let mut program = std::fs::File::open("/proc/self/exe").ok()?;
    let mut hasher = sha2::Sha256::default();
    let mut piece = vec![0; 64 << 10];
    loop {
        match std::io::Read::read(&mut program, &mut piece).ok()? {
            0 => return Some(Sha256::so_far(&hasher)),
            length => sha2::Digest::update(&mut hasher, &piece[..length]),
        }
    }
}

fn tell_what_is_lacking(steps: &[BoundStep], host: &Host) {
    let held = capabilities::effective(host);
    for step in steps {
        let lacks = capabilities::lacking(step.collector.needs, &held);
        if !lacks.is_empty() {
            tracing::info!(collector = step.collector.name, lacks = lacks.join(","), "it will take less");
        }
    }
    if !rustix::process::geteuid().is_root() {
        tracing::warn!("not run as root: what other users own is recorded as denied, not collected");
    }
}
