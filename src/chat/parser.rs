//! Tokens to statements and expressions, by Jinja's grammar.
//!
//! Nothing is nested deeper than the constants here say, long chains of operators included, so that whatever walks the
//! tree needs little stack.

use super::ast::*;
use super::lexer::{Token, tokens};

/// Expressions within each other.
const DEEPEST: u32 = 200;
/// Blocks within each other.
const BLOCKS: usize = 50;

type Parsed<T> = Result<T, String>;

/// The statements of a template; or a line and what is wrong there.
pub(super) fn parse(source: &str) -> Result<Vec<Node>, (usize, String)> {
    let tokens = tokens(source)?;
    let mut parser = Parser { tokens, at: 0, nested: 0, blocks: Vec::new(), loops: 0 };
    let parsed = parser.body(&[]);
    parsed.map_err(|what| (parser.line(), what))
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    nested: u32,
    /// The blocks that are open.
    blocks: Vec<&'static str>,
    /// Loops around, within the innermost macro.
    loops: usize,
}

impl Parser {
    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(line, _)| *line)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Some(Token::Op(found)) if *found == op)
    }

    fn take_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.at += usize::from(found);
        found
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(found)) if found == name)
    }

    fn take_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    fn need_op(&mut self, op: &str) -> Parsed<()> {
        if self.take_op(op) { Ok(()) } else { self.unexpected(&format!("`{op}`")) }
    }

    fn need_name(&mut self) -> Parsed<Box<str>> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.as_str().into();
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        let found = match self.peek() {
            None => "the end of the template".to_owned(),
            Some(Token::Text(_)) => "text".to_owned(),
            Some(Token::PrintStart) => "`{{`".to_owned(),
            Some(Token::PrintEnd) => "`}}`".to_owned(),
            Some(Token::BlockStart) => "`{%`".to_owned(),
            Some(Token::BlockEnd) => "`%}`".to_owned(),
            Some(Token::Name(name)) => format!("`{name}`"),
            Some(Token::Str(_)) => "a string".to_owned(),
            Some(Token::Int(_) | Token::Float(_)) => "a number".to_owned(),
            Some(Token::Op(op)) => format!("`{op}`"),
        };
        Err(format!("expected {wanted}, found {found}"))
    }

    fn block_end(&mut self) -> Parsed<()> {
        if self.peek() != Some(&Token::BlockEnd) {
            return self.unexpected("`%}`");
        }
        self.at += 1;
        Ok(())
    }

    // Statements.

    /// Statements up to a tag that begins with one of these names, which is left for the caller behind its `{%`; without
    /// names, up to the end.
    fn body(&mut self, ends: &[&str]) -> Parsed<Vec<Node>> {
        let mut out = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.peek() {
                None if ends.is_empty() => return Ok(out),
                None => return Err(format!("`{}` has no end", self.blocks.last().unwrap_or(&"a block"))),
                Some(Token::Text(text)) => {
                    let text = text.as_str().into();
                    self.at += 1;
                    NodeKind::Text(text)
                }
                Some(Token::PrintStart) => {
                    self.at += 1;
                    let value = self.tuple()?;
                    if self.peek() != Some(&Token::PrintEnd) {
                        return self.unexpected("`}}`");
                    }
                    self.at += 1;
                    NodeKind::Print(value)
                }
                _ => {
                    self.at += 1;
                    let name = self.need_name()?;
                    if ends.contains(&&*name) {
                        self.at -= 1;
                        return Ok(out);
                    }
                    if &*name == "generation" {
                        // Marks what training looks at; what is in it is rendered as if there were no mark.
                        self.block_end()?;
                        out.extend(self.inner("generation", "endgeneration")?);
                        continue;
                    }
                    self.statement(&name)?
                }
            };
            out.push(Node { line, kind });
        }
    }

    /// A block's statements and its end tag.
    fn inner(&mut self, name: &'static str, end: &str) -> Parsed<Vec<Node>> {
        let body = self.section(name, &[end])?;
        self.at += 1;
        self.block_end()?;
        Ok(body)
    }

    fn section(&mut self, name: &'static str, ends: &[&str]) -> Parsed<Vec<Node>> {
        if self.blocks.len() >= BLOCKS {
            return Err(format!("blocks are nested more than {BLOCKS} deep"));
        }
        self.blocks.push(name);
        let body = self.body(ends)?;
        self.blocks.pop();
        Ok(body)
    }

    fn statement(&mut self, name: &str) -> Parsed<NodeKind> {
        match name {
            "if" => self.conditional(),
            "for" => self.for_loop(),
            "set" => self.set(),
            "with" => self.with(),
            "filter" => {
                let filters = self.block_filters(false)?;
                self.block_end()?;
                Ok(NodeKind::Filter(filters, self.inner("filter", "endfilter")?))
            }
            "macro" => self.macro_block().map(NodeKind::Macro),
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(format!("`{name}` outside of a loop"));
                }
                self.block_end()?;
                Ok(if name == "break" { NodeKind::Break } else { NodeKind::Continue })
            }
            "block" | "extends" | "include" | "import" | "from" | "call" | "do" | "autoescape" => {
                Err(format!("the tag `{name}` is not supported"))
            }
            _ => Err(format!("unknown tag `{name}`")),
        }
    }

    fn conditional(&mut self) -> Parsed<NodeKind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple()?;
            self.block_end()?;
            branches.push((condition, self.section("if", &["elif", "else", "endif"])?));
            let name = self.need_name()?;
            match &*name {
                "elif" => continue,
                "else" => {
                    self.block_end()?;
                    return Ok(NodeKind::If(branches, self.inner("if", "endif")?));
                }
                _ => {
                    self.block_end()?;
                    return Ok(NodeKind::If(branches, Vec::new()));
                }
            }
        }
    }

    fn for_loop(&mut self) -> Parsed<NodeKind> {
        let target = self.target(false)?;
        if !self.take_name("in") {
            return self.unexpected("`in`");
        }
        let items = self.tuple_of(Self::or)?;
        let only = if self.take_name("if") { Some(self.expression()?) } else { None };
        if self.is_name("recursive") {
            return Err("`recursive` loops are not supported".to_owned());
        }
        self.block_end()?;
        self.loops += 1;
        let body = self.section("for", &["else", "endfor"]);
        self.loops -= 1;
        let body = body?;
        let otherwise = if self.take_name("else") {
            self.block_end()?;
            self.inner("for", "endfor")?
        } else {
            self.at += 1;
            self.block_end()?;
            Vec::new()
        };
        Ok(NodeKind::For(Box::new(For { target, items, only, body, otherwise })))
    }

    fn set(&mut self) -> Parsed<NodeKind> {
        let target = self.target(true)?;
        if self.take_op("=") {
            let value = self.tuple()?;
            self.block_end()?;
            return Ok(NodeKind::Set(target, value));
        }
        let filters = if self.is_op("|") { self.block_filters(true)? } else { Vec::new() };
        self.block_end()?;
        Ok(NodeKind::SetBlock(target, filters, self.inner("set", "endset")?))
    }

    fn with(&mut self) -> Parsed<NodeKind> {
        let mut values = Vec::new();
        while self.peek() != Some(&Token::BlockEnd) {
            if !values.is_empty() {
                self.need_op(",")?;
            }
            let target = self.target_item(false)?;
            self.need_op("=")?;
            values.push((target, self.expression()?));
        }
        self.block_end()?;
        Ok(NodeKind::With(values, self.inner("with", "endwith")?))
    }

    fn macro_block(&mut self) -> Parsed<Macro> {
        let name = self.need_name()?;
        self.need_op("(")?;
        let mut params: Vec<(Box<str>, Option<Expr>)> = Vec::new();
        while !self.take_op(")") {
            if !params.is_empty() {
                self.need_op(",")?;
            }
            let name = self.need_name()?;
            let default = if self.take_op("=") { Some(self.expression()?) } else { None };
            if default.is_none() && params.last().is_some_and(|(_, default)| default.is_some()) {
                return Err("a parameter without a default follows one with a default".to_owned());
            }
            params.push((name, default));
        }
        self.block_end()?;
        let loops = std::mem::take(&mut self.loops);
        let body = self.inner("macro", "endmacro");
        self.loops = loops;
        Ok(Macro { name, params, body: body? })
    }

    fn block_filters(&mut self, piped: bool) -> Parsed<Vec<Applied>> {
        let mut filters = Vec::new();
        if !piped {
            filters.push(self.named_args()?);
        }
        while self.take_op("|") {
            filters.push(self.named_args()?);
        }
        Ok(filters)
    }

    /// A filter's name and its arguments.
    fn named_args(&mut self) -> Parsed<Applied> {
        let name = self.need_name()?;
        let args = if self.take_op("(") { self.args()? } else { Args::default() };
        Ok((name, args))
    }

    fn target(&mut self, attributes: bool) -> Parsed<Target> {
        let first = self.target_item(attributes)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.take_op(",") {
            if self.is_name("in") || self.is_op("=") {
                break;
            }
            targets.push(self.target_item(attributes)?);
        }
        Ok(Target::Tuple(targets))
    }

    fn target_item(&mut self, attributes: bool) -> Parsed<Target> {
        if self.take_op("(") {
            return self.nested(|parser| {
                let inner = parser.target(attributes)?;
                parser.need_op(")")?;
                Ok(inner)
            });
        }
        let name = self.need_name()?;
        if ["true", "false", "none", "True", "False", "None"].contains(&&*name) {
            return Err(format!("`{name}` cannot be assigned to"));
        }
        if attributes && self.take_op(".") {
            return Ok(Target::Attribute(name, self.need_name()?));
        }
        Ok(Target::Name(name))
    }

    // Expressions.

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.nested += 1;
        if self.nested > DEEPEST {
            return Err(too_deep());
        }
        let parsed = parse(self);
        self.nested -= 1;
        parsed
    }

    /// An expression, or several with commas between them.
    fn tuple(&mut self) -> Parsed<Expr> {
        self.tuple_of(Self::expression)
    }

    fn tuple_of(&mut self, item: fn(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
        let first = item(self)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_op(",") {
            let ends = matches!(self.peek(), None | Some(Token::PrintEnd | Token::BlockEnd)) || self.is_op(")");
            if ends {
                break;
            }
            items.push(item(self)?);
        }
        let depth = deepest(&items);
        expr(depth, ExprKind::Tuple(items))
    }

    fn expression(&mut self) -> Parsed<Expr> {
        self.nested(Self::choice)
    }

    fn choice(&mut self) -> Parsed<Expr> {
        let mut value = self.or()?;
        while self.take_name("if") {
            let condition = self.or()?;
            let otherwise = if self.take_name("else") { Some(Box::new(self.expression()?)) } else { None };
            let depth = value.depth.max(condition.depth).max(otherwise.as_ref().map_or(0, |e| e.depth));
            value = expr(depth, ExprKind::Choice(Box::new(condition), Box::new(value), otherwise))?;
        }
        Ok(value)
    }

    fn or(&mut self) -> Parsed<Expr> {
        let mut left = self.and()?;
        while self.take_name("or") {
            left = two(left, self.and()?, ExprKind::Or)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Expr> {
        let mut left = self.not()?;
        while self.take_name("and") {
            left = two(left, self.not()?, ExprKind::And)?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed<Expr> {
        if self.take_name("not") {
            let inner = self.nested(Self::not)?;
            return one(inner, ExprKind::Not);
        }
        self.compare()
    }

    fn compare(&mut self) -> Parsed<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let comparison = match self.peek() {
                Some(Token::Op("==")) => Comparison::Eq,
                Some(Token::Op("!=")) => Comparison::Ne,
                Some(Token::Op("<")) => Comparison::Lt,
                Some(Token::Op("<=")) => Comparison::Le,
                Some(Token::Op(">")) => Comparison::Gt,
                Some(Token::Op(">=")) => Comparison::Ge,
                Some(Token::Name(name)) if name == "in" => Comparison::In,
                Some(Token::Name(name)) if name == "not" => {
                    if !matches!(self.tokens.get(self.at + 1), Some((_, Token::Name(name))) if name == "in") {
                        break;
                    }
                    self.at += 1;
                    Comparison::NotIn
                }
                _ => break,
            };
            self.at += 1;
            rest.push((comparison, self.sum()?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        let depth = rest.iter().map(|(_, e)| e.depth).max().unwrap_or_default().max(first.depth);
        expr(depth, ExprKind::Compare(Box::new(first), rest))
    }

    fn binary(&mut self, operators: &[(&str, Binary)], operand: fn(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
        let mut left = operand(self)?;
        while let Some((_, binary)) = operators.iter().find(|(op, _)| self.is_op(op)) {
            self.at += 1;
            left = two(left, operand(self)?, |a, b| ExprKind::Binary(*binary, a, b))?;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Parsed<Expr> {
        self.binary(&[("+", Binary::Add), ("-", Binary::Sub)], Self::concat)
    }

    fn concat(&mut self) -> Parsed<Expr> {
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_op("~") {
            parts.push(self.product()?);
        }
        expr(deepest(&parts), ExprKind::Concat(parts))
    }

    fn product(&mut self) -> Parsed<Expr> {
        let operators = [("*", Binary::Mul), ("/", Binary::Div), ("//", Binary::FloorDiv), ("%", Binary::Rem)];
        self.binary(&operators, Self::power)
    }

    fn power(&mut self) -> Parsed<Expr> {
        self.binary(&[("**", Binary::Pow)], |parser| parser.unary(true))
    }

    fn unary(&mut self, filters: bool) -> Parsed<Expr> {
        let mut value = if self.take_op("-") {
            one(self.nested(|parser| parser.unary(false))?, ExprKind::Negative)?
        } else if self.take_op("+") {
            one(self.nested(|parser| parser.unary(false))?, ExprKind::Positive)?
        } else {
            self.primary()?
        };
        value = self.postfix(value)?;
        if filters {
            value = self.filters(value)?;
        }
        Ok(value)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let Some(token) = self.peek() else { return self.unexpected("an expression") };
        let kind = match token {
            Token::Name(name) => match name.as_str() {
                "true" | "True" => ExprKind::Bool(true),
                "false" | "False" => ExprKind::Bool(false),
                "none" | "None" => ExprKind::None,
                name => ExprKind::Name(name.into()),
            },
            Token::Int(value) => ExprKind::Int(*value),
            Token::Float(value) => ExprKind::Float(*value),
            Token::Str(text) => {
                let mut text = text.clone();
                while let Some((_, Token::Str(more))) = self.tokens.get(self.at + 1) {
                    text.push_str(more);
                    self.at += 1;
                }
                ExprKind::Str(text.into())
            }
            Token::Op("(") => {
                self.at += 1;
                if self.take_op(")") {
                    return expr(0, ExprKind::Tuple(Vec::new()));
                }
                let inner = self.tuple()?;
                self.need_op(")")?;
                return Ok(inner);
            }
            Token::Op("[") => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.take_op("]") {
                    if !items.is_empty() {
                        self.need_op(",")?;
                        if self.take_op("]") {
                            break;
                        }
                    }
                    items.push(self.expression()?);
                }
                return expr(deepest(&items), ExprKind::List(items));
            }
            Token::Op("{") => {
                self.at += 1;
                return self.dict();
            }
            _ => return self.unexpected("an expression"),
        };
        self.at += 1;
        expr(0, kind)
    }

    fn dict(&mut self) -> Parsed<Expr> {
        let mut pairs: Vec<(Expr, Expr)> = Vec::new();
        while !self.take_op("}") {
            if !pairs.is_empty() {
                self.need_op(",")?;
                if self.take_op("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.need_op(":")?;
            pairs.push((key, self.expression()?));
        }
        let depth = pairs.iter().map(|(key, value)| key.depth.max(value.depth)).max().unwrap_or_default();
        expr(depth, ExprKind::Dict(pairs))
    }

    /// Attributes, items, slices and calls behind a value.
    fn postfix(&mut self, mut value: Expr) -> Parsed<Expr> {
        loop {
            if self.take_op(".") {
                if let Some(Token::Int(at)) = self.peek() {
                    let at = expr(0, ExprKind::Int(*at))?;
                    self.at += 1;
                    value = two(value, at, ExprKind::Item)?;
                    continue;
                }
                let name = self.need_name()?;
                value = one(value, |value| ExprKind::Attribute(value, name))?;
            } else if self.take_op("[") {
                value = self.subscript(value)?;
            } else if self.is_op("(") {
                value = self.call(value)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn call(&mut self, callee: Expr) -> Parsed<Expr> {
        self.need_op("(")?;
        let args = self.args()?;
        let depth = callee.depth.max(args.depth());
        expr(depth, ExprKind::Call(Box::new(callee), args))
    }

    fn subscript(&mut self, value: Expr) -> Parsed<Expr> {
        let mut parts: [Option<Box<Expr>>; 3] = [None, None, None];
        let mut at = 0;
        while !self.is_op("]") {
            if self.take_op(":") {
                at += 1;
                if at > 2 {
                    return self.unexpected("`]`");
                }
                continue;
            }
            if parts[at].is_some() {
                return self.unexpected("`]`");
            }
            parts[at] = Some(Box::new(self.expression()?));
        }
        self.need_op("]")?;
        let depth = parts.iter().flatten().map(|e| e.depth).max().unwrap_or_default().max(value.depth);
        match (at, parts) {
            (0, [Some(item), ..]) => expr(depth, ExprKind::Item(Box::new(value), item)),
            (0, _) => Err("expected an index, found `]`".to_owned()),
            (_, parts) => expr(depth, ExprKind::Slice(Box::new(value), parts)),
        }
    }

    fn filters(&mut self, mut value: Expr) -> Parsed<Expr> {
        loop {
            if self.take_op("|") {
                let (name, args) = self.named_args()?;
                let depth = value.depth.max(args.depth());
                value = expr(depth, ExprKind::Filter(Box::new(value), name, args))?;
            } else if self.take_name("is") {
                value = self.test(value)?;
            } else if self.is_op("(") {
                value = self.call(value)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn test(&mut self, value: Expr) -> Parsed<Expr> {
        let negated = self.take_name("not");
        let name = self.need_name()?;
        let words = ["else", "or", "and"]; // not arguments, but what follows the test
        let mut args = Args::default();
        if self.take_op("(") {
            args = self.args()?;
        } else if match self.peek() {
            Some(Token::Name(name)) if name == "is" => return Err("a test follows a test".to_owned()),
            Some(Token::Name(name)) => !words.contains(&name.as_str()),
            Some(Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Op("[" | "{")) => true,
            _ => false,
        } {
            let argument = self.primary()?;
            args.plain.push(self.postfix(argument)?);
        }
        let depth = value.depth.max(args.depth());
        let test = expr(depth, ExprKind::Test(Box::new(value), name, args))?;
        if negated { one(test, ExprKind::Not) } else { Ok(test) }
    }

    /// Arguments and the closing bracket.
    fn args(&mut self) -> Parsed<Args> {
        let mut args = Args::default();
        let mut first = true;
        while !self.take_op(")") {
            if !std::mem::take(&mut first) {
                self.need_op(",")?;
                if self.take_op(")") {
                    break;
                }
            }
            let named = matches!(self.peek(), Some(Token::Name(_)))
                && matches!(self.tokens.get(self.at + 1), Some((_, Token::Op("="))));
            if named {
                let name = self.need_name()?;
                self.at += 1;
                args.named.push((name, self.expression()?));
            } else if args.named.is_empty() {
                args.plain.push(self.expression()?);
            } else {
                return Err("an argument without a name follows one with a name".to_owned());
            }
        }
        Ok(args)
    }
}

impl Args {
    fn depth(&self) -> u32 {
        let named = self.named.iter().map(|(_, e)| e.depth).max().unwrap_or_default();
        named.max(deepest(&self.plain))
    }
}

fn deepest(exprs: &[Expr]) -> u32 {
    exprs.iter().map(|e| e.depth).max().unwrap_or_default()
}

fn too_deep() -> String {
    format!("expressions are nested more than {DEEPEST} deep")
}

/// An expression around others, of which the deepest is that deep.
fn expr(depth: u32, kind: ExprKind) -> Parsed<Expr> {
    if depth >= DEEPEST {
        return Err(too_deep());
    }
    Ok(Expr { depth: depth + 1, kind })
}

fn one(inner: Expr, kind: impl FnOnce(Box<Expr>) -> ExprKind) -> Parsed<Expr> {
    expr(inner.depth, kind(Box::new(inner)))
}

fn two(left: Expr, right: Expr, kind: impl FnOnce(Box<Expr>, Box<Expr>) -> ExprKind) -> Parsed<Expr> {
    expr(left.depth.max(right.depth), kind(Box::new(left), Box::new(right)))
}
