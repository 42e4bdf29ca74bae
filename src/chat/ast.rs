//! What a template is made of.

/// A statement, or a piece of text.
pub(super) struct Node {
    pub line: usize,
    pub kind: NodeKind,
}

pub(super) enum NodeKind {
    Text(Box<str>),
    Print(Expr),
    /// The branches of an `if`, and what holds otherwise.
    If(Vec<(Expr, Vec<Node>)>, Vec<Node>),
    For(Box<For>),
    Set(Target, Expr),
    SetBlock(Target, Vec<Applied>, Vec<Node>),
    With(Vec<(Target, Expr)>, Vec<Node>),
    Filter(Vec<Applied>, Vec<Node>),
    Macro(Macro),
    Break,
    Continue,
}

/// A filter that is applied to a block: its name and its arguments.
pub(super) type Applied = (Box<str>, Args);

pub(super) struct For {
    pub target: Target,
    pub items: Expr,
    pub only: Option<Expr>,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

pub(super) enum Target {
    Name(Box<str>),
    /// An attribute of a namespace.
    Attribute(Box<str>, Box<str>),
    Tuple(Vec<Target>),
}

pub(super) struct Macro {
    pub name: Box<str>,
    pub params: Vec<(Box<str>, Option<Expr>)>,
    pub body: Vec<Node>,
}

/// An expression, and how many are within each other in it.
pub(super) struct Expr {
    pub depth: u32,
    pub kind: ExprKind,
}

#[derive(Default)]
pub(super) struct Args {
    pub plain: Vec<Expr>,
    pub named: Vec<(Box<str>, Expr)>,
}

pub(super) enum ExprKind {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Box<str>),
    Name(Box<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attribute(Box<Expr>, Box<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Args),
    Filter(Box<Expr>, Box<str>, Args),
    Test(Box<Expr>, Box<str>, Args),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// The texts of all, one after the other.
    Concat(Vec<Expr>),
    /// A chain of comparisons, each with the value before it.
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    /// Condition, value if it holds, value otherwise.
    Choice(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}
