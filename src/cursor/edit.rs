//! Positions changed by hand: moved back, vouched for, and checked.
//!
//! Every change keeps the invariant of [`Position`] by claiming less: whatever may
//! not have been asked for is asked for again, and rows that were there already are
//! found by their key. Only [`Position::vouch`] claims more, on the user's word.

use super::{Interval, Position, Timestamp, clip, cover};

impl Position {
    /// Takes nothing that happened from `to` on for complete, nor any arrival since.
    pub fn rewind(&mut self, to: Timestamp) {
        self.give_up();
        clip(&mut self.covered, None, Some(to));
        self.mark = self.mark.map(|mark| mark.min(to));
        self.search_arrivals_since(to);
    }

    /// Takes the target for complete up to `to`: of a stream with an order in time what
    /// happened `from` then on. What arrived later is still looked for.
    pub fn vouch(&mut self, from: Option<Timestamp>, to: Timestamp) {
        self.give_up();
        self.copying = None;
        let range = from.and_then(|from| Interval::new(from, to));
        range.into_iter().for_each(|range| cover(&mut self.covered, range));
        self.mark = Some(self.mark.map_or(to, |mark| mark.max(to)));
        self.audited.get_or_insert(to);
        self.search_arrivals_since(to);
    }

    fn search_arrivals_since(&mut self, at: Timestamp) {
        if let Some(searched) = &mut self.searched {
            searched.until = searched.until.min(at);
        }
        self.audited = self.audited.map(|audited| audited.min(at));
        self.looked_back = self.looked_back.filter(|looked| looked.at <= at);
    }

    /// Looks whether a position from elsewhere could be true at `now`.
    ///
    /// # Errors
    /// What cannot be, with the field's name first.
    pub fn check(&self, now: Timestamp) -> Result<(), String> {
        if let Some(empty) = self.covered.iter().find(|range| range.from >= range.to) {
            return Err(format!("covered: {empty} holds nothing: its end is not after its start"));
        }
        if let Some(pair) = self.covered.windows(2).find(|pair| pair[0].to >= pair[1].from) {
            return Err(format!(
                "covered: {} and {} are not in order with a gap between them",
                pair[0], pair[1]
            ));
        }
        // A run in hand may have covered more, up to its own bound.
        let reach = self.mark.max(self.open.as_ref().map(|open| open.bound));
        if let Some(beyond) = self.covered.last().filter(|range| Some(range.to) > reach) {
            return Err(format!("covered: {beyond} reaches beyond the mark"));
        }
        let times = [
            ("mark", self.mark),
            ("searched", self.searched.map(|searched| searched.until)),
            ("audited", self.audited),
            ("looked_back", self.looked_back.map(|looked| looked.at)),
            ("open", self.open.as_ref().map(|open| open.bound)),
        ];
        match times.into_iter().find_map(|(name, at)| Some((name, at.filter(|at| *at > now)?))) {
            Some((name, at)) => Err(format!("{name}: {at} lies in the future")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{LookedBack, Open, Searched};

    fn t(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn days(from: &str, to: &str) -> Interval {
        Interval { from: t(from), to: t(to) }
    }

    /// Complete to March 10th, with a gap in February, and a run in hand.
    fn to_march() -> Position {
        let mark = t("2026-03-10");
        Position {
            covered: vec![days("2026-01-01", "2026-02-01"), days("2026-02-05", "2026-03-11")],
            mark: Some(mark),
            searched: Some(Searched { until: mark, lookback: 3600 }),
            audited: Some(t("2026-03-09")),
            looked_back: Some(LookedBack { at: mark, requests: 900 }),
            open: Some(Open { bound: t("2026-03-11"), done: vec![], leg: None, at: None }),
            ..Position::default()
        }
    }

    #[test]
    fn a_rewind_leaves_nothing_after_its_time_complete() {
        let mut position = to_march();

        position.rewind(t("2026-02-20"));

        let covered = [days("2026-01-01", "2026-02-01"), days("2026-02-05", "2026-02-20")];
        assert_eq!(position.covered, covered);
        let to = Some(t("2026-02-20"));
        assert_eq!((position.mark, position.audited), (to, to));
        assert_eq!(position.searched.map(|searched| searched.until), to);
        assert_eq!((position.looked_back, &position.open), (None, &None));
        assert_eq!(position.check(t("2026-03-12")), Ok(()));
    }

    #[test]
    fn a_rewind_to_after_the_mark_claims_no_more_than_before() {
        let mut position = to_march();

        position.rewind(t("2026-03-15"));

        assert_eq!(position.mark, Some(t("2026-03-10")));
        assert_eq!(position.covered[1], days("2026-02-05", "2026-03-10"));
        assert_eq!(position.audited, Some(t("2026-03-09")));
    }

    #[test]
    fn what_is_vouched_for_is_covered_and_later_arrivals_are_not() {
        let (from, to) = (Some(t("2026-01-15")), t("2026-02-20"));
        let mut behind = to_march();
        let mut fresh = Position::default();
        let mut ahead = to_march();

        behind.vouch(from, to);
        fresh.vouch(from, to);
        ahead.vouch(Some(t("2026-03-20")), t("2026-03-21"));

        assert_eq!(behind.covered, [days("2026-01-01", "2026-03-10")]);
        assert_eq!((behind.mark, behind.audited), (Some(t("2026-03-10")), Some(to)));
        assert_eq!(fresh.covered, [days("2026-01-15", "2026-02-20")]);
        assert_eq!((fresh.mark, fresh.audited, fresh.searched), (Some(to), Some(to), None));
        assert_eq!(ahead.mark, Some(t("2026-03-21")));
        assert_eq!(ahead.covered[2], days("2026-03-20", "2026-03-21"));
        // The look-back behind the new mark was searched only up to the old one.
        assert_eq!(ahead.searched.unwrap().until, t("2026-03-10"));
        for position in [behind, fresh, ahead] {
            assert_eq!(position.check(t("2026-03-22")), Ok(()));
        }
    }

    #[test]
    fn a_position_that_cannot_be_is_told_by_its_field() {
        let now = t("2026-03-12");
        let covering = |covered: Vec<Interval>| Position { covered, open: None, ..to_march() };
        for (position, told) in [
            (covering(vec![days("2026-02-02", "2026-02-01")]), "covered: 2026-02-02"),
            (
                covering(vec![days("2026-02-01", "2026-02-03"), days("2026-01-01", "2026-01-02")]),
                "are not in order",
            ),
            (
                covering(vec![days("2026-01-01", "2026-01-03"), days("2026-01-02", "2026-01-05")]),
                "are not in order",
            ),
            (covering(vec![days("2026-02-01", "2026-03-11")]), "beyond the mark"),
            (Position { mark: None, ..covering(vec![days("2026-02-01", "2026-03-01")]) }, "beyond"),
            (Position { mark: Some(t("2026-03-13")), ..Position::default() }, "mark: 2026-03-13"),
            (Position { audited: Some(t("2026-04-01")), ..Position::default() }, "audited: 2026"),
        ] {
            let refused = position.check(now).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
        assert_eq!(to_march().check(now), Ok(()));
    }
}
