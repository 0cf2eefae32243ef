//! Time stamps of others (RFC 3161): a request for one, and what an answer says.
//!
//! An authority signs that a digest was there at a time. Its signature, a CMS one under a certificate of its own, is for
//! `openssl ts -verify` to check, with the authority that the reader believes; here the answer is taken apart only as far
//! as to see that it is for what was asked. The encoding is DER, of which these few lines know what is needed.

use wire::Sha256;

/// The digest's algorithm with its absent parameters: id-sha256 (RFC 5754).
const SHA256: [u8; 15] = [0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0];
/// id-signedData (RFC 5652).
const SIGNED_DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
/// id-ct-TSTInfo (RFC 3161).
const TST_INFO: [u8; 11] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4];

const BOOLEAN: u8 = 1;
const INTEGER: u8 = 2;
const OCTET_STRING: u8 = 4;
const OID: u8 = 6;
const UTF8_STRING: u8 = 12;
const GENERALIZED_TIME: u8 = 24;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const EXPLICIT_0: u8 = 0xa0;

/// `status` of an answer that holds a token: granted, or granted with modifications.
const GRANTED_MAX: u8 = 1;
/// Characters of what an authority says.
const SAID_CHARS_MAX: usize = 200;

/// An answer that is no time stamp of what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTimestamp {
    /// It is no answer of RFC 3161.
    #[error("this is no answer of a time-stamping authority (RFC 3161)")]
    Malformed,
    /// The authority said no.
    #[error("the authority refused, with status {status}: {said}")]
    Refused {
        /// PKIStatus.
        status: u8,
        /// Its words, made plain.
        said: String,
    },
    /// The token is for another digest.
    #[error("the token is for another digest than the one that was sent")]
    OtherImprint,
    /// The token answers another request.
    #[error("the token answers another request: its nonce is not the one that was sent")]
    OtherNonce,
}

/// The body of a request for a time stamp of this digest (`application/timestamp-query`), with the authority's
/// certificate in the token. The nonce must be answered.
pub fn request(imprint: Sha256, nonce: [u8; 8]) -> Vec<u8> {
    let imprint = [&SHA256[..], &tlv(OCTET_STRING, &imprint.0)].concat();
    let parts =
        [tlv(INTEGER, &[1]), tlv(SEQUENCE, &imprint), tlv(INTEGER, &integer(nonce)), tlv(BOOLEAN, &[0xff])].concat();
    tlv(SEQUENCE, &parts)
}

/// Positive, and as short as DER wants it.
fn integer(nonce: [u8; 8]) -> [u8; 8] {
    let [first, rest @ ..] = nonce;
    let [a, b, c, d, e, f, g] = rest;
    [first & 0x7f | 0x40, a, b, c, d, e, f, g]
}

/// A short value: everything of a request is.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    debug_assert!(content.len() < 128);
    [&[tag, u8::try_from(content.len()).unwrap_or(127)][..], content].concat()
}

/// What an authority answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u8,
    said: String,
    token: Option<Token>,
}

/// What the token says. Its signature was not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The digest that was stamped.
    pub imprint: Sha256,
    /// The content of the nonce's INTEGER.
    nonce: Vec<u8>,
    /// `genTime` as RFC 3339.
    pub time: String,
}

impl Response {
    /// Takes the body of an answer apart (`application/timestamp-reply`).
    ///
    /// # Errors
    /// [`BadTimestamp::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BadTimestamp> {
        parse(bytes).ok_or(BadTimestamp::Malformed)
    }

    /// The token, where one was given.
    ///
    /// # Errors
    /// [`BadTimestamp::Refused`], [`BadTimestamp::Malformed`].
    pub fn granted(self) -> Result<Token, BadTimestamp> {
        if self.status > GRANTED_MAX {
            return Err(BadTimestamp::Refused { status: self.status, said: self.said });
        }
        self.token.ok_or(BadTimestamp::Malformed)
    }

    /// The token, when it answers this request.
    ///
    /// # Errors
    /// [`BadTimestamp`].
    pub fn answers(self, imprint: Sha256, nonce: [u8; 8]) -> Result<Token, BadTimestamp> {
        let token = self.granted()?;
        if token.imprint != imprint {
            return Err(BadTimestamp::OtherImprint);
        }
        if token.nonce != integer(nonce) {
            return Err(BadTimestamp::OtherNonce);
        }
        Ok(token)
    }
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let mut whole = Der(bytes);
    let mut response = Der(whole.take(SEQUENCE)?);
    if !whole.0.is_empty() {
        return None;
    }
    let mut info = Der(response.take(SEQUENCE)?);
    let [status] = *info.take(INTEGER)? else { return None };
    let said = info.take(SEQUENCE).and_then(|texts| Der(texts).take(UTF8_STRING)).unwrap_or_default();
    let said = String::from_utf8_lossy(said);
    let said = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect();
    let token = if response.0.is_empty() { None } else { Some(token(&mut response)?) };
    Some(Response { status, said, token })
}

fn token(response: &mut Der) -> Option<Token> {
    let mut content = Der(response.take(SEQUENCE)?);
    (content.take(OID)? == SIGNED_DATA).then_some(())?;
    let mut signed = Der(Der(content.take(EXPLICIT_0)?).take(SEQUENCE)?);
    signed.take(INTEGER)?;
    signed.take(SET)?;
    let mut encapsulated = Der(signed.take(SEQUENCE)?);
    (encapsulated.take(OID)? == TST_INFO).then_some(())?;
    let info = Der(encapsulated.take(EXPLICIT_0)?).take(OCTET_STRING)?;
    let mut info = Der(Der(info).take(SEQUENCE)?);
    info.take(INTEGER)?;
    info.take(OID)?;
    let mut imprint = Der(info.take(SEQUENCE)?);
    let mut algorithm = Der(imprint.take(SEQUENCE)?);
    (algorithm.take(OID)? == SHA256.get(4..13)?).then_some(())?;
    let imprint = Sha256(imprint.take(OCTET_STRING)?.try_into().ok()?);
    info.take(INTEGER)?;
    let time = rfc3339(info.take(GENERALIZED_TIME)?)?;
    // Accuracy and ordering may stand before the nonce.
    let _ = info.take(SEQUENCE);
    let _ = info.take(BOOLEAN);
    let nonce = info.take(INTEGER).unwrap_or_default().to_vec();
    Some(Token { imprint, nonce, time })
}

/// `YYYYMMDDhhmmss[.f]Z` as `YYYY-MM-DDThh:mm:ss[.f]Z`.
fn rfc3339(time: &[u8]) -> Option<String> {
    let text = str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !is_digits(whole) || fraction.is_some_and(|fraction| !is_digits(fraction)) {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to);
    let (date, clock) = ((part(0, 4)?, part(4, 6)?, part(6, 8)?), (part(8, 10)?, part(10, 12)?, part(12, 14)?));
    let fraction = fraction.map(|fraction| format!(".{fraction}")).unwrap_or_default();
    Some(format!("{}-{}-{}T{}:{}:{}{fraction}Z", date.0, date.1, date.2, clock.0, clock.1, clock.2))
}

/// Values that follow each other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, when it has this tag; otherwise nothing is taken.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let (tag, rest) = self.0.split_first()?;
        if *tag != wanted {
            return None;
        }
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=127 => (usize::from(*first), rest),
            // Up to four bytes of length: an answer is capped far below that. 0x80, without an end, is not DER.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 8] = [0xff, 1, 2, 3, 4, 5, 6, 7];

    /// As long as it needs to be.
    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length, content].concat()
    }

    fn answer(status: u8, imprint: Sha256, nonce: &[u8]) -> Vec<u8> {
        let imprint = [&SHA256[..], &tlv(OCTET_STRING, &imprint.0)].concat();
        let info = [
            tlv(INTEGER, &[1]),
            tlv(OID, &[0x2a, 3, 4]),
            tlv(SEQUENCE, &imprint),
            tlv(INTEGER, &[9]),
            tlv(GENERALIZED_TIME, b"20261130173601.25Z"),
            tlv(SEQUENCE, &tlv(INTEGER, &[1])),
            tlv(INTEGER, nonce),
        ];
        let info = value(OCTET_STRING, &value(SEQUENCE, &info.concat()));
        let encapsulated = value(SEQUENCE, &[tlv(OID, &TST_INFO), value(EXPLICIT_0, &info)].concat());
        let signed = value(SEQUENCE, &[tlv(INTEGER, &[3]), tlv(SET, &[]), encapsulated, tlv(SET, &[])].concat());
        let content = value(SEQUENCE, &[tlv(OID, &SIGNED_DATA), value(EXPLICIT_0, &signed)].concat());
        let token = if status > GRANTED_MAX { Vec::new() } else { content };
        let said = tlv(SEQUENCE, &tlv(UTF8_STRING, b"no\x1b time"));
        value(SEQUENCE, &[tlv(SEQUENCE, &[tlv(INTEGER, &[status]), said].concat()), token].concat())
    }

    #[test]
    fn an_answer_is_for_what_was_asked_or_it_is_none() {
        let (imprint, other) = (Sha256::of(b"head"), Sha256::of(b"another"));
        let parsed = |bytes: &[u8]| Response::parse(bytes).unwrap();
        let good = answer(0, imprint, &integer(NONCE));
        let token = parsed(&good).answers(imprint, NONCE).unwrap();
        assert_eq!((token.imprint, token.time.as_str()), (imprint, "2026-11-30T17:36:01.25Z"));
        assert_eq!(parsed(&good).answers(other, NONCE), Err(BadTimestamp::OtherImprint));
        assert_eq!(parsed(&good).answers(imprint, [1; 8]), Err(BadTimestamp::OtherNonce));
        let refused = parsed(&answer(2, imprint, &[])).granted().unwrap_err();
        assert_eq!(refused, BadTimestamp::Refused { status: 2, said: "no  time".into() });
        for end in 0..good.len() {
            assert_eq!(Response::parse(&good[..end]), Err(BadTimestamp::Malformed), "{end}");
        }
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 0x80;
            let _ = Response::parse(&flipped).map(Response::granted);
        }
    }

    #[test]
    fn a_request_is_der() {
        let bytes = request(Sha256([7; 32]), NONCE);
        let hex = bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        assert!(hex.starts_with("30430201013031300d060960864801650304020105000420"), "{hex}");
        assert!(hex.ends_with("02087f010203040506070101ff"), "{hex}");
    }
}
