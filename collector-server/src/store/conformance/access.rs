//! Tickets, tokens, sessions.

use futures_util::future::join_all;
use wire::Sha256;
use wire::ticket::TicketKind;

use super::fixtures::{HOSTILE, at, session, ticket, token};
use super::{done, opened, refused};
use crate::store::{Change, SharedKey, SourceSignature, Store};

pub async fn a_ticket_lets_in_once(store: &dyn Store) {
    let id = opened(store, "INC-ticket").await;
    let mut record = ticket(1, TicketKind::Upload, Some(&id));
    let used = |at, kind| Change::UseTicket { ticket: record.ticket, at, by: HOSTILE.into(), kind };
    refused(store, used(at(1), TicketKind::Upload)).await;
    done(store, vec![Change::AddTicket(record.clone().into())]).await;
    assert_eq!(store.ticket(record.ticket).await.unwrap(), Some(record.clone()));
    refused(store, Change::AddTicket(record.clone().into())).await;
    refused(store, Change::AddTicket(ticket(2, TicketKind::Upload, Some(&"INC-none".parse().unwrap())).into())).await;
    refused(store, used(at(1), TicketKind::Enroll)).await;
    refused(store, used(at(100), TicketKind::Upload)).await;
    let last_moment = || store.commit(vec![used(wire::Instant(at(100).0 - 1), TicketKind::Upload)], vec![]);
    let rivals = join_all((0..20).map(|_| last_moment())).await;
    assert_eq!(rivals.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    refused(store, used(at(1), TicketKind::Upload)).await;
    record.used_by = Some(HOSTILE.into());
    assert_eq!(store.ticket(record.ticket).await.unwrap(), Some(record.clone()));
    done(store, vec![Change::EndTicket(record.ticket, at(50))]).await;
    refused(store, Change::EndTicket(record.ticket, at(50))).await;
    refused(store, Change::EndTicket(Sha256::of(b"none"), at(50))).await;
    record.expires = at(50);
    assert_eq!(store.ticket(record.ticket).await.unwrap(), Some(record));
    assert_eq!(store.ticket(Sha256::of(b"none")).await.unwrap(), None);
}

pub async fn a_token_ends_with_its_sessions(store: &dyn Store) {
    let (mut zoe, ada) = (token("00000000000000aa", "zoe"), token("00000000000000bb", "ada"));
    zoe.signature = Some(SourceSignature { key: SharedKey(vec![0, 0xff, 7]), scheme: "hex:X-Signature".into() });
    refused(store, Change::RevokeToken(zoe.token.clone(), at(1))).await;
    refused(store, Change::AddSession(session(1, &zoe.token))).await;
    done(store, vec![Change::AddToken(zoe.clone().into()), Change::AddToken(ada.clone().into())]).await;
    refused(store, Change::AddToken(zoe.clone().into())).await;
    assert_eq!(store.tokens().await.unwrap(), [ada.clone(), zoe.clone()]);
    assert!(format!("{zoe:?}").contains("key: ***"));

    let sessions = [session(1, &zoe.token), session(2, &zoe.token), session(3, &ada.token), session(4, &ada.token)];
    done(store, sessions.iter().cloned().map(Change::AddSession).collect()).await;
    refused(store, Change::AddSession(session(1, &ada.token))).await;
    assert_eq!(store.session(sessions[0].session).await.unwrap().as_ref(), Some(&sessions[0]));
    done(store, vec![Change::EndSession(sessions[3].session), Change::EndSession(sessions[3].session)]).await;
    done(store, vec![Change::RevokeToken(zoe.token.clone(), at(2))]).await;
    (zoe.revoked, zoe.signature) = (Some(at(2)), None);
    assert_eq!(store.token(&zoe.token).await.unwrap(), Some(zoe.clone()));
    let left = join_all(sessions.iter().map(|session| store.session(session.session))).await;
    let left: Vec<_> = left.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(left, [sessions[2].clone()]);
    refused(store, Change::RevokeToken(zoe.token.clone(), at(3))).await;
    refused(store, Change::AddSession(session(5, &zoe.token))).await;
    assert_eq!(store.token("none").await.unwrap(), None);
}

pub async fn what_servers_have_in_common_changes_from_what_it_was(store: &dyn Store) {
    let set = |from: Option<&str>, to: &str| Change::SetIdentity {
        from: from.map(str::to_owned),
        name: "signer",
        to: to.to_owned(),
    };
    assert_eq!(store.identity("signer").await.unwrap(), None);
    refused(store, set(Some("a"), "b")).await;
    done(store, vec![set(None, "a")]).await;
    refused(store, set(None, "b")).await;
    refused(store, set(Some("b"), "c")).await;
    assert_eq!(store.identity("signer").await.unwrap().as_deref(), Some("a"));
    done(store, vec![set(Some("a"), "b")]).await;
    assert_eq!(store.identity("signer").await.unwrap().as_deref(), Some("b"));
    assert_eq!(store.identity("other").await.unwrap(), None);
}
