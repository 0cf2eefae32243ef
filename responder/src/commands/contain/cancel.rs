//! `holdfast cancel`: an order is taken back before an agent has it, of whatever kind.

use wire::OrderId;
use wire::api::CancelRequest;

use super::{answered, say};
use crate::api::Api;
use crate::commands::{Failure, IO};
use crate::config::Config;

/// Take an order back before an agent has it.
#[derive(clap::Args)]
pub struct Cancel {
    /// The order.
    order: OrderId,
    /// Why, for custody.
    #[arg(long, value_name = "TEXT", default_value = "taken back")]
    reason: String,
    /// Print the server's answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Cancel {
    /// Takes it back.
    pub fn run(self) -> Result<u8, Failure> {
        let api = Api::of(&Config::load()?)?;
        let request = CancelRequest { reason: self.reason };
        let body = serde_json::to_vec(&request).map_err(|error| Failure::new(IO, error))?;
        let path = format!("/api/v1/orders/{}/cancel", self.order);
        let view = answered(&api, api.post(&path, "application/json", body)?, self.json)?;
        if !self.json {
            say(&view, false)?;
        }
        Ok(0)
    }
}
