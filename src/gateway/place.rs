//! What is at which path.

use crate::send::mapping::Call;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// One message, of this type.
    One(&'static str),
    /// A batch of messages.
    Many,
    /// Whether the process lives.
    Health,
    /// Whether it takes messages now.
    Ready,
    /// Figures for Prometheus.
    Metrics,
}

impl Place {
    /// What is at `path`, with a slash at its end or without.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path.trim_matches('/') {
            "health" | "healthz" => Some(Self::Health),
            "ready" | "readyz" => Some(Self::Ready),
            "metrics" => Some(Self::Metrics),
            "v1/batch" | "v1/import" | "v1/b" | "b" | "beacon/v1/batch" => Some(Self::Many),
            path => {
                let (is_versioned, name) =
                    path.strip_prefix("v1/").map_or((false, path), |name| (true, name));
                // Segment's library for browsers says `/v1/t` for `/v1/track`, or `/t`.
                let called = |call: &str| name == &call[..1] || (is_versioned && name == call);
                Call::ALL.iter().find(|(call, _)| called(call)).map(|(call, _)| Self::One(call))
            }
        }
    }

    /// Whether messages come here.
    pub(super) fn takes_messages(self) -> bool {
        matches!(self, Self::One(_) | Self::Many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_where_segment_and_rudderstack_have_it() {
        for (path, expected) in [
            ("/v1/identify", Some(Place::One("identify"))),
            ("/v1/track", Some(Place::One("track"))),
            ("/v1/page", Some(Place::One("page"))),
            ("/v1/screen", Some(Place::One("screen"))),
            ("/v1/group", Some(Place::One("group"))),
            ("/v1/alias", Some(Place::One("alias"))),
            ("/v1/batch", Some(Place::Many)),
            ("/v1/batch/", Some(Place::Many)),
            ("/v1/import", Some(Place::Many)),
            ("/beacon/v1/batch", Some(Place::Many)),
            ("/i", Some(Place::One("identify"))),
            ("/t", Some(Place::One("track"))),
            ("/p", Some(Place::One("page"))),
            ("/s", Some(Place::One("screen"))),
            ("/g", Some(Place::One("group"))),
            ("/a", Some(Place::One("alias"))),
            ("/b", Some(Place::Many)),
            ("/v1/t", Some(Place::One("track"))),
            ("/v1/b", Some(Place::Many)),
            ("/health", Some(Place::Health)),
            ("/healthz", Some(Place::Health)),
            ("/ready", Some(Place::Ready)),
            ("/metrics", Some(Place::Metrics)),
            ("/", None),
            ("/track", None),
            // PostHog's own.
            ("/batch/", None),
            ("/v2/track", None),
            ("/v1/v1/t", None),
        ] {
            assert_eq!(Place::at(path), expected, "{path}");
        }
    }
}
