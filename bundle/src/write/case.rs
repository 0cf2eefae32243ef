//! `data/case.jsonld`: who took what from which host with which tool, as a CASE/UCO graph (caseontology.org, UCO 1.x) for
//! the programs that exchange such graphs.
//!
//! The names of its nodes are made of the bundle's id and of what the node stands for: the same bundle gives the same
//! bytes. It says nothing that bundle.json and the checkpoints do not say, and so it is the first to be left out: at most
//! [`NODES_MAX`] nodes.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256 as Hasher};
use wire::{BundleId, Phase, Sha256};

use crate::header::Header;
use crate::time::Instant;

/// Nodes of the graph, those within others counted.
pub const NODES_MAX: usize = 100;
/// Nodes that are no checkpoint's.
const OTHER_NODES_MAX: usize = 16;
/// A file, its name, its content, the content's digest.
const NODES_OF_A_CHECKPOINT: usize = 4;
/// The last checkpoints of a bundle, as far as the graph holds them.
pub(super) const CHECKPOINTS_MAX: usize = (NODES_MAX - OTHER_NODES_MAX) / NODES_OF_A_CHECKPOINT;

/// A checkpoint that the graph names.
pub(super) struct Head {
    pub seq: u64,
    pub phase: Phase,
    pub sha256: Sha256,
    pub time: Instant,
}

/// The content of the entry.
pub(super) fn graph(header: &Header, heads: &[Head], ended: Instant) -> Vec<u8> {
    let names = Names(header.bundle);
    let mut nodes = vec![
        names.device(header),
        json!({
            "@id": names.of("tool"), "@type": "uco-tool:Tool", "uco-core:name": header.agent.name,
            "uco-tool:version": header.agent.version,
        }),
        json!({"@id": names.of("signer"), "@type": "uco-identity:Identity", "uco-core:name": header.signer_principal}),
        json!({
            "@id": names.of("bundle"), "@type": "uco-observable:File",
            "uco-core:description": [format!("{} part {}", header.format, header.part)],
            "uco-core:hasFacet": [{
                "@id": names.of("bundle name"), "@type": "uco-observable:FileFacet",
                "uco-observable:fileName": format!("{}.evidence.zip", header.bundle),
            }],
        }),
    ];
    let mut objects = vec![names.reference("bundle")];
    for head in heads.iter().rev().take(CHECKPOINTS_MAX).rev() {
        objects.push(names.reference(&format!("checkpoint {}", head.seq)));
        nodes.push(names.checkpoint(head));
    }
    nodes.push(json!({
        "@id": names.of("provenance"), "@type": "case-investigation:ProvenanceRecord",
        "case-investigation:exhibitNumber": header.bundle, "uco-core:object": objects,
    }));
    let mut action = json!({
        "@id": names.of("collection"), "@type": "case-investigation:InvestigativeAction",
        "uco-action:endTime": time(ended), "uco-action:instrument": [names.reference("tool")],
        "uco-action:object": [names.reference("host")], "uco-action:performer": names.reference("signer"),
        "uco-action:result": [names.reference("provenance")], "uco-action:startTime": time(header.started),
        "uco-core:name": format!("collection by the profile {}", header.profile.name),
    });
    if let Some(examiner) = header.authority.as_ref().and_then(|authority| authority.examiner.as_ref()) {
        nodes.push(json!({"@id": names.of("examiner"), "@type": "uco-identity:Identity", "uco-core:name": examiner}));
        action["uco-action:participant"] = json!([names.reference("examiner")]);
    }
    nodes.push(action);
    let order = names.order(header);
    if let Some(incident) = &header.incident {
        let mut investigation = json!({
            "@id": names.of("investigation"), "@type": "case-investigation:Investigation", "uco-core:name": incident,
            "uco-core:object": [names.reference("provenance"), names.reference("collection")],
        });
        if order.is_some() {
            investigation["case-investigation:relevantAuthorization"] = json!([names.reference("order")]);
        }
        nodes.push(investigation);
    }
    nodes.extend(order);
    let document = json!({
        "@context": {
            "case-investigation": "https://ontology.caseontology.org/case/investigation/",
            "uco-action": "https://ontology.unifiedcyberontology.org/uco/action/",
            "uco-core": "https://ontology.unifiedcyberontology.org/uco/core/",
            "uco-identity": "https://ontology.unifiedcyberontology.org/uco/identity/",
            "uco-observable": "https://ontology.unifiedcyberontology.org/uco/observable/",
            "uco-tool": "https://ontology.unifiedcyberontology.org/uco/tool/",
            "uco-types": "https://ontology.unifiedcyberontology.org/uco/types/",
            "xsd": "http://www.w3.org/2001/XMLSchema#",
        },
        "@graph": nodes,
    });
    (document.to_string() + "\n").into_bytes()
}

fn time(at: Instant) -> Value {
    json!({"@type": "xsd:dateTime", "@value": at})
}

/// Names of nodes: UUIDs of what they stand for in this bundle.
struct Names(BundleId);

impl Names {
    /// In the form of version 5 (RFC 9562), which says that it is the digest of a name.
    fn of(&self, what: &str) -> String {
        let digest = Hasher::digest(format!("{}\n{what}", self.0));
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        id[6] = id[6] & 0x0f | 0x50;
        id[8] = id[8] & 0x3f | 0x80;
        let hex = format!("{:032x}", u128::from_be_bytes(id));
        format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    fn reference(&self, what: &str) -> Value {
        json!({"@id": self.of(what)})
    }

    fn device(&self, header: &Header) -> Value {
        let host = &header.host;
        let system = format!("{} (Linux {})", host.os_id.as_deref().unwrap_or("unknown"), host.kernel);
        json!({
            "@id": self.of("host"), "@type": "uco-observable:Device",
            "uco-core:hasFacet": [
                {
                    "@id": self.of("host computer"), "@type": "uco-observable:ComputerSpecificationFacet",
                    "uco-observable:hostname": host.name, "uco-observable:processorArchitecture": host.arch,
                },
                {
                    "@id": self.of("host system"), "@type": "uco-observable:OperatingSystemFacet",
                    "uco-core:name": system,
                },
            ],
        })
    }

    fn order(&self, header: &Header) -> Option<Value> {
        let authority = header.authority.as_ref()?;
        let order = authority.order.as_ref()?;
        let mut node = json!({
            "@id": self.of("order"), "@type": "case-investigation:Authorization",
            "case-investigation:authorizationIdentifier": [order],
        });
        if let Some(basis) = &authority.legal_basis {
            node["case-investigation:authorizationType"] = json!(basis);
        }
        if let Some(purpose) = &authority.purpose {
            node["uco-core:description"] = json!([purpose]);
        }
        Some(node)
    }

    fn checkpoint(&self, head: &Head) -> Value {
        let of = |part: &str| self.of(&format!("checkpoint {}{part}", head.seq));
        json!({
            "@id": of(""), "@type": "uco-observable:File",
            "uco-core:description": [format!("checkpoint {} of phase {} at {}", head.seq, head.phase, head.time)],
            "uco-core:hasFacet": [
                {
                    "@id": of(" name"), "@type": "uco-observable:FileFacet",
                    "uco-observable:fileName": format!("checkpoints/{:06}/checkpoint.json", head.seq),
                },
                {
                    "@id": of(" content"), "@type": "uco-observable:ContentDataFacet",
                    "uco-observable:hash": [{
                        "@id": of(" digest"), "@type": "uco-types:Hash", "uco-types:hashMethod": "SHA256",
                        "uco-types:hashValue": {"@type": "xsd:hexBinary", "@value": head.sha256},
                    }],
                },
            ],
        })
    }
}
