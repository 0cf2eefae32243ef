//! A connection that must bring its first request in time: one that stops in the middle of its first line would else
//! hold its place for ever.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// See the module.
pub struct Watched<T> {
    asked: Arc<AtomicBool>,
    patience: Pin<Box<Sleep>>,
    stream: T,
}

impl<T> Watched<T> {
    /// Watches the stream; whoever gets the first request sets the flag.
    pub fn new(stream: T, patience: Duration) -> (Self, Arc<AtomicBool>) {
        let asked = Arc::new(AtomicBool::new(false));
        (Self { asked: Arc::clone(&asked), patience: Box::pin(sleep(patience)), stream }, asked)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let waits = read.is_pending() && !self.asked.load(Ordering::Relaxed);
        if waits && self.patience.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn half_a_request_ends_and_a_whole_one_may_wait() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut stream, asked) = Watched::new(ours, Duration::from_millis(10));
        theirs.write_all(b"P").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'P');
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        asked.store(true, Ordering::Relaxed);
        let pending = tokio::time::timeout(Duration::from_millis(50), stream.read_u8());
        assert!(pending.await.is_err(), "once a request came, the HTTP layer keeps the time");
    }
}
