//! The headers of tus.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use wire::{IncidentId, Sha256};

use crate::app::uploads::NewUpload;
use crate::app::{Problem, ProblemKind};

/// `Upload-Metadata`, in bytes.
const METADATA_BYTES_MAX: usize = 4 << 10;

pub const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub const VERSION: HeaderName = HeaderName::from_static("tus-version");
pub const EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub const MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
pub const ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
pub const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub const LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub const DEFER: HeaderName = HeaderName::from_static("upload-defer-length");
pub const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
pub const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
pub const V1: HeaderValue = HeaderValue::from_static("1.0.0");

/// What somebody is told who speaks another version.
pub const OTHER_VERSION: &str = "uploads are done with tus 1.0.0";

/// The value of a header that may stand there once: of two that differ, somebody in between may have believed the other.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Problem::new(ProblemKind::Input, format!("{name} stands there twice")).hint("send it once")),
    }
}

/// The version is the one that is spoken here.
pub fn speaks_tus(headers: &HeaderMap) -> Result<(), Problem> {
    if only(headers, &RESUMABLE)? == Some(&V1) {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::Input, OTHER_VERSION).hint("send Tus-Resumable: 1.0.0"))
}

/// What the headers of a creation say.
pub fn announced(headers: &HeaderMap, incident: Option<IncidentId>) -> Result<NewUpload, Problem> {
    let wrong = |what: &str, hint: &str| Problem::new(ProblemKind::Input, what).hint(hint);
    let length = number(headers, &LENGTH)?;
    let is_deferred = only(headers, &DEFER)?.is_some_and(|value| value == "1");
    if length.is_none() != is_deferred {
        return Err(wrong("the upload's length is not declared", "send Upload-Length, or Upload-Defer-Length: 1"));
    }
    let metadata = metadata(headers)?;
    let text = |key: &str| metadata.iter().find(|(there, _)| there == key).map(|(_, value)| value.clone());
    let bundle = text("bundle").and_then(|bundle| bundle.parse().ok());
    let bundle =
        bundle.ok_or_else(|| wrong("the upload names no bundle", "Upload-Metadata: bundle BASE64-OF-ITS-ID"))?;
    let order = text("order").map(|order| order.parse()).transpose();
    let order = order.map_err(|_| wrong("the upload's order is no id", "Upload-Metadata: order BASE64-OF-ITS-ID"))?;
    let named = text("incident").map(|incident| incident.parse()).transpose();
    let named = named.map_err(|_| wrong("the upload's incident is no id", "as in INC-2026-0007"))?;
    let name = text("name").or_else(|| text("filename"));
    let belongs_to = text("belongs_to").map(|bundle| bundle.parse()).transpose();
    let belongs_to = belongs_to.map_err(|_| {
        wrong("the bundle that it belongs to has no such id", "Upload-Metadata: belongs_to BASE64-OF-ITS-ID")
    })?;
    let continues = text("continues").map(|bundle| bundle.parse()).transpose();
    let continues = continues.map_err(|_| {
        wrong("the bundle that it continues has no such id", "Upload-Metadata: continues BASE64-OF-ITS-ID")
    })?;
    Ok(NewUpload {
        belongs_to,
        bundle,
        continues,
        incident: named.or(incident),
        length,
        name,
        order,
        signer: text("signer"),
    })
}

/// `key base64, key base64 …`
fn metadata(headers: &HeaderMap) -> Result<Vec<(String, String)>, Problem> {
    let wrong = || {
        Problem::new(ProblemKind::Input, "Upload-Metadata cannot be read")
            .hint("pairs of a key and a value in base64, with commas between the pairs")
    };
    let Some(value) = only(headers, &METADATA)? else { return Ok(Vec::new()) };
    let value = value.to_str().map_err(|_| wrong())?;
    if value.len() > METADATA_BYTES_MAX {
        return Err(wrong());
    }
    let pair = |pair: &str| {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        let value = BASE64_STANDARD.decode(value.trim()).ok()?;
        Some((key.to_owned(), String::from_utf8(value).ok()?))
    };
    let pairs: Option<Vec<(String, String)>> =
        value.split(',').filter(|text| !text.trim().is_empty()).map(pair).collect();
    let pairs = pairs.ok_or_else(wrong)?;
    let is_twice = |n: usize| pairs.iter().skip(n + 1).any(|(key, _)| *key == pairs[n].0);
    if (0..pairs.len()).any(is_twice) {
        return Err(Problem::new(ProblemKind::Input, "Upload-Metadata has a key twice").hint("send each once"));
    }
    Ok(pairs)
}

/// The digest of the body, where the client says it.
pub fn checksum(headers: &HeaderMap) -> Result<Option<Sha256>, Problem> {
    let Some(value) = only(headers, &CHECKSUM)? else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|value| {
        let digest = BASE64_STANDARD.decode(value.strip_prefix("sha256 ")?.trim()).ok()?;
        Some(Sha256(digest.try_into().ok()?))
    });
    parsed.map(Some).ok_or_else(|| {
        Problem::new(ProblemKind::Input, "Upload-Checksum cannot be read")
            .hint("sha256, a space, and the digest in base64")
    })
}

/// A number of bytes.
pub fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let Some(value) = only(headers, name)? else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Problem::new(ProblemKind::Input, format!("{name} is no number of bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_a_client_announces() {
        let id = BASE64_STANDARD.encode("019abcde-0000-7000-8000-000000000001");
        let name = BASE64_STANDARD.encode("web-1.evidence.zip");
        let text = format!("bundle {id},filename {name}, is_confidential");
        let new = announced(&headers(&[("upload-length", "7"), ("upload-metadata", &text)]), None).unwrap();
        assert_eq!((new.length, new.name.as_deref()), (Some(7), Some("web-1.evidence.zip")));
        for bad in [
            headers(&[("upload-metadata", &text)]),
            headers(&[("upload-length", "7"), ("upload-defer-length", "1"), ("upload-metadata", &text)]),
            headers(&[("upload-length", "-7"), ("upload-metadata", &text)]),
            headers(&[("upload-length", "18446744073709551616"), ("upload-metadata", &text)]),
            headers(&[("upload-length", "7")]),
            headers(&[("upload-length", "7"), ("upload-metadata", "bundle %%%")]),
            headers(&[("upload-length", "7"), ("upload-metadata", &format!("{text},bundle {id}"))]),
            headers(&[("upload-length", "7"), ("upload-length", "8"), ("upload-metadata", &text)]),
        ] {
            assert!(announced(&bad, None).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn checksums_and_versions() {
        let digest = Sha256::of(b"abc");
        let value = format!("sha256 {}", BASE64_STANDARD.encode(digest.0));
        assert_eq!(checksum(&headers(&[("upload-checksum", &value)])).unwrap(), Some(digest));
        for bad in ["sha1 AAAA", "sha256", "sha256 AAAA"] {
            assert!(checksum(&headers(&[("upload-checksum", bad)])).is_err(), "{bad}");
        }
        assert!(speaks_tus(&headers(&[("tus-resumable", "0.2.2")])).is_err());
    }
}
