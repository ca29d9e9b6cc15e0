//! The line on which a store keeps its records, and stretches of it.
//!
//! Records lie by (UTC day, name, hash). A [`Place`] is a point of that line: all
//! before it is done, nothing after it is. A [`Chunk`] is what lies between two
//! places, so chunks that follow each other leave nothing out, also of names and
//! days that nobody had counted. Places are stored: day, name and hash as texts
//! whose first is a bare day, or one instant. Nothing here asks or counts.

use crate::cursor::{Interval, Timestamp};
use crate::fetch::keyset::{DAY, Query};
use crate::spec::endpoint::{Chunks, Keyset};

/// How many texts name a place inside of a day.
const PARTS: usize = 3;

/// A point of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind all that happened before an instant.
    At(Timestamp),
    /// Inside of a day.
    Within(Point),
}

/// A point inside of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    /// The instant at which the day begins.
    pub(super) day: Timestamp,
    /// Records of lesser names are done.
    pub(super) name: String,
    /// Of the name itself those with a lesser hash are done; all where there is none.
    pub(super) hash: Option<u64>,
}

impl Place {
    /// As it is stored.
    pub(super) fn to_texts(&self) -> Vec<String> {
        match self {
            Self::At(at) => vec![at.to_string()],
            Self::Within(Point { day, name, hash }) => {
                let hash = hash.map_or_else(String::new, |hash| hash.to_string());
                vec![day.day(), name.clone(), hash]
            }
        }
    }

    /// Reads what was stored; the key of a row is a place by its time alone.
    fn of_texts(texts: &[String]) -> Option<Self> {
        let day = Timestamp::parse(texts.first()?)?;
        match texts {
            [bare, name, hash, ..] if is_bare_day(bare) => {
                let (name, hash) = (name.clone(), hash.parse().ok());
                Some(Self::Within(Point { day, name, hash }))
            }
            _ => Some(Self::At(day)),
        }
    }

    /// The first instant that may still have something to read.
    pub(super) fn from(&self) -> Timestamp {
        match self {
            Self::At(at) => *at,
            Self::Within(point) => point.day,
        }
    }

    /// The first instant that has nothing before this place.
    fn to(&self) -> Timestamp {
        match self {
            Self::At(at) => *at,
            Self::Within(point) => point.day.plus(DAY),
        }
    }

    /// Whether it lies between two hashes of one name.
    pub(super) fn has_hash(&self) -> bool {
        matches!(self, Self::Within(Point { hash: Some(_), .. }))
    }
}

/// Whether a walk was stored by its place on the line.
pub(in crate::fetch) fn is_on_line(at: Option<&Vec<String>>, key: usize) -> bool {
    at.is_some_and(|at| at.len() == 2 * PARTS + key || at.first().is_some_and(|at| is_bare_day(at)))
}

fn is_bare_day(text: &str) -> bool {
    text.len() == "2026-01-01".len()
}

/// Where a walk stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// All before it is done.
    pub(super) place: Place,
    /// The end of the chunk that is walked by key, and the last key.
    pub(super) inside: Option<(Place, Vec<String>)>,
}

impl Standing {
    /// Where an earlier run stood, or the beginning; a key has so many parts.
    pub(super) fn of(at: Option<Vec<String>>, from: Timestamp, key: usize) -> Self {
        let at = at.unwrap_or_default();
        let place = Place::of_texts(&at).unwrap_or(Place::At(from));
        let inside = (at.len() == 2 * PARTS + key).then(|| {
            let to = Place::of_texts(&at[PARTS..2 * PARTS]).unwrap_or(Place::At(from));
            (to, at[2 * PARTS..].to_vec())
        });
        Self { place, inside }
    }
}

/// What lies between two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fetch) struct Chunk {
    /// The range of time that is read at all.
    pub(super) range: Interval,
    /// Where it begins.
    pub(super) from: Place,
    /// Where it ends.
    pub(super) to: Place,
    /// Whether the server knows the hash; without it a chunk is as wide as its names.
    pub(super) by_hash: bool,
}

impl Chunk {
    /// The time it spans; nothing where it is empty.
    pub(in crate::fetch) fn window(&self) -> Option<Interval> {
        let Interval { from, to } = self.range;
        Interval::new(self.from.from().max(from), self.to.to().min(to))
    }

    /// As a walk inside of it is stored that came to a key.
    pub(in crate::fetch) fn texts_inside(&self, key: &[String]) -> Vec<String> {
        let padded = |place: &Place| {
            let mut texts = place.to_texts();
            texts.resize(PARTS, String::new());
            texts
        };
        [padded(&self.from), padded(&self.to), key.to_vec()].concat()
    }

    /// What holds of its records, besides the time.
    pub(in crate::fetch) fn bounds(
        &self,
        keyset: &Keyset,
        chunks: &Chunks,
        query: &mut Query,
    ) -> Vec<String> {
        let Some(window) = self.window() else { return Vec::new() };
        let time = keyset.time.as_deref().unwrap_or_default();
        let by = keyset.expression(&chunks.by);
        let mut bounds = Vec::new();
        if let Place::Within(Point { day, name, hash }) = &self.from {
            let name = query.value("after", name);
            let mut after = match hash {
                None => format!("{by} > {name}"),
                Some(_) if !self.by_hash => format!("{by} >= {name}"),
                Some(hash) => {
                    let hash = format!("{} >= {}", chunks.hash, query.number("after_hash", *hash));
                    format!("{by} >= {name} AND ({by} > {name} OR {hash})")
                }
            };
            if window.to > day.plus(DAY) {
                let next = query.time("after_day", day.plus(DAY));
                after = format!("({time} >= {next} OR ({after}))");
            }
            bounds.push(after);
        }
        if let Place::Within(Point { day, name, hash }) = &self.to {
            let name = query.value("upto", name);
            let mut upto = match hash {
                Some(hash) if self.by_hash => {
                    let hash = format!("{} < {}", chunks.hash, query.number("upto_hash", *hash));
                    format!("{by} <= {name} AND ({by} < {name} OR {hash})")
                }
                _ => format!("{by} <= {name}"),
            };
            if window.from < *day {
                let before = query.time("upto_day", *day);
                upto = format!("({time} < {before} OR ({upto}))");
            }
            bounds.push(upto);
        }
        bounds
    }

    /// Whether a record belongs here, as far as its time and name tell. A name that had to be
    /// repaired sorts elsewhere here than at the server, and tells nothing.
    pub(super) fn holds(&self, at: Timestamp, name: &str) -> bool {
        let inside = |window: Interval| window.from <= at && at < window.to;
        let is_repaired = name.contains('\u{fffd}');
        let after = match &self.from {
            Place::Within(from) if at < from.day.plus(DAY) => match from.hash {
                None => name > from.name.as_str(),
                Some(_) => name >= from.name.as_str(),
            },
            _ => true,
        };
        let upto = match &self.to {
            Place::Within(to) if at >= to.day => name <= to.name.as_str(),
            _ => true,
        };
        self.window().is_some_and(inside) && (is_repaired || after && upto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::endpoint::Paging;
    use crate::spec::registry::Registry;

    fn t(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn within(day: &str, name: &str, hash: Option<u64>) -> Place {
        Place::Within(Point { day: t(day), name: name.into(), hash })
    }

    fn chunk(from: Place, to: Place) -> Chunk {
        let range = Interval { from: t("2026-03-01T06:00"), to: t("2026-03-05") };
        Chunk { range, from, to, by_hash: true }
    }

    /// The conditions of a chunk of events, with their values in place.
    fn bounds(chunk: &Chunk) -> Vec<String> {
        let registry = Registry::load(&[]).unwrap();
        let Paging::Keyset(keyset) = &registry.find("events").unwrap().read[0].paging else {
            panic!("events are read by key")
        };
        let mut query = Query::default();
        let bounds = chunk.bounds(keyset, keyset.chunks.as_ref().unwrap(), &mut query);
        let fill = |text: String| {
            query.values.iter().fold(text, |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), &value.to_string().replace('"', "'"))
            })
        };
        bounds.into_iter().map(fill).collect()
    }

    #[test]
    fn a_chunk_inside_of_a_day_is_bound_by_names_and_hashes() {
        let inside =
            chunk(within("2026-03-02", "a", Some(7)), within("2026-03-02", "c", Some(u64::MAX)));

        assert_eq!(
            bounds(&inside),
            [
                "event >= 'a' AND (event > 'a' OR cityHash64(distinct_id) >= 7)",
                "event <= 'c' AND (event < 'c' OR cityHash64(distinct_id) < 18446744073709551615)",
            ]
        );
        assert_eq!(inside.window().unwrap().from, t("2026-03-02"));
        assert_eq!(inside.window().unwrap().to, t("2026-03-03"));
    }

    #[test]
    fn a_chunk_over_days_bounds_the_first_and_the_last_of_them() {
        let long = chunk(within("2026-03-01", "a", None), within("2026-03-03", "c", None));

        assert_eq!(
            bounds(&long),
            [
                "(timestamp >= toDateTime('2026-03-02T00:00:00.000000Z') OR (event > 'a'))",
                "(timestamp < toDateTime('2026-03-03T00:00:00.000000Z') OR (event <= 'c'))",
            ]
        );
        assert_eq!(long.window().unwrap().from, t("2026-03-01T06:00"), "the range begins there");
    }

    #[test]
    fn a_server_without_the_hash_is_asked_for_whole_names() {
        let cut = chunk(within("2026-03-02", "a", Some(7)), within("2026-03-02", "c", Some(9)));

        let bounds = bounds(&Chunk { by_hash: false, ..cut });

        assert_eq!(bounds, ["event >= 'a'", "event <= 'c'"]);
    }

    #[test]
    fn whole_days_need_no_bounds() {
        let days = chunk(Place::At(t("2026-03-01T06:00")), Place::At(t("2026-03-04")));

        assert!(bounds(&days).is_empty());
    }

    #[test]
    fn a_record_elsewhere_is_noticed() {
        let cut = chunk(within("2026-03-02", "b", None), within("2026-03-03", "d", Some(9)));
        for (at, name, holds) in [
            ("2026-03-02T10:00", "b", false),
            ("2026-03-02T10:00", "c", true),
            ("2026-03-02T10:00", "z", true),
            ("2026-03-03T10:00", "a", true),
            ("2026-03-03T10:00", "d", true),
            ("2026-03-03T10:00", "e", false),
            ("2026-03-03T10:00", "x\u{fffd}", true),
            ("2026-03-01T10:00", "c", false),
            ("2026-03-04T00:00", "c", false),
        ] {
            assert_eq!(cut.holds(t(at), name), holds, "{at} {name}");
        }
    }

    #[test]
    fn a_walk_goes_on_where_it_stood() {
        let start = t("2026-03-01");
        for place in [
            Place::At(t("2026-03-01T06:00:00.5Z")),
            within("2026-03-02", "a", Some(7)),
            within("2026-03-02", "2026-03-02", None),
        ] {
            let texts = place.to_texts();
            let standing = Standing::of(Some(texts.clone()), start, 5);
            assert_eq!(standing, Standing { place: place.clone(), inside: None });
            assert_eq!(is_on_line(Some(&texts), 5), matches!(place, Place::Within(_)));
        }
        let key: Vec<String> = ["2026-03-02T01:00:00Z", "k", "e", "d", "c"].map(Into::into).into();
        for from in [Place::At(t("2026-03-02")), within("2026-03-02", "a", None)] {
            let inside = chunk(from.clone(), within("2026-03-02", "b", Some(9)));
            let texts = inside.texts_inside(&key);
            assert!(is_on_line(Some(&texts), 5));
            let standing = Standing::of(Some(texts), start, 5);
            let inside = Some((inside.to, key.clone()));
            assert_eq!(standing, Standing { place: from, inside });
        }
        assert!(!is_on_line(Some(&key), 5));
        assert_eq!(Standing::of(Some(key), start, 5).place, Place::At(t("2026-03-02T01:00")));
        assert_eq!(Standing::of(None, start, 5).place, Place::At(start));
    }
}
