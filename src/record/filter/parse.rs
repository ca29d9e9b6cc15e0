//! Reading a condition: the part of SQL that compares columns with literals.

use super::{Comparison, Condition, Literal, Place};

/// Deeper brackets than this are a mistake.
const DEEPEST: usize = 50;

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {at}")]
pub struct Malformed {
    /// Where, counted from 1.
    pub at: usize,
    /// What is wrong there.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name, or a keyword.
    Word(String),
    /// A name in double quotes or backticks.
    Quoted(String),
    Text(String),
    Number(String),
    Sign(&'static str),
}

/// Longer signs first.
const SIGNS: [&str; 13] = ["<=", ">=", "!=", "<>", "==", "=", "<", ">", "(", ")", ",", ".", "-"];

const KEYWORDS: [&str; 11] =
    ["and", "or", "not", "in", "like", "ilike", "is", "null", "between", "true", "false"];

pub(super) fn condition(text: &str) -> Result<Condition, Malformed> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, next: 0, end: text.chars().count() + 1, depth: 0 };
    let condition = parser.any()?;
    match parser.peek() {
        None => Ok(condition),
        Some(_) => Err(parser.expected("`and`, `or` or the end")),
    }
}

/// The tokens of a text, each with the place of its first character.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Malformed> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&first) = chars.get(at) {
        let begun = at;
        if first.is_whitespace() {
            at += 1;
            continue;
        }
        let token = match first {
            '\'' => Token::Text(quoted(&chars, &mut at)?),
            '"' | '`' => Token::Quoted(quoted(&chars, &mut at)?),
            _ if first.is_ascii_digit() => {
                let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '.';
                Token::Number(take_while(&chars, &mut at, is_part))
            }
            _ if is_of_word(&first) => Token::Word(take_while(&chars, &mut at, is_of_word)),
            _ => {
                let rest: String = chars[at..].iter().take(2).collect();
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| Malformed {
                    at: at + 1,
                    message: format!("`{first}` means nothing here"),
                })?;
                at += sign.len();
                Token::Sign(sign)
            }
        };
        if let Token::Number(number) = &token
            && number.parse::<f64>().is_err()
        {
            return Err(Malformed { at: begun + 1, message: format!("`{number}` is no number") });
        }
        tokens.push((begun + 1, token));
    }
    Ok(tokens)
}

fn is_of_word(c: &char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

fn take_while(chars: &[char], at: &mut usize, is_part: impl Fn(&char) -> bool) -> String {
    let word: String = chars[*at..].iter().take_while(|c| is_part(c)).collect();
    *at += word.chars().count();
    word
}

/// What stands between quotes; a doubled quote stands for one, and so does one after `\`.
fn quoted(chars: &[char], at: &mut usize) -> Result<String, Malformed> {
    let (begun, quote) = (*at, chars[*at]);
    let mut text = String::new();
    *at += 1;
    while let Some(&c) = chars.get(*at) {
        let next = chars.get(*at + 1).copied();
        *at += 1;
        match (c, next) {
            (c, Some(next)) if c == quote && next == quote => {
                text.push(quote);
                *at += 1;
            }
            (c, _) if c == quote => return Ok(text),
            ('\\', Some(next)) if next == quote || next == '\\' => {
                text.push(next);
                *at += 1;
            }
            _ => text.push(c),
        }
    }
    Err(Malformed { at: begun + 1, message: format!("no closing {quote} for the one") })
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    next: usize,
    /// Where the text ends.
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn expected(&self, what: &str) -> Malformed {
        let found = self.tokens.get(self.next);
        let at = found.map_or(self.end, |(at, _)| *at);
        let found = match found.map(|(_, token)| token) {
            None => "the end".to_owned(),
            Some(Token::Word(word) | Token::Quoted(word) | Token::Number(word)) => {
                format!("`{word}`")
            }
            Some(Token::Text(text)) => format!("'{text}'"),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
        };
        Malformed { at, message: format!("expected {what}, found {found}") }
    }

    /// Takes this keyword, where it is next.
    fn word(&mut self, keyword: &str) -> bool {
        let is_next =
            matches!(self.peek(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(keyword));
        self.next += usize::from(is_next);
        is_next
    }

    fn sign(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.next += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> Result<Condition, Malformed> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition, Malformed> {
        let mut parts = vec![self.negated()?];
        while self.word("and") {
            parts.push(self.negated()?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn negated(&mut self) -> Result<Condition, Malformed> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.expected("fewer brackets inside each other"));
        }
        let condition = if self.word("not") {
            Condition::Not(Box::new(self.negated()?))
        } else if self.sign("(") {
            let inner = self.any()?;
            self.close()?;
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn close(&mut self) -> Result<(), Malformed> {
        if self.sign(")") { Ok(()) } else { Err(self.expected("`)`")) }
    }

    fn comparison(&mut self) -> Result<Condition, Malformed> {
        let place = self.place()?;
        if self.word("is") {
            let is_not = self.word("not");
            if !self.word("null") {
                return Err(self.expected("`null`"));
            }
            return Ok(not_if(is_not, Condition::Null(place)));
        }
        let is_not = self.word("not");
        if self.word("in") {
            return Ok(not_if(is_not, self.list(&place)?));
        }
        for (keyword, any_case) in [("like", false), ("ilike", true)] {
            if self.word(keyword) {
                let Literal::Text(pattern) = self.literal()? else {
                    self.next -= 1;
                    return Err(self.expected("a pattern in quotes"));
                };
                return Ok(not_if(is_not, Condition::Like { place, pattern, any_case }));
            }
        }
        if self.word("between") {
            let least = Condition::Is(place.clone(), Comparison::AtLeast, self.literal()?);
            if !self.word("and") {
                return Err(self.expected("`and`"));
            }
            let most = Condition::Is(place, Comparison::AtMost, self.literal()?);
            return Ok(not_if(is_not, Condition::All(vec![least, most])));
        }
        if is_not {
            return Err(self.expected("`in`, `like` or `between`"));
        }
        for (sign, comparison) in [
            ("=", Comparison::Equal),
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<>", Comparison::Unequal),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ] {
            if self.sign(sign) {
                return Ok(Condition::Is(place, comparison, self.literal()?));
            }
        }
        Err(self.expected("=, !=, <, <=, >, >=, in, like, between or is"))
    }

    fn list(&mut self, place: &Place) -> Result<Condition, Malformed> {
        if !self.sign("(") {
            return Err(self.expected("`(`"));
        }
        let mut parts = Vec::new();
        loop {
            parts.push(Condition::Is(place.clone(), Comparison::Equal, self.literal()?));
            if !self.sign(",") {
                break;
            }
        }
        self.close()?;
        Ok(Condition::Any(parts))
    }

    fn place(&mut self) -> Result<Place, Malformed> {
        let column = self.name("a column")?;
        let mut keys = Vec::new();
        while self.sign(".") {
            keys.push(self.name("a key")?);
        }
        Ok(Place { column, keys })
    }

    fn name(&mut self, what: &str) -> Result<String, Malformed> {
        let name = match self.peek() {
            Some(Token::Quoted(name)) => name.clone(),
            Some(Token::Word(name)) if !KEYWORDS.contains(&name.to_lowercase().as_str()) => {
                name.clone()
            }
            _ => return Err(self.expected(what)),
        };
        self.next += 1;
        Ok(name)
    }

    fn literal(&mut self) -> Result<Literal, Malformed> {
        let is_negative = self.sign("-");
        let literal = match self.peek() {
            Some(Token::Number(number)) if is_negative => Literal::Number(format!("-{number}")),
            Some(Token::Number(number)) => Literal::Number(number.clone()),
            _ if is_negative => return Err(self.expected("a number")),
            Some(Token::Text(text)) => Literal::Text(text.clone()),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => Literal::Bool(true),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => Literal::Bool(false),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("null") => {
                return Err(self.expected("a value (nothing is equal to null: write `is null`)"));
            }
            _ => return Err(self.expected("a text in quotes, a number, true or false")),
        };
        self.next += 1;
        Ok(literal)
    }
}

fn one_or(mut parts: Vec<Condition>, many: fn(Vec<Condition>) -> Condition) -> Condition {
    if parts.len() == 1 { parts.swap_remove(0) } else { many(parts) }
}

fn not_if(is_not: bool, condition: Condition) -> Condition {
    if is_not { Condition::Not(Box::new(condition)) } else { condition }
}
