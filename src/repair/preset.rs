//! The repairs that a well-known client needs, under its name.

use super::{Repair, Repairs};

/// A preset, with the client that it is for.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    pub name: &'static str,
    pub client: &'static str,
    pub repairs: Repairs,
}

pub const PRESETS: [Preset; 7] = [
    Preset {
        name: "entra",
        client: "Microsoft Entra ID",
        repairs: Repairs::of(&[
            Repair::Accept,
            Repair::PatchPathless,
            Repair::PatchUnsupported,
            Repair::Roles,
            Repair::EmptyValues,
            Repair::DisplayName,
            Repair::UserNameLower,
            Repair::GroupsMembers,
            Repair::GroupsFilter,
            Repair::GroupsPatch,
            Repair::Answers,
            Repair::Discovery,
        ]),
    },
    Preset {
        name: "okta",
        client: "Okta",
        repairs: Repairs::of(&[
            Repair::PatchPathless,
            Repair::PatchUnsupported,
            Repair::Roles,
            Repair::EmptyValues,
            Repair::DisplayName,
            Repair::UserNameLower,
            Repair::GroupsMembers,
            Repair::GroupsPatch,
            Repair::Answers,
        ]),
    },
    Preset {
        name: "onelogin",
        client: "OneLogin",
        repairs: Repairs::of(&[Repair::EmptyValues, Repair::DisplayName, Repair::GroupsPatch]),
    },
    Preset {
        name: "jumpcloud",
        client: "JumpCloud",
        repairs: Repairs::of(&[Repair::DisplayName, Repair::GroupsMembers, Repair::GroupsPatch]),
    },
    Preset {
        name: "authentik",
        client: "authentik",
        repairs: Repairs::of(&[
            Repair::PatchPathless,
            Repair::PatchUnsupported,
            Repair::EmptyValues,
            Repair::GroupsMembers,
            Repair::GroupsFilter,
            Repair::GroupsPatch,
        ]),
    },
    Preset {
        name: "keycloak",
        client: "SCIM plugins for Keycloak",
        repairs: Repairs::of(&[Repair::Roles]),
    },
    Preset {
        name: "google",
        client: "Google Workspace",
        repairs: Repairs::of(&[Repair::DisplayName, Repair::GroupsMembers]),
    },
];

/// The repairs under a name: a repair itself, or those of a preset.
pub fn named(name: &str) -> Option<Repairs> {
    let preset = PRESETS.iter().find(|preset| preset.name == name);
    preset
        .map(|preset| preset.repairs)
        .or_else(|| Repair::from_name(name).map(|repair| Repairs::of(&[repair])))
}

/// All names that [`named`] knows: presets, then repairs.
pub fn names() -> impl Iterator<Item = &'static str> {
    let presets = PRESETS.iter().map(|preset| preset.name);
    presets.chain(Repair::ALL.iter().map(|repair| repair.name()))
}
