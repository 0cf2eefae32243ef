//! Each change goes to the table that it is about.

use sqlx::AnyConnection;

use super::super::{Change, StoreError};
use super::{access, alerts, containment, evidence, hosts, hunts, incidents, intake, membership, orders, pages};

/// Makes the changes in their order.
pub(super) async fn make(connection: &mut AnyConnection, changes: Vec<Change>) -> Result<(), StoreError> {
    for change in changes {
        match change {
            Change::AddAlert(alert) => alerts::add(connection, &alert).await?,
            Change::MoveAlerts { alerts, from, to } => membership::move_alerts(connection, &alerts, &from, &to).await?,
            Change::AddEdit(edit) => membership::add_edit(connection, *edit).await?,
            Change::UndoEdit(edit, stamp) => membership::undo_edit(connection, edit, &stamp).await?,
            Change::AddIncident(incident) => incidents::add(connection, &incident).await?,
            Change::PutIncident(incident) => incidents::put(connection, &incident).await?,
            Change::Touch(incident, at) => incidents::touch(connection, &incident, at).await?,
            Change::AddHost(host) => hosts::add(connection, &host).await?,
            Change::PutHost(host) => hosts::put(connection, &host).await?,
            Change::HostSeen { agent, at, beat } => hosts::seen(connection, &agent, at, beat.as_ref()).await?,
            Change::HostSilent { agent, at, last_seen } => hosts::silent(connection, &agent, at, last_seen).await?,
            Change::HostBack { agent, silent } => hosts::back(connection, &agent, silent).await?,
            Change::HostWentBack { agent, at, before } => hosts::went_back(connection, &agent, at, before).await?,
            Change::AddOrder(order) => orders::add(connection, &order).await?,
            Change::AddHunt(hunt) => hunts::add(connection, &hunt).await?,
            Change::PutHunt(hunt) => hunts::put(connection, &hunt).await?,
            Change::HoldOrder { hunt, order, wave } => hunts::hold(connection, hunt, order, wave).await?,
            Change::ReleaseOrder(order, at) => hunts::release(connection, order, at).await?,
            Change::OrderEvent { from, order, event, to } => orders::event(connection, order, &from, event, to).await?,
            Change::AddApproval { approval, before, order, to } => {
                orders::approve(connection, order, *approval, before, to).await?;
            }
            Change::AddAutomation(record) => containment::add(connection, &record).await?,
            Change::PutAutomation(record) => containment::put(connection, &record).await?,
            Change::PutConsole(record) => containment::put_console(connection, &record).await?,
            Change::AddEvidence(record) => evidence::add(connection, &record).await?,
            Change::EvidenceIs { bundle, offset, state } => {
                evidence::is(connection, bundle, offset, state).await?;
            }
            Change::Advance { bundle, segment, at } => evidence::advance(connection, bundle, segment, at).await?,
            Change::Length(bundle, length) => evidence::length(connection, bundle, length).await?,
            Change::PutEvidenceView(view) => evidence::put_view(connection, *view).await?,
            Change::AddCheckpoint(checkpoint) => evidence::add_checkpoint(connection, &checkpoint).await?,
            Change::PutFindings(record) => evidence::put_findings(connection, &record).await?,
            Change::AddPage(page) => pages::add(connection, &page).await?,
            Change::PutPage(page) => pages::put(connection, &page).await?,
            Change::PutWatch { incident, version, watch, due } => {
                incidents::put_watch(connection, &incident, version, &watch, due).await?;
            }
            Change::LookNow(incident) => incidents::look_now(connection, &incident).await?,
            Change::AddTicket(ticket) => access::add_ticket(connection, &ticket).await?,
            Change::UseTicket { ticket, at, by, kind } => {
                access::use_ticket(connection, ticket, at, &by, kind).await?;
            }
            Change::EndTicket(ticket, at) => access::end_ticket(connection, ticket, at).await?,
            Change::AddLetter(letter) => intake::add(connection, &letter).await?,
            Change::LetterReplayed(letter, at) => intake::replayed(connection, letter, at).await?,
            Change::RemoveLetter(letter) => intake::remove(connection, letter).await?,
            Change::SetRules(sha256) => intake::set_rules(connection, sha256).await?,
            Change::SetIdentity { from, name, to } => {
                access::set_identity(connection, from.as_deref(), name, &to).await?;
            }
            Change::AddToken(token) => access::add_token(connection, &token).await?,
            Change::RevokeToken(token, at) => access::revoke_token(connection, &token, at).await?,
            Change::AddSession(session) => access::add_session(connection, &session).await?,
            Change::EndSession(session) => access::end_session(connection, session).await?,
        }
    }
    Ok(())
}
