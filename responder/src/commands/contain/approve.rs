//! `holdfast approve`: one more signature over an order that somebody else signed. What is signed is shown first, byte for
//! byte, and whom it would touch by the host's last word.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::anyhow;
use bundle::sign::{fingerprint, open_by_anybody};
use wire::OrderId;
use wire::api::{IncidentView, OrderView};
use wire::containment::{Approval, ContainmentEvent, ContainmentOrder, EvidenceBasis, Preview};
use wire::order::{OrderEvent, OrderState};
use wire::signed::{Signed, namespace};

use super::{answered, order_view, say, touched};
use crate::api::{self, Api};
use crate::commands::{Failure, INPUT, IO, REFUSED, USAGE};
use crate::config::Config;
use crate::escape::shown;
use crate::order_key::OrderKey;
use crate::show::{print, remark, time};

/// Approve a containment order that somebody else signed.
#[derive(clap::Args)]
pub struct Approve {
    /// The order.
    order: OrderId,
    /// Sign without asking.
    #[arg(long)]
    yes: bool,
    /// Print the server's answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Approve {
    /// Shows the order, signs it and sends the signature.
    pub fn run(self) -> Result<u8, Failure> {
        let config = Config::load()?;
        let key = OrderKey::configured(&config)?;
        let api = Api::of(&config)?;
        let view = order_view(&api, self.order)?;
        if view.state != OrderState::AwaitingApproval {
            let state = view.state.name().replace('_', " ");
            return Err(Failure::new(REFUSED, anyhow!("order {} is {state}: it waits for no approval", self.order))
                .hint(format!("holdfast follow {}", self.order)));
        }
        let signed: Signed = api::read(api.server(), api.get(&format!("/api/v1/orders/{}/signed", self.order))?)?;
        let not_it = |why: String| {
            Failure::new(INPUT, anyhow!("what the server has under {} cannot be approved: {why}", self.order))
                .hint("do not sign it; ask who gave the order")
        };
        // The server is not believed: what is shown is read from the bytes that are signed.
        let (message, first) =
            open_by_anybody(&signed, namespace::CONTAIN).map_err(|error| not_it(error.to_string()))?;
        let order: ContainmentOrder = serde_json::from_slice(&message).map_err(|error| not_it(error.to_string()))?;
        if order.order != self.order {
            return Err(not_it(format!("it is order {}", order.order)));
        }
        let incident: IncidentView =
            api::read(api.server(), api.get(&format!("/api/v1/incidents/{}", order.incident))?)?;
        let text = described(&order, &signed, &fingerprint(&first), &message, preview(&incident, &view));
        // With --json the data is the server's answer alone.
        if self.json {
            remark(&text);
        } else {
            print(&text)?;
        }
        if !self.yes && !confirmed(&key)? {
            remark("nothing was signed");
            return Ok(REFUSED);
        }
        let approval = key.sign_order(namespace::CONTAIN, &message)?;
        let approval = Approval { principal: approval.principal, sig_ssh: approval.sig_ssh };
        let body = serde_json::to_vec(&approval).map_err(|error| Failure::new(IO, error))?;
        let path = format!("/api/v1/orders/{}/approvals", self.order);
        let view = answered(&api, api.post(&path, "application/json", body)?, self.json)?;
        if !self.json {
            say(&view, false)?;
        }
        Ok(0)
    }
}

fn confirmed(key: &OrderKey) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(USAGE, anyhow!("nobody can be asked: standard input is no terminal"))
            .hint("--yes signs without asking"));
    }
    remark(&format!("sign this as {}? type yes:", key.principal()));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::new(IO, error))?;
    Ok(answer.trim() == "yes")
}

/// Whom it touches: what the host told last, of this order or of another one of the incident.
fn preview<'a>(incident: &'a IncidentView, view: &'a OrderView) -> Option<(&'a Preview, wire::Instant)> {
    let orders = std::iter::once(view).chain(incident.orders.iter().filter(|order| order.agent == view.agent));
    let planned = orders.flat_map(|order| &order.events).filter_map(|event| match &event.event {
        OrderEvent::Containment { told: ContainmentEvent::Planned { preview, .. }, .. } => Some((preview, event.time)),
        _ => None,
    });
    planned.max_by_key(|(_, time)| *time)
}

fn described(
    order: &ContainmentOrder,
    signed: &Signed,
    key: &str,
    message: &[u8],
    preview: Option<(&Preview, wire::Instant)>,
) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(out, "{name:<10}{}", shown(text));
    };
    line("order", &order.order.to_string());
    line("what", &order.directive.to_string());
    line("host", order.agent.as_str());
    line("incident", order.incident.as_str());
    line("signed by", &format!("{} ({key})", signed.principal));
    line("issued", &time(order.issued));
    line("expires", &time(order.expires));
    line("reason", order.reason.as_deref().unwrap_or("none given"));
    line(
        "evidence",
        &match &order.evidence {
            None => "nothing is said of it".to_owned(),
            Some(EvidenceBasis::Receipted { bundle, .. }) => {
                format!("the volatile tier is on the server, bundle {bundle}")
            }
            Some(EvidenceBasis::BudgetSpent { lost, .. }) => format!("LOST: {lost}"),
            Some(EvidenceBasis::Waived { because }) => format!("waived: {because}"),
        },
    );
    match preview {
        None => line("touches", "not known: nobody rehearsed it at this host (holdfast contain … --rehearse)"),
        Some((preview, at)) => {
            line("touches", &format!("{} (the host said so at {})", touched::counts(preview), time(at)));
            for (kind, item) in touched::items(preview) {
                line(&format!("  {kind}"), &item);
            }
        }
    }
    let _ = writeln!(out, "\nthe bytes that are signed, namespace {}:", namespace::CONTAIN);
    let _ = writeln!(out, "{}", shown(&String::from_utf8_lossy(message)));
    out
}
