//! HogQL's text cut into words.

/// A piece of a query.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or keyword.
    Word(String),
    /// A name in backticks or double quotes.
    Quoted(String),
    /// A number.
    Number(String),
    /// A text in single quotes.
    Text(String),
    /// `{name}`.
    Placeholder(String),
    /// Anything else.
    Symbol(&'static str),
    /// After the last piece.
    End,
}

/// The longer ones first, so that `<=` is not `<`.
const SYMBOLS: [&str; 25] = [
    "<=", ">=", "!=", "<>", "==", "||", "=", "<", ">", "(", ")", "[", "]", ",", ".", "+", "-", "*",
    "/", "%", ";", "::", ":", "?", "!",
];

/// Cuts a query; each piece with where it begins and ends.
pub(super) fn cut(text: &str) -> Result<Vec<(Token, usize, usize)>, usize> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        if next.is_whitespace() {
            at += next.len_utf8();
            continue;
        }
        let (token, length) = piece(&text[at..], next).ok_or(at)?;
        tokens.push((token, at, at + length));
        at += length;
    }
    tokens.push((Token::End, at, at));
    Ok(tokens)
}

fn piece(rest: &str, next: char) -> Option<(Token, usize)> {
    let run = |belongs: fn(char) -> bool| rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    match next {
        'a'..='z' | 'A'..='Z' | '_' | '$' => {
            let length = run(|c| c.is_alphanumeric() || c == '_' || c == '$');
            Some((Token::Word(rest[..length].to_owned()), length))
        }
        '0'..='9' => {
            let length = run(|c| c.is_ascii_digit() || c == '.' || c == 'e');
            Some((Token::Number(rest[..length].to_owned()), length))
        }
        '\'' => quoted(rest, '\'').map(|(text, length)| (Token::Text(text), length)),
        '`' | '"' => quoted(rest, next).map(|(text, length)| (Token::Quoted(text), length)),
        '{' => {
            let end = rest.find('}')?;
            Some((Token::Placeholder(rest[1..end].trim().to_owned()), end + 1))
        }
        _ => {
            let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol))?;
            Some((Token::Symbol(symbol), symbol.len()))
        }
    }
}

/// What stands between quotes; a quote is doubled or has a backslash before it.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            text.push(match letters.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                other => other,
            });
        } else if letter != quote {
            text.push(letter);
        } else if letters.next_if(|(_, next)| *next == quote).is_some() {
            text.push(quote);
        } else {
            return Some((text, at + quote.len_utf8()));
        }
    }
    None
}
