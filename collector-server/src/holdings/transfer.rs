//! Objects from one place to another. Each is read once, compared with what the records say of it, and put only where
//! nothing is: what was copied before, by this run or by one that was broken off, is left as it is.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt as _};
use wire::Sha256;

use super::{Holding, Holdings};
use crate::objects::{OBJECT_BYTES_MAX, ObjectError, Objects};
use crate::store::{Store, StoreError};

/// Objects that are on their way at a time; each is in memory as a whole.
const AT_A_TIME: usize = 8;

/// An object that was copied, as it lies in both places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its length.
    pub bytes: u64,
    /// True when it had been copied before.
    pub was_there: bool,
    /// Its path.
    pub path: String,
    /// Its digest.
    pub sha256: Sha256,
}

/// Why an object was not copied.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// It is not what the records say.
    #[error("object {path} is not the one that the records name: {what}")]
    Damaged {
        /// The object.
        path: String,
        /// In what.
        what: &'static str,
    },
    /// An object store failed, or has no such object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The records could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of all of them.
#[derive(Debug, Default)]
pub struct Transfer {
    /// Bytes that were copied now.
    pub bytes_new: u64,
    /// All of them.
    pub moved: Vec<Moved>,
    /// Dead letters that were replayed and taken away meanwhile.
    pub went: Vec<String>,
}

impl Transfer {
    /// Copies these objects. Those whose length and digest an earlier copy wrote down, and that are there in that length,
    /// are not read again.
    ///
    /// # Errors
    /// [`TransferError`] for the first that is missing or damaged.
    pub async fn add(
        &mut self,
        some: Vec<Holding>,
        from: &Objects,
        to: &Objects,
        known: &HashMap<String, (u64, Sha256)>,
    ) -> Result<(), TransferError> {
        let mut moves =
            stream::iter(some).map(|holding| move_one(holding, from, to, known)).buffer_unordered(AT_A_TIME);
        while let Some(moved) = moves.next().await {
            match moved? {
                Ok(moved) => {
                    self.bytes_new += if moved.was_there { 0 } else { moved.bytes };
                    self.moved.push(moved);
                }
                Err(path) => self.went.push(path),
            }
        }
        Ok(())
    }

    /// Copies every object that the records name.
    ///
    /// # Errors
    /// As [`Transfer::add`].
    pub async fn all(
        store: &dyn Store,
        from: &Objects,
        to: &Objects,
        known: &HashMap<String, (u64, Sha256)>,
    ) -> Result<Self, TransferError> {
        let (mut holdings, mut done) = (Holdings::default(), Self::default());
        while let Some(some) = holdings.next(store).await? {
            done.add(some, from, to, known).await?;
        }
        done.moved.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(done)
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.moved.iter().map(|moved| moved.bytes).sum()
    }

    /// How many were copied now.
    pub fn count_new(&self) -> usize {
        self.moved.iter().filter(|moved| !moved.was_there).count()
    }
}

/// The inner error is the path of one that may go and went.
async fn move_one(
    holding: Holding,
    from: &Objects,
    to: &Objects,
    known: &HashMap<String, (u64, Sha256)>,
) -> Result<Result<Moved, String>, TransferError> {
    let path = holding.path.clone();
    if let Some((bytes, sha256)) = known.get(&path)
        && to.length(&path).await? == Some(*bytes)
    {
        return Ok(Ok(Moved { bytes: *bytes, was_there: true, path, sha256: *sha256 }));
    }
    let content = match from.read(&path, OBJECT_BYTES_MAX).await {
        Err(ObjectError::Missing(_)) if holding.may_go => return Ok(Err(path)),
        content => content?,
    };
    let sha256 = {
        let content = content.clone();
        tokio::task::spawn_blocking(move || Sha256::of(&content))
            .await
            .map_err(|error| StoreError::Backend(error.into()))?
    };
    holding.check(content.len() as u64, sha256).map_err(|what| TransferError::Damaged { path: path.clone(), what })?;
    let bytes = content.len() as u64;
    let was_there = to.length(&path).await?.is_some();
    // Other bytes at this path are an error, and the same are none.
    to.put_new(&path, content).await?;
    Ok(Ok(Moved { bytes, was_there, path, sha256 }))
}

impl Holding {
    /// Compares it with an object.
    ///
    /// # Errors
    /// In what it differs.
    pub fn check(&self, bytes: u64, sha256: Sha256) -> Result<(), &'static str> {
        if self.bytes.is_some_and(|wanted| wanted != bytes) {
            return Err("its length is another");
        }
        if self.sha256.is_some_and(|wanted| wanted != sha256) {
            return Err("its digest is another");
        }
        Ok(())
    }
}
