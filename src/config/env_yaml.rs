//! Editing the `connections:` of an `env.yaml` as text: comments, order and all other lines stay.
//!
//! Knows only blocks, one key a line. What is written in another way is left to its owner; so
//! is a file that would not say, after the edit, exactly what it said before and the one change.

use std::ops::Range;

use super::node::{Key, Kind, Node};
use super::yaml;

const BY_HAND: &str = "its connections are not written one below the other, so it cannot be \
    edited without harm: edit it by hand";

/// A map's keys, each with its lines.
struct Block {
    indent: usize,
    spots: Vec<(String, Range<usize>)>,
}

/// The text with a connection in it, in the place of one of that name or behind the last.
///
/// # Errors
/// Why that cannot be done without harm.
pub fn with(text: &str, name: &str, definition: &Node) -> Result<String, String> {
    edited(text, name, Some(definition))
}

/// The text without a connection.
///
/// # Errors
/// Why that cannot be done without harm.
pub fn without(text: &str, name: &str) -> Result<String, String> {
    edited(text, name, None)
}

fn edited(text: &str, name: &str, definition: Option<&Node>) -> Result<String, String> {
    let mut text = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let root = parsed(&text)?;
    let new = splice(&text, &root, name, definition)?;
    let mut expected = connections(&root);
    expected.retain(|(other, _)| other != name);
    let mut found = connections(&parsed(&new).map_err(|_| BY_HAND.to_owned())?);
    let own = found.iter().position(|(other, _)| other == name).map(|n| found.remove(n).1);
    let is_whole = found == expected && own == definition.map(Node::to_json);
    if is_whole { Ok(new) } else { Err(BY_HAND.to_owned()) }
}

fn parsed(text: &str) -> Result<Node, String> {
    yaml::parse(text).map_err(|complaint| complaint.message)
}

/// The connections as values.
fn connections(root: &Node) -> Vec<(String, serde_json::Value)> {
    match entry(root, "connections").map(|(_, node)| &node.kind) {
        Some(Kind::Map(entries)) => {
            entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect()
        }
        _ => Vec::new(),
    }
}

fn entry<'n>(map: &'n Node, name: &str) -> Option<&'n (Key, Node)> {
    let Kind::Map(entries) = &map.kind else { return None };
    entries.iter().find(|(key, _)| key.text == name)
}

fn splice(
    text: &str,
    root: &Node,
    name: &str,
    definition: Option<&Node>,
) -> Result<String, String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let fresh = |indent| definition.map(|node| block_of(name, node, indent)).unwrap_or_default();
    let all = match &root.kind {
        Kind::Null => return Ok(format!("{text}connections:\n{}", fresh(2))),
        Kind::Map(all) => Block::of(all, &lines, 0..lines.len())?,
        _ => return Err(BY_HAND.to_owned()),
    };
    let (Some(place), Some((_, node))) = (all.find("connections"), entry(root, "connections"))
    else {
        return Ok(format!("{text}connections:\n{}", fresh(2)));
    };
    let known: &[(Key, Node)] = if let Kind::Map(known) = &node.kind { known } else { &[] };
    let Some((_, first)) = known.first() else {
        return Ok(replaced(&lines, place, &format!("connections:\n{}", fresh(2))));
    };
    let block = Block::of(known, &lines, place.start + 1..place.end)?;
    let Some(own) = block.find(name) else {
        let end = block.spots.last().map_or(first.at.line, |(_, lines)| lines.end);
        return Ok(replaced(&lines, end..end, &fresh(block.indent)));
    };
    let Some(definition) = definition else {
        let is_last = known.len() == 1;
        let rest = if is_last { "connections:\n" } else { "" };
        let gone = if is_last { place.start..own.end } else { own };
        return Ok(replaced(&lines, gone, rest));
    };
    let before = entry(node, name).map(|(_, before)| before);
    let kept = before.and_then(|before| keeping(&lines, own.clone(), before, definition));
    Ok(replaced(&lines, own, &kept.unwrap_or_else(|| fresh(block.indent))))
}

/// The lines of a connection with those of its keys changed that say something else now, and
/// comments kept; nothing where it is not written as a block.
fn keeping(lines: &[&str], own: Range<usize>, before: &Node, now: &Node) -> Option<String> {
    let (Kind::Map(old), Kind::Map(new)) = (&before.kind, &now.kind) else { return None };
    let head = lines[own.start].split(" #").next().unwrap_or_default();
    if !head.trim_end().ends_with(':') {
        return None;
    }
    let block = Block::of(old, lines, own.start + 1..own.end).ok()?;
    let indent = block.indent;
    let mut text = lines[own.start].to_owned();
    let mut next = own.start + 1;
    for ((name, spot), (_, old)) in block.spots.iter().zip(old) {
        text.extend(lines[next..spot.start].iter().copied());
        match entry(now, name) {
            Some((_, new)) if new.to_json() == old.to_json() => {
                text.extend(lines[spot.clone()].iter().copied());
            }
            Some((_, new)) => text += &block_of(name, new, indent),
            None => {}
        }
        next = spot.end;
    }
    let is_new = |(key, _): &&(Key, Node)| block.find(&key.text).is_none();
    text.extend(new.iter().filter(is_new).map(|(key, node)| block_of(&key.text, node, indent)));
    text.extend(lines[next..own.end].iter().copied());
    Some(text)
}

fn replaced(lines: &[&str], gone: Range<usize>, by: &str) -> String {
    let (before, after) = (lines[..gone.start].concat(), lines[gone.end..].concat());
    format!("{before}{by}{after}")
}

impl Block {
    /// The lines of each key of a map that is written within these.
    fn of(entries: &[(Key, Node)], lines: &[&str], within: Range<usize>) -> Result<Self, String> {
        let by_hand = || BY_HAND.to_owned();
        let indent = entries.first().map_or(0, |(key, _)| key.at.col - 1);
        let mut starts: Vec<usize> = entries.iter().map(|(key, _)| key.at.line - 1).collect();
        let is_alone = |(key, _): &(Key, Node)| {
            let line = lines.get(key.at.line - 1).map_or("", |line| line);
            key.at.col - 1 == indent && line.chars().take(indent).all(|c| c == ' ')
        };
        let is_in_order = starts.is_sorted_by(|a, b| a < b);
        let is_inside = starts.iter().all(|start| within.contains(start));
        if !(entries.iter().all(is_alone) && is_in_order && is_inside) {
            return Err(by_hand());
        }
        starts.push(within.end);
        let spots = entries.iter().zip(starts.windows(2)).map(|((key, _), bounds)| {
            let mut end = bounds[1];
            while end > bounds[0] + 1 && is_margin(lines[end - 1], indent) {
                end -= 1;
            }
            (key.text.clone(), bounds[0]..end)
        });
        Ok(Self { indent, spots: spots.collect() })
    }

    fn find(&self, name: &str) -> Option<Range<usize>> {
        self.spots.iter().find(|(key, _)| key == name).map(|(_, lines)| lines.clone())
    }
}

/// Whether a line belongs to what comes after it: it is blank, or a comment that stands no
/// further in than the keys.
fn is_margin(line: &str, indent: usize) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with('#') && line.len() - text.len() <= indent
}

/// A key and its value as lines.
fn block_of(name: &str, node: &Node, indent: usize) -> String {
    let head = format!("{:indent$}{}:", "", scalar(name, true));
    match &node.kind {
        Kind::Map(entries) if !entries.is_empty() => {
            let below = entries.iter().map(|(key, node)| block_of(&key.text, node, indent + 2));
            format!("{head}\n{}", below.collect::<String>())
        }
        Kind::Null => format!("{head}\n"),
        _ => format!("{head} {}\n", flow(node)),
    }
}

/// A value in one line.
fn flow(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".to_owned(),
        Kind::Plain(text) => scalar(text, true),
        Kind::Quoted(text) => scalar(text, false),
        Kind::List(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Kind::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Kind::Map(entries) => {
            let entry =
                |(key, node): &(Key, Node)| format!("{}: {}", scalar(&key.text, true), flow(node));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A text, in quotes where it was or has to be.
fn scalar(text: &str, is_plain: bool) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-./@+".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_/.".contains(c));
    if is_plain && begins && text.chars().all(is_word) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

/// The definition that `key=value` pairs make, as they stand on a command line: a value is a
/// text, or in brackets YAML.
///
/// # Errors
/// Which pair is none, without its value.
pub fn definition(pairs: &[String]) -> Result<Node, String> {
    let at = super::complaint::At { line: 1, col: 1 };
    let mut entries: Vec<(Key, Node)> = Vec::new();
    for pair in pairs {
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or("expected key=value, as in type=api")?;
        if entries.iter().any(|(other, _)| other.text == key) {
            return Err(format!("`{key}` is given twice"));
        }
        let kind = match value.trim_start().starts_with(['{', '[']) {
            true => {
                yaml::parse(value).map_err(|_| format!("the value of `{key}` is not YAML"))?.kind
            }
            false if value.is_empty() => Kind::Quoted(String::new()),
            false => match yaml::parse(value).map(|node| node.kind) {
                Ok(Kind::Plain(plain)) if plain == value => Kind::Plain(plain),
                _ => Kind::Quoted(value.to_owned()),
            },
        };
        entries.push((Key { at, text: key.to_owned() }, Node { at, kind }));
    }
    Ok(Node { at, kind: Kind::Map(entries) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# All we have.
connections:
  # The lake.
  PG:
    type: postgres
    url: postgresql://u:pw@h/d   # from the vault

  # PostHog in Europe.
  POSTHOG:
    type: api   # not ours
    spec: posthog
    # Rotated in May.
    secrets:
      api_key: phx_old
      project_id: \"12345\"

variables:
  x: 1
";

    fn set(text: &str, name: &str, pairs: &[&str]) -> Result<String, String> {
        let pairs: Vec<String> = pairs.iter().map(|&pair| pair.to_owned()).collect();
        with(text, name, &definition(&pairs)?)
    }

    const POSTHOG: [&str; 3] =
        ["type=api", "spec=posthog", "secrets={ api_key: \"phx_new\", project_id: \"12345\" }"];

    #[test]
    fn a_first_connection_makes_the_file() {
        let text = set("", "POSTHOG", &POSTHOG).unwrap();

        let expected = "connections:\n  POSTHOG:\n    type: api\n    spec: posthog\n    secrets:\n      \
                        api_key: \"phx_new\"\n      project_id: \"12345\"\n";
        assert_eq!(text, expected);
        assert_eq!(set(&text, "POSTHOG", &POSTHOG).unwrap(), text, "again changes nothing");
    }

    #[test]
    fn a_connection_is_changed_where_it_stands_and_comments_stay() {
        let text = set(FILE, "POSTHOG", &POSTHOG).unwrap();

        let expected = FILE.replace("api_key: phx_old", "api_key: \"phx_new\"");
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_no_longer_said_goes_and_what_is_new_comes_last() {
        let text = set(FILE, "PG", &["type=postgres", "host=h", "password=p#w: \"x\""]).unwrap();

        let expected = FILE.replace(
            "    url: postgresql://u:pw@h/d   # from the vault\n",
            "    host: h\n    password: \"p#w: \\\"x\\\"\"\n",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn another_connection_comes_behind_the_last() {
        let text = set(FILE, "DB", &["type=sqlite", "path=x.db"]).unwrap();

        let behind = "      project_id: \"12345\"\n";
        let new = "  DB:\n    type: sqlite\n    path: x.db\n";
        assert_eq!(text, FILE.replace(behind, &format!("{behind}{new}")));
        assert_eq!(without(&text, "DB").unwrap(), FILE);
    }

    #[test]
    fn the_last_connection_leaves_an_empty_list() {
        let one = "a: 1\nconnections:\n  DB: sqlite://x.db\nb: 2\n";

        let none = without(one, "DB").unwrap();

        assert_eq!(none, "a: 1\nconnections:\nb: 2\n");
        let back = set(&none, "DB", &["type=file", "path=out"]).unwrap();
        assert_eq!(back, "a: 1\nconnections:\n  DB:\n    type: file\n    path: out\nb: 2\n");
        assert_eq!(without("connections: {}\n", "DB").unwrap(), "connections:\n");
    }

    #[test]
    fn what_is_not_written_as_a_block_is_left_alone() {
        for text in [
            "connections: { A: { type: file, path: x } }\n",
            "{ connections: { A: x } }\n",
            "a: &a { type: file }\nconnections:\n  A:\n    <<: *a\n  B: { <<: *a }\n  <<: *a\n",
        ] {
            assert_eq!(set(text, "B", &["type=file", "path=y"]), Err(BY_HAND.to_owned()), "{text}");
        }
        let flow = "connections:\n  A: { type: file, path: x }\n  B: {\n    type: file,\n    path: x }\n# end\n";
        let text = set(flow, "B", &["type=file", "path=y"]).unwrap();
        assert_eq!(
            text,
            "connections:\n  A: { type: file, path: x }\n  B:\n    type: file\n    path: y\n# end\n"
        );
    }

    #[test]
    fn a_pair_that_is_none_is_told_without_its_value() {
        for (pair, told) in [
            ("hunter22", "expected key=value, as in type=api"),
            ("=hunter22", "expected key=value, as in type=api"),
            ("secrets={ api_key: hunter22", "the value of `secrets` is not YAML"),
        ] {
            assert_eq!(definition(&[pair.to_owned()]), Err(told.to_owned()));
        }
        let twice = ["a=1".to_owned(), "a=hunter22".to_owned()];
        assert_eq!(definition(&twice), Err("`a` is given twice".to_owned()));
    }
}
