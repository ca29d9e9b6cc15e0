//! Operating system and browser, as far as a user agent's text names them.
//!
//! A table of the main ones, no more: an agent that is not in it has no browser, one that is built
//! on another counts as that one. The names are PostHog's, and those of the reader that
//! RudderStack uses.

use serde_json::Value;

/// What something is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    /// By PostHog's own libraries.
    pub(super) posthog: &'static str,
    /// By RudderStack.
    pub(super) rudderstack: &'static str,
}

/// What a user agent names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Agent<'t> {
    pub(super) os: Option<Names>,
    pub(super) browser: Option<Names>,
    /// The browser's version, with all its parts.
    pub(super) version: Option<&'t str>,
}

/// Operating systems by a mark in the text; the first that is found counts.
const SYSTEMS: [(&str, &str, &str); 11] = [
    ("Windows Phone", "Windows Phone", "Windows Phone"),
    ("iPhone", "iOS", "iOS"),
    ("iPad", "iOS", "iOS"),
    ("iPod", "iOS", "iOS"),
    ("Android", "Android", "Android"),
    ("CrOS", "Chrome OS", "Chromium OS"),
    ("Windows", "Windows", "Windows"),
    ("Macintosh", "Mac OS X", "Mac OS"),
    ("Ubuntu", "Linux", "Ubuntu"),
    ("Fedora", "Linux", "Fedora"),
    ("Linux", "Linux", "Linux"),
];

/// Browsers by the mark before their version, what else must be in the text, and their names; the
/// first that is found counts. Most claim to be others too: those come later.
const BROWSERS: [(&str, &str, &str, &str); 17] = [
    ("Edg/", "", "Microsoft Edge", "Edge"),
    ("EdgA/", "", "Microsoft Edge", "Edge"),
    ("EdgiOS/", "", "Microsoft Edge", "Edge"),
    ("Edge/", "", "Microsoft Edge", "Edge"),
    ("OPR/", "", "Opera", "Opera"),
    ("SamsungBrowser/", "", "Samsung Internet", "Samsung Internet"),
    ("CriOS/", "", "Chrome iOS", "Chrome"),
    ("FxiOS/", "", "Firefox iOS", "Firefox"),
    ("Firefox/", "", "Firefox", "Firefox"),
    ("HeadlessChrome/", "", "Chrome", "Chrome Headless"),
    ("Chrome/", "; wv)", "Chrome", "Chrome WebView"),
    ("Chrome/", "", "Chrome", "Chrome"),
    ("rv:", "Trident/", "Internet Explorer", "IE"),
    ("MSIE ", "", "Internet Explorer", "IE"),
    ("Version/", "Android", "Android Mobile", "Android Browser"),
    ("Version/", "Mobile/", "Mobile Safari", "Mobile Safari"),
    ("Version/", "Safari/", "Safari", "Safari"),
];

/// Reads a user agent.
pub(super) fn read(text: &str) -> Agent<'_> {
    let os = SYSTEMS.iter().find(|(mark, ..)| text.contains(mark));
    let os = os.map(|&(_, posthog, rudderstack)| Names { posthog, rudderstack });
    let named = BROWSERS.iter().find_map(|&(mark, also, posthog, rudderstack)| {
        let version = version_after(text, mark).filter(|_| text.contains(also))?;
        Some((Names { posthog, rudderstack }, version))
    });
    Agent { os, browser: named.map(|(browser, _)| browser), version: named.map(|(_, v)| v) }
}

/// The digits and points behind a mark.
fn version_after<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    let rest = text.split_once(mark)?.1;
    let is_of_version = |c: char| c.is_ascii_digit() || c == '.';
    let version = rest.split(|c| !is_of_version(c)).next()?;
    (!version.is_empty()).then_some(version)
}

/// A version as PostHog's libraries tell it: a number of its first two parts, 118 or 17.1.
pub(super) fn short(version: &str) -> Option<Value> {
    let end = version.match_indices('.').nth(1).map_or(version.len(), |(at, _)| at);
    let number: f64 = version[..end].parse().ok()?;
    // 118.0 is 118 in JSON, as it is in JavaScript.
    if number.fract() == 0.0 { Some(Value::from(number as u64)) } else { Some(Value::from(number)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Text, system and browser in the words of both, version.
    type Row = (&'static str, [&'static str; 2], [&'static str; 2], &'static str);

    const ROWS: [Row; 14] = [
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0.5993.70 Safari/537.36",
            ["Mac OS X", "Mac OS"],
            ["Chrome", "Chrome"],
            "118.0.5993.70",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15",
            ["Mac OS X", "Mac OS"],
            ["Safari", "Safari"],
            "17.1",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0.0.0 Safari/537.36 Edg/118.0.2088.46",
            ["Windows", "Windows"],
            ["Microsoft Edge", "Edge"],
            "118.0.2088.46",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:109.0) Gecko/20100101 Firefox/118.0",
            ["Windows", "Windows"],
            ["Firefox", "Firefox"],
            "118.0",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/118.0.0.0 Safari/537.36",
            ["Linux", "Linux"],
            ["Chrome", "Chrome Headless"],
            "118.0.0.0",
        ),
        (
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0.0.0 Safari/537.36",
            ["Chrome OS", "Chromium OS"],
            ["Chrome", "Chrome"],
            "118.0.0.0",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
            ["iOS", "iOS"],
            ["Mobile Safari", "Mobile Safari"],
            "17.1",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/118.0.5993.92 Mobile/15E148 Safari/604.1",
            ["iOS", "iOS"],
            ["Chrome iOS", "Chrome"],
            "118.0.5993.92",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 EdgiOS/118.0.2088.52 Mobile/15E148 Safari/605.1.15",
            ["iOS", "iOS"],
            ["Microsoft Edge", "Edge"],
            "118.0.2088.52",
        ),
        (
            "Mozilla/5.0 (Linux; Android 13; SM-S901B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/118.0.5993.80 Mobile Safari/537.36",
            ["Android", "Android"],
            ["Chrome", "Chrome WebView"],
            "118.0.5993.80",
        ),
        (
            "Mozilla/5.0 (Linux; Android 13; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/22.0 Chrome/111.0.5563.116 Mobile Safari/537.36",
            ["Android", "Android"],
            ["Samsung Internet", "Samsung Internet"],
            "22.0",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; SM-G970F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0.0.0 Mobile Safari/537.36 OPR/76.2.4027.73374",
            ["Android", "Android"],
            ["Opera", "Opera"],
            "76.2.4027.73374",
        ),
        (
            "Mozilla/5.0 (Linux; U; Android 4.0.3; de-de; Galaxy S II) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
            ["Android", "Android"],
            ["Android Mobile", "Android Browser"],
            "4.0",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
            ["Windows", "Windows"],
            ["Internet Explorer", "IE"],
            "11.0",
        ),
    ];

    #[test]
    fn the_main_systems_and_browsers_are_known_by_both_names() {
        for (text, [posthog_os, os], [posthog_browser, browser], version) in ROWS {
            let agent = Agent {
                os: Some(Names { posthog: posthog_os, rudderstack: os }),
                browser: Some(Names { posthog: posthog_browser, rudderstack: browser }),
                version: Some(version),
            };
            assert_eq!(read(text), agent, "{text}");
        }
    }

    #[test]
    fn what_is_no_browser_names_none() {
        for text in ["curl/8.4.0", "", "Googlebot/2.1 (+http://www.google.com/bot.html)", "Chrome/"]
        {
            assert_eq!(read(text), Agent::default(), "{text}");
        }
    }

    #[test]
    fn a_version_in_short_is_a_number() {
        for (version, number) in
            [("118.0.5993.70", json!(118)), ("17.1", json!(17.1)), ("22", json!(22))]
        {
            assert_eq!(short(version), Some(number));
        }
        assert_eq!(short(".."), None);
    }
}
