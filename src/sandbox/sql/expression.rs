//! HogQL's expressions, from loose to tight.

use super::lex::Token;
use super::parse::{Parsed, Parser, is_reserved};
use super::syntax::{Constant, Expr};

/// Operators from loose to tight, between `not` and unary minus.
const LEVELS: [&[&str]; 4] = [
    &["=", "==", "!=", "<>", "<=", ">=", "<", ">", "like", "ilike"],
    &["||"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Parser<'_> {
    /// Reads one expression.
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        let mut left = self.all_of()?;
        while self.word("or") {
            left = Expr::binary("or", left, self.all_of()?);
        }
        Ok(left)
    }

    fn all_of(&mut self) -> Parsed<Expr> {
        let mut left = self.negation()?;
        while self.word("and") {
            left = Expr::binary("and", left, self.negation()?);
        }
        Ok(left)
    }

    fn negation(&mut self) -> Parsed<Expr> {
        if self.word("not") {
            return Ok(Expr::Unary("not", Box::new(self.negation()?)));
        }
        self.level(0)
    }

    fn level(&mut self, level: usize) -> Parsed<Expr> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        loop {
            if level == 0 {
                let (condition, is_changed) = self.condition(left)?;
                left = condition;
                if is_changed {
                    continue;
                }
            }
            let Some(operator) = operators.iter().find(|operator| self.operator(operator)) else {
                return Ok(left);
            };
            left = Expr::binary(operator, left, self.level(level + 1)?);
        }
    }

    fn operator(&mut self, operator: &str) -> bool {
        self.symbol(operator) || self.word(operator)
    }

    /// What may follow a value: `is null`, `in`, `between`; whether anything did.
    fn condition(&mut self, left: Expr) -> Parsed<(Expr, bool)> {
        let start = self.at;
        if self.word("is") {
            let is_negated = self.word("not");
            self.expect_word("null")?;
            return Ok((Expr::IsNull(!is_negated, Box::new(left)), true));
        }
        let is_negated = self.word("not");
        if self.word("in") {
            let list = match self.unary()? {
                Expr::Tuple(list) => list,
                one => vec![one],
            };
            return Ok((Expr::In(!is_negated, Box::new(left), list), true));
        }
        if self.word("between") {
            let low = self.level(1)?;
            self.expect_word("and")?;
            let high = self.level(1)?;
            let within = Expr::binary(
                "and",
                Expr::binary(">=", left.clone(), low),
                Expr::binary("<=", left, high),
            );
            let negated = Expr::Unary("not", Box::new(within.clone()));
            return Ok((if is_negated { negated } else { within }, true));
        }
        if is_negated && (self.word("like") || self.word("ilike")) {
            let like = Expr::binary("like", left, self.level(1)?);
            return Ok((Expr::Unary("not", Box::new(like)), true));
        }
        self.at = start;
        Ok((left, false))
    }

    fn unary(&mut self) -> Parsed<Expr> {
        if self.symbol("-") {
            return Ok(match self.unary()? {
                Expr::Constant(Constant::Int(number)) => Expr::Constant(Constant::Int(-number)),
                Expr::Constant(Constant::Float(number)) => Expr::Constant(Constant::Float(-number)),
                other => Expr::Unary("-", Box::new(other)),
            });
        }
        self.primary()
    }

    fn primary(&mut self) -> Parsed<Expr> {
        match self.take() {
            Token::Number(text) => Expr::number(&text).ok_or_else(|| self.lost()),
            Token::Text(text) => Ok(Expr::Constant(Constant::Text(text))),
            Token::Placeholder(name) => self.placeholder(&name),
            Token::Symbol("*") => Ok(Expr::Star),
            Token::Symbol("(") => {
                let mut list = self.list(Self::expr)?;
                self.expect_symbol(")")?;
                Ok(if list.len() == 1 { list.remove(0) } else { Expr::Tuple(list) })
            }
            Token::Symbol("[") => {
                let list = if self.symbol("]") { Vec::new() } else { self.closed_list("]")? };
                Ok(Expr::Tuple(list))
            }
            Token::Quoted(name) => self.field(name),
            Token::Word(name) if !is_reserved(&name) => self.named(name),
            _ => {
                self.at -= 1;
                Err(self.lost())
            }
        }
    }

    fn closed_list(&mut self, end: &str) -> Parsed<Vec<Expr>> {
        let list = self.list(Self::expr)?;
        self.expect_symbol(end)?;
        Ok(list)
    }

    /// What a word stands for: a constant, a call or a column.
    fn named(&mut self, name: String) -> Parsed<Expr> {
        match name.to_ascii_lowercase().as_str() {
            "null" => return Ok(Expr::Constant(Constant::Null)),
            "true" => return Ok(Expr::Constant(Constant::Int(1))),
            "false" => return Ok(Expr::Constant(Constant::Int(0))),
            _ => {}
        }
        if !self.symbol("(") {
            return self.field(name);
        }
        let is_distinct = self.word("distinct");
        let arguments = if self.symbol(")") { Vec::new() } else { self.closed_list(")")? };
        Ok(Expr::Call(name, is_distinct, arguments))
    }

    fn field(&mut self, name: String) -> Parsed<Expr> {
        let mut chain = vec![name];
        while self.symbol(".") {
            chain.push(self.name()?);
        }
        Ok(Expr::Field(chain))
    }

    fn placeholder(&mut self, name: &str) -> Parsed<Expr> {
        match self.values.get(name) {
            Some(value) => Ok(Expr::value(value)),
            None => Err(format!("Placeholder {{{name}}} is not available in this context")),
        }
    }
}
