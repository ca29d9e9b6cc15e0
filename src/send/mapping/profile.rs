//! Whose words events are in, and what the user chooses beside.

use std::fmt;
use std::str::FromStr;

use super::message::Call;
use crate::config::complaint::suggestion;

/// Whose way of mapping calls is followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// hogline's own: what is good in the others.
    #[default]
    Hogline,
    /// PostHog's own destination in Segment.
    Segment,
    /// PostHog's destination in RudderStack.
    Rudderstack,
}

impl Profile {
    /// Every profile by its name.
    pub const ALL: [(&'static str, Self); 3] = [
        ("hogline", Self::Hogline),
        ("segment", Self::Segment),
        ("rudderstack", Self::Rudderstack),
    ];

    /// What the user calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hogline => "hogline",
            Self::Segment => "segment",
            Self::Rudderstack => "rudderstack",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, profile)| *profile).ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name);
            format!("unknown profile \"{text}\", {}", suggestion(text, &names))
        })
    }
}

/// What the user may choose of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The type of a group whose message names none.
    pub default_group_type: Option<String>,
    /// Whether `context.traits` are set on the person by other calls than identify, too.
    pub set_traits_on_all_calls: bool,
    /// Whether events of nobody known (`anonymousId` alone) are stored without a person.
    /// PostHog cannot join them to the person later.
    pub anonymous_without_person: bool,
    /// Whether RudderStack's group calls name their group, as its switch of this name has it.
    /// Without, PostHog would be told of no group, so they are rejected. Of the profile
    /// `rudderstack` alone.
    pub use_v2_group: bool,
}

impl Options {
    /// Whether what the context of this call knows of the person is set on it.
    pub(super) fn sets_traits_by(&self, call: Call) -> bool {
        self.set_traits_on_all_calls && call != Call::Identify
    }

    /// What a profile has where nobody chooses.
    pub fn of(profile: Profile) -> Self {
        let default_group_type = match profile {
            Profile::Hogline => Some("group".to_owned()),
            Profile::Segment => Some("segment_group".to_owned()),
            Profile::Rudderstack => None,
        };
        Self {
            default_group_type,
            set_traits_on_all_calls: profile != Profile::Segment,
            anonymous_without_person: false,
            use_v2_group: true,
        }
    }
}
