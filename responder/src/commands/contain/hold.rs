//! `holdfast release` and `holdfast renew`: what an order did is taken back, or holds for longer. Each is an order of its own.

use anyhow::anyhow;
use wire::OrderId;
use wire::containment::Directive;

use super::{Failure, Telling, give, lease, new_order, order_view, valid};
use crate::api::Api;
use crate::commands::INPUT;
use crate::commands::follow::Goal;
use crate::config::Config;
use crate::order_key::OrderKey;

/// Take back what a containment order did.
#[derive(clap::Args)]
pub struct Release {
    #[command(flatten)]
    what: What,
}

/// Have what a containment order did hold for longer.
#[derive(clap::Args)]
pub struct Renew {
    #[command(flatten)]
    what: What,
    /// How long from now: 30m, 4h; at most 4 hours.
    #[arg(long, value_name = "TIME", value_parser = lease)]
    lease: u64,
}

#[derive(clap::Args)]
struct What {
    /// The order that applied it.
    order: OrderId,
    /// Why; it stands in the order.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How long the agent may take it: 30m, 1h; at most 24 hours.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = valid)]
    valid: u64,
    /// Show what happens until it is done.
    #[arg(long)]
    follow: bool,
    /// Print the server's answer as JSON; with --follow one object for each event.
    #[arg(long)]
    json: bool,
}

impl Release {
    /// Makes, signs and sends the order.
    pub fn run(self) -> Result<u8, Failure> {
        let contains = self.what.order;
        self.what.order(Directive::Release { contains })
    }
}

impl Renew {
    /// Makes, signs and sends the order.
    pub fn run(self) -> Result<u8, Failure> {
        let contains = self.what.order;
        self.what.order(Directive::Renew { contains, lease_secs: self.lease })
    }
}

impl What {
    fn order(self, directive: Directive) -> Result<u8, Failure> {
        let config = Config::load()?;
        let key = OrderKey::configured(&config)?;
        let api = Api::of(&config)?;
        let applied = order_view(&api, self.order)?;
        if !matches!(applied.directive, Some(Directive::Apply { .. })) {
            return Err(Failure::new(INPUT, anyhow!("order {} applied nothing", self.order))
                .hint("name the order that did: holdfast incident show lists them"));
        }
        let order = new_order((applied.incident, applied.agent), directive, self.reason, self.valid)?;
        give(&api, &key, &order, Telling { follow: self.follow, json: self.json }, Goal::Order)
    }
}
