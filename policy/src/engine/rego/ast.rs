//! A walk over a parsed module without recursion: a long chain of fields must not cost the loader's stack.
//!
//! Every enum of the parser is matched exhaustively, so that a new version of it with new syntax fails to build here
//! instead of passing the checks unseen.
use regorus::unstable::{
    Expr, Literal, LiteralStmt, Module, Query, Ref, Rule, RuleAssign, RuleBody, RuleHead, Span,
};

/// A reference: a base and what is selected from it.
#[derive(Debug)]
pub(super) struct Chain<'m> {
    /// The variable at its start, or the term if it starts with none.
    pub(super) base: &'m Expr,
    pub(super) selectors: Vec<Selector<'m>>,
}

/// One step of a reference.
#[derive(Clone, Copy, Debug)]
pub(super) enum Selector<'m> {
    /// A field by a name that stands in the source.
    Field(&'m str),
    /// Anything else between brackets.
    Dynamic(&'m Expr),
}

impl<'m> Chain<'m> {
    pub(super) fn of(expr: &'m Expr) -> Self {
        let mut selectors = Vec::new();
        let mut at = expr;
        loop {
            match at {
                Expr::RefDot { refr, field, .. } => {
                    selectors.push(Selector::Field(field.0.text()));
                    at = refr;
                }
                Expr::RefBrack { refr, index, .. } => {
                    selectors.push(match constant_text(index) {
                        Some(name) => Selector::Field(name),
                        None => Selector::Dynamic(index),
                    });
                    at = refr;
                }
                Expr::Var { .. }
                | Expr::String { .. }
                | Expr::RawString { .. }
                | Expr::Number { .. }
                | Expr::Bool { .. }
                | Expr::Null { .. }
                | Expr::Array { .. }
                | Expr::Set { .. }
                | Expr::Object { .. }
                | Expr::ArrayCompr { .. }
                | Expr::SetCompr { .. }
                | Expr::ObjectCompr { .. }
                | Expr::Call { .. }
                | Expr::UnaryExpr { .. }
                | Expr::BinExpr { .. }
                | Expr::BoolExpr { .. }
                | Expr::ArithExpr { .. }
                | Expr::AssignExpr { .. }
                | Expr::Membership { .. } => break,
            }
        }
        selectors.reverse();
        Self { base: at, selectors }
    }

    /// The variable the reference starts with.
    pub(super) fn root(&self) -> Option<&'m str> {
        variable(self.base)
    }
}

/// The name, if the expression is a variable.
pub(super) fn variable(expr: &Expr) -> Option<&str> {
    if let Expr::Var { span, .. } = expr { Some(span.text()) } else { None }
}

/// The text of a string literal without escapes.
fn constant_text(expr: &Expr) -> Option<&str> {
    if let Expr::RawString { span, .. } = expr {
        return Some(span.text());
    }
    if let Expr::String { span, .. } = expr {
        Some(span.text()).filter(|text| !text.contains('\\'))
    } else {
        None
    }
}

/// What the walk meets.
#[derive(Debug)]
pub(super) enum Node<'m> {
    /// A reference or a lone variable, unless it names the function of a call.
    Chain(Chain<'m>),
    /// A call: the function's name and the arguments.
    Call { function: Chain<'m>, params: &'m [Ref<Expr>], span: &'m Span },
    /// A statement of a body.
    Statement(&'m LiteralStmt),
}

enum Work<'m> {
    Expr(&'m Expr),
    Query(&'m Query),
}

/// Visits every node of one rule.
pub(super) fn walk_rule<'m>(rule: &'m Rule, visit: &mut dyn FnMut(Node<'m>)) {
    let mut work = Vec::new();
    match rule {
        Rule::Spec { head, bodies, .. } => {
            head_work(head, &mut work);
            for RuleBody { assign, query, .. } in bodies {
                assign_work(assign.as_ref(), &mut work);
                work.push(Work::Query(query));
            }
        }
        Rule::Default { refr, args, value, .. } => {
            selectors_work(refr, &mut work);
            work.extend(args.iter().map(|arg| Work::Expr(arg)));
            work.push(Work::Expr(value));
        }
    }
    run(work, visit);
}

/// Visits every node of one expression.
pub(super) fn walk_expr<'m>(expr: &'m Expr, visit: &mut dyn FnMut(Node<'m>)) {
    run(vec![Work::Expr(expr)], visit);
}

/// The variables of an expression, but for those in the bodies of comprehensions inside it.
pub(super) fn own_variables(expr: &Expr) -> Vec<&str> {
    let mut names = Vec::new();
    let mut work = vec![Work::Expr(expr)];
    while let Some(next) = work.pop() {
        match next {
            Work::Expr(Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. })
            | Work::Query(_) => {}
            Work::Expr(expr) => expr_work(expr, &mut work, &mut |node| {
                if let Node::Chain(chain) = node {
                    names.extend(chain.root());
                }
            }),
        }
    }
    names
}

/// Visits every node of a module's rules.
pub(super) fn walk_module<'m>(module: &'m Module, visit: &mut dyn FnMut(Node<'m>)) {
    for rule in &module.policy {
        walk_rule(rule, visit);
    }
}

fn head_work<'m>(head: &'m RuleHead, work: &mut Vec<Work<'m>>) {
    match head {
        RuleHead::Compr { refr, assign, .. } => {
            selectors_work(refr, work);
            assign_work(assign.as_ref(), work);
        }
        RuleHead::Set { refr, key, .. } => {
            selectors_work(refr, work);
            work.extend(key.iter().map(|key| Work::Expr(key)));
        }
        RuleHead::Func { args, assign, .. } => {
            work.extend(args.iter().map(|arg| Work::Expr(arg)));
            assign_work(assign.as_ref(), work);
        }
    }
}

fn assign_work<'m>(assign: Option<&'m RuleAssign>, work: &mut Vec<Work<'m>>) {
    work.extend(assign.map(|assign| Work::Expr(&assign.value)));
}

/// A head's own name is no reference; what stands in its brackets is.
fn selectors_work<'m>(refr: &'m Expr, work: &mut Vec<Work<'m>>) {
    for selector in Chain::of(refr).selectors {
        if let Selector::Dynamic(index) = selector {
            work.push(Work::Expr(index));
        }
    }
}

fn run<'m>(mut work: Vec<Work<'m>>, visit: &mut dyn FnMut(Node<'m>)) {
    while let Some(next) = work.pop() {
        match next {
            Work::Expr(expr) => expr_work(expr, &mut work, visit),
            Work::Query(query) => {
                for statement in &query.stmts {
                    visit(Node::Statement(statement));
                    statement_work(statement, &mut work);
                }
            }
        }
    }
}

fn statement_work<'m>(statement: &'m LiteralStmt, work: &mut Vec<Work<'m>>) {
    for modifier in &statement.with_mods {
        work.push(Work::Expr(&modifier.refr));
        work.push(Work::Expr(&modifier.r#as));
    }
    match &statement.literal {
        Literal::SomeVars { .. } => {}
        Literal::SomeIn { key, value, collection, .. } => {
            work.extend(key.iter().map(|key| Work::Expr(key)));
            work.extend([Work::Expr(value), Work::Expr(collection)]);
        }
        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => work.push(Work::Expr(expr)),
        Literal::Every { domain, query, .. } => work.extend([Work::Expr(domain), Work::Query(query)]),
    }
}

fn expr_work<'m>(expr: &'m Expr, work: &mut Vec<Work<'m>>, visit: &mut dyn FnMut(Node<'m>)) {
    match expr {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. } => {}
        Expr::Var { .. } => visit(Node::Chain(Chain::of(expr))),
        Expr::RefDot { .. } | Expr::RefBrack { .. } => {
            let chain = Chain::of(expr);
            if chain.root().is_none() {
                work.push(Work::Expr(chain.base));
            }
            selectors_work(expr, work);
            visit(Node::Chain(chain));
        }
        Expr::Call { fcn, params, span, .. } => {
            work.extend(params.iter().map(|param| Work::Expr(param)));
            visit(Node::Call { function: Chain::of(fcn), params, span });
        }
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            work.extend(items.iter().map(|item| Work::Expr(item)));
        }
        Expr::Object { fields, .. } => {
            for (_, key, value) in fields {
                work.extend([Work::Expr(key), Work::Expr(value)]);
            }
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            work.extend([Work::Expr(term), Work::Query(query)]);
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            work.extend([Work::Expr(key), Work::Expr(value), Work::Query(query)]);
        }
        Expr::UnaryExpr { expr, .. } => work.push(Work::Expr(expr)),
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => work.extend([Work::Expr(lhs), Work::Expr(rhs)]),
        Expr::Membership { key, value, collection, .. } => {
            work.extend(key.iter().map(|key| Work::Expr(key)));
            work.extend([Work::Expr(value), Work::Expr(collection)]);
        }
    }
}
