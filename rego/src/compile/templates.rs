//! What stands in a template binds nothing: its variables must have their values from the body around it. OPA judges that
//! before calls are taken out of terms and expressions are put in order, so that a body binds less here than later.
use super::build::{equation, name_in_source};
use super::error::CompileError;
use super::lower::roots;
use super::safety::{Arity, Orderer};
use super::vars::{self, Vars};
use crate::ast::{Body, Expr, ExprKind, Rule, Str, TemplatePart, Term, TermKind, With};

type Done = Result<(), CompileError>;

pub(crate) struct Judge<'a> {
    orderer: Orderer<'a>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(arity: Arity<'a>) -> Self {
        Self { orderer: Orderer::new(arity) }
    }

    /// Judges a definition and its `else` branches.
    pub(crate) fn rule(&self, rule: &Rule) -> Done {
        for rule in std::iter::successors(Some(rule), |rule| rule.otherwise.as_deref()) {
            let mut bound = roots();
            let head = &rule.head;
            head.args.iter().flatten().for_each(|term| vars::in_term(term, vars::ALL, &mut bound));
            let bound = self.body(&rule.body, &bound)?;
            let terms = head.reference.iter().skip(1).chain(head.args.iter().flatten());
            terms.chain(&head.key).chain(&head.value).try_for_each(|term| self.term(term, &bound))?;
        }
        Ok(())
    }

    pub(crate) fn query(&self, body: &Body) -> Done {
        self.body(body, &roots()).map(|_| ())
    }

    /// The variables that have values after a body, those from before included.
    fn body(&self, body: &Body, before: &Vars) -> Result<Vars, CompileError> {
        let mut bound = before.clone();
        let mut left_over = Vars::new();
        for expr in body {
            bound.extend(self.orderer.outputs(expr, &bound, &mut left_over));
        }
        body.iter().try_for_each(|expr| self.expr(expr, &bound))?;
        Ok(bound)
    }

    fn expr(&self, expr: &Expr, bound: &Vars) -> Done {
        match &expr.kind {
            ExprKind::Term(term) => self.term(term, bound)?,
            ExprKind::Call(call) => call.args.iter().try_for_each(|term| self.term(term, bound))?,
            ExprKind::Every { key, value, domain, body } => {
                self.term(domain, bound)?;
                let mut inside = bound.clone();
                inside.extend(key.iter().chain([value]).map(|(name, _)| name.clone()));
                self.body(body, &inside)?;
            }
            ExprKind::Some(_) | ExprKind::SomeIn { .. } => {}
        }
        expr.with.iter().try_for_each(|with| self.term(&with.value, bound))
    }

    fn term(&self, term: &Term, bound: &Vars) -> Done {
        match &term.kind {
            TermKind::Template(parts) => self.template(parts, bound, bound),
            TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
                self.comprehension(&[head], body, bound)
            }
            TermKind::ObjectComprehension(key, value, body) => self.comprehension(&[key, value], body, bound),
            _ => {
                let mut done = Ok(());
                vars::each_child(term, &mut |child| {
                    if done.is_ok() {
                        done = self.term(child, bound);
                    }
                });
                done
            }
        }
    }

    /// A head that is a template knows the variables of the body. One that a template is a part of does not.
    fn comprehension(&self, heads: &[&Term], body: &Body, bound: &Vars) -> Done {
        let inside = self.body(body, bound)?;
        heads.iter().try_for_each(|head| match &head.kind {
            TermKind::Template(parts) => self.template(parts, &inside, bound),
            _ => self.term(head, bound),
        })
    }

    /// `outside` is what templates in the template know.
    fn template(&self, parts: &[TemplatePart], bound: &Vars, outside: &Vars) -> Done {
        for part in parts {
            let (term, with): (&Term, &[With]) = match part {
                TemplatePart::Text(_) => continue,
                TemplatePart::Term(term) => (term, &[]),
                TemplatePart::With(term, with) => (term, with),
            };
            if matches!(term.kind, TermKind::Var(_)) {
                continue;
            }
            self.part(term, bound)?;
            let capture = equation(&Str::from(""), term.clone(), with.to_vec());
            self.body(&vec![capture], outside)?;
        }
        Ok(())
    }

    fn part(&self, term: &Term, bound: &Vars) -> Done {
        if let TermKind::Call(call) = &term.kind
            && matches!(call.function.as_slice(), [name] if name.as_ref() == "walk")
        {
            let what = "walk may have many results, and a template takes one: collect them before (`[x | walk(…, x)]`)";
            return Err(CompileError::new(term.loc, what));
        }
        let unknown = vars::of_term(term, vars::SAFETY).into_iter().find(|name| !bound.contains(name));
        unknown.map_or(Ok(()), |name| {
            let name = name_in_source(&name).unwrap_or("_");
            let what = format!("var {name} is undeclared: give it a value before the template");
            Err(CompileError::new(term.loc, what))
        })
    }
}
