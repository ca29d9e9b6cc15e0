//! HogQL read into a tree: the part of it that an export can want.
//!
//! Placeholders become constants here. What PostHog's grammar has beyond this
//! (joins, windows, CTEs) is refused with the grammar's own words.

use serde_json::{Map, Value};

use super::lex::{self, Token};
use super::syntax::{Constant, Expr, Item, Select, Source};

/// Words that end an expression and name nothing.
const RESERVED: [&str; 22] = [
    "select", "distinct", "from", "where", "group", "having", "order", "limit", "offset", "by",
    "as", "and", "or", "not", "in", "is", "like", "ilike", "between", "asc", "desc", "union",
];

/// Reads a query; what is wrong is said as PostHog says it.
pub(super) fn select(text: &str, values: &Map<String, Value>) -> Result<Select, String> {
    let tokens = lex::cut(text).map_err(|at| mistake(text, at + 1))?;
    let mut parser = Parser { text, values, tokens, at: 0 };
    let select = parser.select()?;
    parser.symbol(";");
    match parser.peek() {
        Token::End => Ok(select),
        _ => Err(parser.lost()),
    }
}

fn mistake(text: &str, end: usize) -> String {
    let read = text.get(..end).unwrap_or(text);
    format!("no viable alternative at input '{read}'")
}

/// A query being read.
pub(super) struct Parser<'a> {
    text: &'a str,
    /// What stands for placeholders.
    pub(super) values: &'a Map<String, Value>,
    tokens: Vec<(Token, usize, usize)>,
    /// The next piece.
    pub(super) at: usize,
}

/// What was read, or what is wrong.
pub(super) type Parsed<T> = Result<T, String>;

impl Parser<'_> {
    /// The next piece.
    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _, _)| token)
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    /// The complaint about the next piece.
    pub(super) fn lost(&self) -> String {
        mistake(self.text, self.tokens.get(self.at).map_or(self.text.len(), |(_, _, end)| *end))
    }

    /// Takes a symbol if it is next.
    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Symbol(next) if *next == symbol);
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes a keyword if it is next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Word(next) if next.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, is_there: bool) -> Parsed<()> {
        if is_there { Ok(()) } else { Err(self.lost()) }
    }

    /// Takes a symbol that has to be next.
    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Parsed<()> {
        let is_there = self.symbol(symbol);
        self.expect(is_there)
    }

    /// Takes a keyword that has to be next.
    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        let is_there = self.word(word);
        self.expect(is_there)
    }

    fn select(&mut self) -> Parsed<Select> {
        self.expect_word("select")?;
        let mut select = Select { is_distinct: self.word("distinct"), ..Select::default() };
        select.items = self.list(Self::item)?;
        if self.word("from") {
            select.source = Some(self.source()?);
        }
        if self.word("where") {
            select.filter = Some(self.expr()?);
        }
        if self.word("group") {
            self.expect_word("by")?;
            select.group = self.list(Self::expr)?;
        }
        if self.word("having") {
            select.having = Some(self.expr()?);
        }
        if self.word("order") {
            self.expect_word("by")?;
            select.order = self.list(Self::ordered)?;
        }
        self.limit(&mut select)?;
        Ok(select)
    }

    fn limit(&mut self, select: &mut Select) -> Parsed<()> {
        if self.word("limit") {
            let first = self.count()?;
            if self.symbol(",") {
                select.offset = Some(first);
                select.limit = Some(self.count()?);
            } else {
                select.limit = Some(first);
            }
        }
        if self.word("offset") {
            select.offset = Some(self.count()?);
        }
        Ok(())
    }

    fn count(&mut self) -> Parsed<u64> {
        match self.expr()? {
            Expr::Constant(Constant::Int(count)) => u64::try_from(count).map_err(|_| self.lost()),
            _ => Err(self.lost()),
        }
    }

    /// Reads one thing, and more after commas.
    pub(super) fn list<T>(&mut self, one: fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.symbol(",") {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn item(&mut self) -> Parsed<Item> {
        let start = self.tokens.get(self.at).map_or(0, |(_, start, _)| *start);
        let expr = self.expr()?;
        let end = self.tokens.get(self.at - 1).map_or(0, |(_, _, end)| *end);
        if self.word("as") {
            let name = self.name()?;
            return Ok(Item { expr, name, is_alias: true });
        }
        let name = match &expr {
            Expr::Field(chain) => chain.last().cloned().unwrap_or_default(),
            _ => self.text.get(start..end).unwrap_or_default().to_owned(),
        };
        Ok(Item { expr, name, is_alias: false })
    }

    /// Takes a name.
    pub(super) fn name(&mut self) -> Parsed<String> {
        match self.take() {
            Token::Word(name) | Token::Quoted(name) => Ok(name),
            _ => {
                self.at -= 1;
                Err(self.lost())
            }
        }
    }

    fn source(&mut self) -> Parsed<Source> {
        if self.symbol("(") {
            let select = self.select()?;
            self.expect_symbol(")")?;
            if self.word("as") {
                self.name()?;
            }
            return Ok(Source::Select(Box::new(select)));
        }
        let table = self.name()?;
        let has_alias =
            self.word("as") || matches!(self.peek(), Token::Word(word) if !is_reserved(word));
        let alias = if has_alias { Some(self.name()?) } else { None };
        Ok(Source::Table(table, alias))
    }

    fn ordered(&mut self) -> Parsed<(Expr, bool)> {
        let expr = self.expr()?;
        let is_descending = self.word("desc");
        if !is_descending {
            self.word("asc");
        }
        Ok((expr, is_descending))
    }
}

/// Whether a word ends an expression.
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|reserved| word.eq_ignore_ascii_case(reserved))
}
