//! The body of a `PATCH`: with a checksum all of it or nothing, without one as far as it comes.

use std::time::Duration;

use axum::body::BodyDataStream;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use sha2::Digest as _;
use tokio::time::{Instant, timeout, timeout_at};
use wire::Sha256;
use wire::agent_api::CHUNK_BYTES_MAX;

use crate::app::uploads::append::Append;
use crate::app::{App, Problem, ProblemKind};
use crate::store::EvidenceRecord;

/// A body with a checksum is held in memory until it is checked.
const CHECKED_BYTES_MAX: usize = 2 * CHUNK_BYTES_MAX;
/// How long the next bytes may take.
const PAUSE_SECS_MAX: u64 = 30;
/// How long a segment may take: 8 MiB over a line of 256 kbit/s. Slower ones send shorter segments.
const SEGMENT_SECS_MAX: u64 = 270;

/// Why a body was not kept, or not all of it.
pub enum Refused {
    /// The bytes are others than were announced.
    Checksum,
    /// Anything else.
    Problem(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// What the next step of reading gave.
enum Piece {
    Bytes(Bytes),
    End,
    /// The connection dropped, fell silent, or somebody else wants to write.
    Broken(&'static str),
}

/// Reads the body and keeps it. Returns the record as it stands then.
///
/// # Errors
/// [`Refused`].
pub async fn keep(
    app: &App,
    append: Append,
    body: BodyDataStream,
    checksum: Option<Sha256>,
) -> Result<EvidenceRecord, Refused> {
    match checksum {
        Some(checksum) => keep_checked(append, body, checksum).await,
        None => Ok(keep_as_it_comes(app, append, body).await?),
    }
}

/// All of the body, or nothing. A server that stops reads on for as long as it has patience with its connections.
async fn keep_checked(
    mut append: Append,
    mut body: BodyDataStream,
    checksum: Sha256,
) -> Result<EvidenceRecord, Refused> {
    let deadline = Instant::now() + Duration::from_secs(SEGMENT_SECS_MAX);
    // As long as programs cut them: what is not written to is no memory.
    let (mut whole, mut hasher) = (BytesMut::with_capacity(CHUNK_BYTES_MAX), sha2::Sha256::new());
    loop {
        match next(&append, &mut body, deadline).await {
            Piece::Bytes(piece) if whole.len() + piece.len() > CHECKED_BYTES_MAX => {
                let problem =
                    Problem::new(ProblemKind::TooLarge, "a body with a checksum is longer than is held in memory");
                return Err(problem.hint(format!("send at most {CHECKED_BYTES_MAX} bytes at once")).into());
            }
            Piece::Bytes(piece) => {
                // As it comes, a few kilobytes at a time: the digest is there when the last of them is.
                hasher.update(&piece);
                whole.extend_from_slice(&piece);
            }
            Piece::End => break,
            Piece::Broken(why) => return Err(broken(why).into()),
        }
    }
    if Sha256(hasher.finalize().into()) != checksum {
        return Err(Refused::Checksum);
    }
    append.segment_of(whole.freeze(), Some(checksum)).await?;
    Ok(append.into_record())
}

/// All of a body of at most `bytes_max`, in memory.
///
/// # Errors
/// [`ProblemKind::TooLarge`], [`ProblemKind::Locked`] when it was broken off.
pub async fn whole(mut body: BodyDataStream, bytes_max: usize) -> Result<Bytes, Problem> {
    let deadline = Instant::now() + Duration::from_secs(SEGMENT_SECS_MAX);
    let mut whole = BytesMut::new();
    loop {
        match arriving(&mut body, deadline).await {
            Piece::Bytes(piece) if whole.len() + piece.len() > bytes_max => {
                return Err(Problem::new(ProblemKind::TooLarge, format!("the body is longer than {bytes_max} bytes")));
            }
            Piece::Bytes(piece) => whole.extend_from_slice(&piece),
            Piece::End => return Ok(whole.freeze()),
            Piece::Broken(why) => return Err(broken(why)),
        }
    }
}

/// In segments, as far as it comes.
async fn keep_as_it_comes(app: &App, mut append: Append, mut body: BodyDataStream) -> Result<EvidenceRecord, Problem> {
    let patience = Duration::from_secs(SEGMENT_SECS_MAX);
    let (mut held, mut deadline) = (BytesMut::new(), Instant::now() + patience);
    let ended = loop {
        let piece = tokio::select! {
            biased;
            () = app.stop.cancelled() => {
                break Err(Problem::new(ProblemKind::Unavailable, "the server stops; what came is kept")
                    .hint("ask for the offset and go on there"));
            }
            piece = next(&append, &mut body, deadline) => piece,
        };
        match piece {
            Piece::Bytes(piece) => held.extend_from_slice(&piece),
            Piece::End => break Ok(()),
            Piece::Broken(why) => break Err(broken(why)),
        }
        while held.len() >= CHUNK_BYTES_MAX {
            append.segment(held.split_to(CHUNK_BYTES_MAX).freeze()).await?;
            deadline = Instant::now() + patience;
        }
        if held.len() as u64 > append.room() {
            break Err(Problem::new(ProblemKind::TooLarge, "there are more bytes than the upload was declared with")
                .hint("the length of an upload never changes"));
        }
    };
    held.truncate(usize::try_from(append.room()).unwrap_or(usize::MAX));
    append.segment(held.freeze()).await?;
    ended.map(|()| append.into_record())
}

async fn next(append: &Append, body: &mut BodyDataStream, deadline: Instant) -> Piece {
    tokio::select! {
        piece = arriving(body, deadline) => piece,
        () = append.taken_over() => Piece::Broken("another request took over"),
    }
}

async fn arriving(body: &mut BodyDataStream, deadline: Instant) -> Piece {
    match timeout_at(deadline, timeout(Duration::from_secs(PAUSE_SECS_MAX), body.next())).await {
        Ok(Ok(Some(Ok(bytes)))) => Piece::Bytes(bytes),
        Ok(Ok(None)) => Piece::End,
        Ok(Ok(Some(Err(_)))) => Piece::Broken("the connection dropped"),
        Ok(Err(_)) => Piece::Broken("no more bytes came"),
        Err(_) => Piece::Broken("it took too long"),
    }
}

fn broken(why: &str) -> Problem {
    Problem::new(ProblemKind::Locked, format!("the upload was broken off: {why}"))
        .hint("ask for the offset and go on there")
}
