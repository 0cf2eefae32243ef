//! A bucket that speaks the S3 protocol: its address, and how it is opened.
//!
//! Who this server is there stands in the environment or in files that it names, as every program for AWS reads them:
//! nothing secret is ever on a command line. The endpoint is `AWS_ENDPOINT_URL`; one without TLS also needs
//! `AWS_ALLOW_HTTP=true`.
//!
//! **Invariant**: an object is written once. Each put says `If-None-Match: *`, and a store that ignores it is refused when
//! it is opened: there, two servers could change bytes that were acknowledged.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, PutMode, PutPayload, RetryConfig};

use super::{ObjectError, credentials};

/// A request is repeated for so long. Agents and sources repeat theirs after that.
const RETRY_SECS_MAX: u64 = 20;
const RETRIES_MAX: usize = 10;
/// An object of which only the name counts: it is put at each start, and must be refused.
const PROBE: &str = "probe/written-once";

/// `s3://bucket` or `s3://bucket/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    name: String,
    /// Without slashes at its ends; may be empty.
    prefix: String,
}

/// A text is no [`Bucket`].
#[derive(Debug, thiserror::Error)]
#[error("s3://BUCKET or s3://BUCKET/PREFIX is wanted, without names or secrets in it")]
pub struct NoBucket;

impl FromStr for Bucket {
    type Err = NoBucket;

    fn from_str(text: &str) -> Result<Self, NoBucket> {
        let rest = text.strip_prefix("s3://").ok_or(NoBucket)?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        // The rules of AWS for the names of buckets, and of this program for everything else.
        let is_in_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        let is_part = |part: &str| {
            let is_in_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_in_part)
        };
        let is_bucket = (3..=63).contains(&name.len()) && name.bytes().all(is_in_name);
        if !is_bucket || prefix.len() > 256 || (!prefix.is_empty() && !prefix.split('/').all(is_part)) {
            return Err(NoBucket);
        }
        Ok(Self { name: name.to_owned(), prefix: prefix.to_owned() })
    }
}

impl Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.name)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// Opens it with what these variables say, of which only those count that begin with `AWS_`.
///
/// # Errors
/// [`ObjectError::Unusable`], [`ObjectError::Overwrites`].
pub(super) async fn open(
    bucket: &Bucket,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Arc<dyn ObjectStore>, ObjectError> {
    let unusable = |why: &dyn Display| ObjectError::Unusable { place: bucket.to_string(), why: why.to_string() };
    let retry = RetryConfig {
        max_retries: RETRIES_MAX,
        retry_timeout: Duration::from_secs(RETRY_SECS_MAX),
        ..RetryConfig::default()
    };
    let mut builder = AmazonS3Builder::new();
    let (mut names_itself, mut files) = (false, credentials::Files::default());
    for (name, value) in variables {
        match name.as_str() {
            "AWS_SHARED_CREDENTIALS_FILE" => files.file = Some(PathBuf::from(&value)),
            "AWS_PROFILE" => files.profile = Some(value.clone()),
            "HOME" => files.home = Some(PathBuf::from(&value)),
            "AWS_ACCESS_KEY_ID"
            | "AWS_WEB_IDENTITY_TOKEN_FILE"
            | "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
            | "AWS_CONTAINER_CREDENTIALS_FULL_URI" => names_itself = true,
            _ => {}
        }
        if name.starts_with("AWS_")
            && let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()
        {
            builder = builder.with_config(key, value);
        }
    }
    if !names_itself && let Some(found) = files.read().map_err(|error| unusable(&error))? {
        builder = builder.with_access_key_id(found.key_id).with_secret_access_key(found.secret);
        if let Some(token) = found.token {
            builder = builder.with_token(token);
        }
    }
    // After the variables: none of them may take these away.
    let builder = builder
        .with_bucket_name(&bucket.name)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_unsigned_payload(false)
        .with_skip_signature(false)
        .with_retry(retry);
    let store = builder.build().map_err(|error| unusable(&error))?;
    let store: Arc<dyn ObjectStore> = if bucket.prefix.is_empty() {
        Arc::new(store)
    } else {
        Arc::new(PrefixStore::new(store, bucket.prefix.as_str()))
    };
    // The first put makes it, on the first start; the second must not.
    let probe = ObjectPath::from(PROBE);
    for _ in 0..2 {
        let put = store.put_opts(&probe, PutPayload::from_static(b"\n"), PutMode::Create.into());
        match put.await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) => return Ok(store),
            Err(error) => return Err(unusable(&error)),
        }
    }
    Err(ObjectError::Overwrites { place: bucket.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_bucket_and_nothing_else() {
        for good in ["s3://evidence", "s3://evidence.example/site-1/holdfast", "s3://abc/A_b.c"] {
            assert_eq!(good.parse::<Bucket>().unwrap().to_string(), good);
        }
        assert_eq!("s3://evidence/".parse::<Bucket>().unwrap().to_string(), "s3://evidence");
        assert_eq!("s3://evidence/a/".parse::<Bucket>().unwrap().to_string(), "s3://evidence/a");
        for bad in [
            "evidence",
            "s3:/evidence",
            "s3://",
            "s3://ab",
            "s3://Evidence",
            "s3://key:secret@evidence",
            "s3://evidence//a",
            "s3://evidence/../a",
            "s3://evidence/a?b=c",
            "s3://evidence/a#b",
            "https://evidence",
            "s3://evidence/a b",
        ] {
            assert!(bad.parse::<Bucket>().is_err(), "{bad}");
        }
    }
}
