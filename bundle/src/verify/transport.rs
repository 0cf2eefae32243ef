//! What can be said of a file without looking into it: that its bytes are those that their signer vouched for.

use std::io::Read;

use ssh_key::PublicKey;
use wire::BundleId;

use super::finding::{Findings, code};
use super::layer_of;
use super::report::{NotVerified, State, Transport, TransportReport, Trust, Verified};
use super::sidecar::{Expected, Seen, Sidecar, SidecarSummary};
use super::stream::Stream;
use crate::checkpoint::NAMESPACE;
use crate::sign::AllowedSigners;

/// What is known of a bundle from elsewhere. What is not is taken from the first transport checkpoint: the others must
/// then be of the same bundle and key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Announced<'a> {
    /// Its id.
    pub bundle: Option<BundleId>,
    /// The key that signs it.
    pub signer: Option<&'a PublicKey>,
}

/// Verifies the bytes of a file, encrypted or not, by its transport checkpoints alone.
///
/// # Errors
/// [`NotVerified`]: with all findings when they are other bytes, otherwise with the reason why there is nothing to
/// verify.
pub fn check_transport(
    file: impl Read,
    sidecar: &Sidecar,
    announced: Announced,
    signers: Option<&AllowedSigners>,
) -> Result<Verified<Transport>, NotVerified<TransportReport>> {
    let mut stream = Stream::new(file, sidecar.marks());
    let layer = layer_of(stream.peek(64)?);
    stream.skip(u64::MAX)?;
    let bytes = stream.position();
    let named = sidecar.names();
    let bundle = announced.bundle.or(named.as_ref().map(|(bundle, _)| *bundle));
    let signer = announced.signer.or(named.as_ref().map(|(_, signer)| signer)).cloned();
    let mut findings = Findings::default();
    let summary = match (bundle, &signer) {
        (Some(bundle), Some(signer)) => {
            let seen = Seen { reached: stream.reached(), held: bytes, zip: None };
            sidecar.judge(Expected { bundle, signer, layer: Some(layer) }, seen, &mut findings)
        }
        _ => {
            if !sidecar.is_empty() {
                let message = "it names no bundle and no signer";
                findings.add(code::SIDECAR_MISMATCH, "transport checkpoint 1", 0, message);
            }
            SidecarSummary::default()
        }
    };
    let state = match summary.verified_to {
        0 => State::Unverified,
        _ if summary.is_final => State::Sealed,
        _ => State::Partial,
    };
    let trust = trust(signers, signer.as_ref(), &summary);
    let report = TransportReport { bundle, signer, layer, state, trust, bytes, sidecar: summary, findings };
    if !report.findings.is_empty() {
        Err(NotVerified::Rejected(Box::new(report)))
    } else if state == State::Unverified {
        Err(NotVerified::Unverified(Box::new(report)))
    } else {
        Ok(Verified::of_transport(report))
    }
}

/// The key must have been valid at the last signature, by the host's clock. Who signs stands in the content only, so
/// that any name for which the key is trusted serves.
fn trust(signers: Option<&AllowedSigners>, key: Option<&PublicKey>, summary: &SidecarSummary) -> Trust {
    let principal = signers
        .zip(key)
        .zip(summary.verified_at)
        .and_then(|((signers, key), at)| signers.principals_of(key, NAMESPACE, at).map(str::to_owned));
    principal.map_or(Trust::Unknown, |principal| Trust::Trusted { principal })
}
