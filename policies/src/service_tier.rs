//! How urgently a provider serves a request, as OpenAI's and Anthropic's `service_tier` names it. Each may have rates of its own.

use serde::{Deserialize, Serialize};

/// A provider's class of service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTier {
    /// What a price states first.
    Standard,
    /// Within a day.
    Batch,
    /// When there is room.
    Flex,
    /// Ahead of others.
    Priority,
}

impl ServiceTier {
    /// Those that a price may state rates of beside the standard ones.
    pub const STATED: [ServiceTier; 3] = [ServiceTier::Batch, ServiceTier::Flex, ServiceTier::Priority];

    /// As requests and answers name it; `None` for `auto`, which leaves the choice to the provider, and for names nobody knows here.
    pub fn read(name: &str) -> Option<ServiceTier> {
        match name {
            "default" | "standard" | "standard_only" => Some(ServiceTier::Standard),
            "batch" => Some(ServiceTier::Batch),
            "flex" => Some(ServiceTier::Flex),
            "priority" => Some(ServiceTier::Priority),
            _ => None,
        }
    }

    /// Its name in price lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            ServiceTier::Standard => "standard",
            ServiceTier::Batch => "batch",
            ServiceTier::Flex => "flex",
            ServiceTier::Priority => "priority",
        }
    }
}
