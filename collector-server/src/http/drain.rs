//! What a client is still sending when its answer is ready.
//!
//! A request that is refused before its body was read leaves bytes on the connection. hyper then closes it, and a client
//! that is still writing, or writes its next request, finds a broken connection in the place of the answer. So a little
//! of such a body is read and thrown away first.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::oneshot;

/// What is thrown away at most; a client that sends more than that unasked must live with a closed connection.
const DRAINED_BYTES_MAX: usize = 256 << 10;
/// How long it may take.
const DRAINED_MS_MAX: u64 = 2_000;

/// The layer around all of the server.
pub async fn layer(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let (back, mut left) = oneshot::channel();
    let lent = Lent { back: Some(back), body: Some(body.into_data_stream()) };
    let response = next.run(Request::from_parts(parts, Body::from_stream(lent))).await;
    // Nothing has come back where a task goes on reading.
    if let Ok(mut left) = left.try_recv() {
        let drained = async {
            let mut bytes = 0;
            while let Some(Ok(piece)) = left.next().await {
                bytes += piece.len();
                if bytes > DRAINED_BYTES_MAX {
                    break;
                }
            }
        };
        // Late or not, the answer is the same.
        let _ = tokio::time::timeout(Duration::from_millis(DRAINED_MS_MAX), drained).await;
    }
    response
}

/// A body that comes back from whoever drops it before its end.
struct Lent {
    back: Option<oneshot::Sender<BodyDataStream>>,
    body: Option<BodyDataStream>,
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = body.poll_next_unpin(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.body = None;
        }
        polled
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(back), Some(body)) = (self.back.take(), self.body.take()) {
            // An error only says that the connection is gone.
            let _ = back.send(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use futures_util::stream;
    use tower::ServiceExt as _;

    use super::*;

    async fn sent(pieces: usize) -> (StatusCode, usize) {
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let body = stream::iter((0..pieces).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(vec![0; 64 << 10])
        }));
        let refuses = Router::new().route("/", post(|| async { StatusCode::FORBIDDEN })).layer(from_fn(layer));
        let request = Request::post("/").body(Body::from_stream(body)).unwrap();
        (refuses.oneshot(request).await.unwrap().status(), read.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_little_of_an_unread_body_is_read_and_no_more() {
        assert_eq!(sent(3).await, (StatusCode::FORBIDDEN, 3));
        assert_eq!(sent(1000).await, (StatusCode::FORBIDDEN, 5));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_holds_nobody_up() {
        let refuses = Router::new().route("/", post(|| async { StatusCode::FORBIDDEN })).layer(from_fn(layer));
        let request = Request::post("/").body(Body::from_stream(stream::pending::<std::io::Result<Bytes>>())).unwrap();
        assert_eq!(refuses.oneshot(request).await.unwrap().status(), StatusCode::FORBIDDEN);
    }
}
