//! What conditions read of a request: only that is built for a decision.
//!
//! Taken from the syntax tree, and over-approximated: a condition that uses `context` otherwise than by naming a member
//! reads all of it, and a tag's name that is no literal reads all tags.
use cedar_policy_core::ast::{BinaryOp, EntityUID, Expr, ExprKind, Literal, Var};
use std::collections::{BTreeSet, HashSet};

/// A member of the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Member {
    Now = 1,
    Source = 1 << 1,
    Destination = 1 << 2,
    Tls = 1 << 3,
    Claims = 1 << 4,
    Transaction = 1 << 5,
    WorkloadToken = 1 << 6,
    Id = 1 << 7,
    Scheme = 1 << 8,
    Authority = 1 << 9,
    Path = 1 << 10,
    Segments = 1 << 11,
    Depth = 1 << 12,
    Headers = 1 << 13,
    Query = 1 << 14,
    Protocol = 1 << 15,
    Body = 1 << 16,
}

impl Member {
    const ALL: [Self; 17] = [
        Self::Now,
        Self::Source,
        Self::Destination,
        Self::Tls,
        Self::Claims,
        Self::Transaction,
        Self::WorkloadToken,
        Self::Id,
        Self::Scheme,
        Self::Authority,
        Self::Path,
        Self::Segments,
        Self::Depth,
        Self::Headers,
        Self::Query,
        Self::Protocol,
        Self::Body,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Tls => "tls",
            Self::Claims => "claims",
            Self::Transaction => "transaction",
            Self::WorkloadToken => "workload_token",
            Self::Id => "id",
            Self::Scheme => "scheme",
            Self::Authority => "authority",
            Self::Path => "path",
            Self::Segments => "segments",
            Self::Depth => "depth",
            Self::Headers => "headers",
            Self::Query => "query",
            Self::Protocol => "protocol",
            Self::Body => "body",
        }
    }
}

/// Which tags are asked for, of whatever entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    All,
    Named(BTreeSet<String>),
}

impl Tags {
    pub(super) fn want(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// What is read by one condition, or by several.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    members: u32,
    pub(super) tags: Tags,
    /// The entities that are named.
    pub(super) literals: HashSet<EntityUID>,
    /// Which of the request's own entities are asked about.
    pub(super) own: Own,
}

/// The entities of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own {
    pub(super) principal: bool,
    pub(super) action: bool,
    pub(super) resource: bool,
}

impl Own {
    pub(super) const ALL: Self = Self { principal: true, action: true, resource: true };
}

impl Default for Reads {
    fn default() -> Self {
        Self { members: 0, tags: Tags::Named(BTreeSet::new()), literals: HashSet::new(), own: Own::default() }
    }
}

impl Reads {
    #[cfg(test)]
    pub(super) fn everything() -> Self {
        Self { members: u32::MAX, tags: Tags::All, literals: HashSet::new(), own: Own::ALL }
    }

    pub(super) fn has(&self, member: Member) -> bool {
        self.members & (member as u32) != 0
    }

    pub(super) fn has_named(&self, name: &str) -> bool {
        Member::ALL.into_iter().any(|member| member.name() == name && self.has(member))
    }

    /// Adds what a condition reads.
    pub(super) fn add(&mut self, condition: &Expr) {
        // Every `context` that names a member is counted twice: the two counts are equal if there is no other one.
        let (mut naming, mut contexts) = (0_usize, 0_usize);
        for part in condition.subexpressions() {
            let named = match part.expr_kind() {
                ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => Some((expr, attr)),
                ExprKind::ExtHasAttr { expr, attrs } => Some((expr, attrs.first())),
                ExprKind::Var(Var::Context) => {
                    contexts = contexts.saturating_add(1);
                    None
                }
                ExprKind::Var(own) => {
                    self.own.principal |= *own == Var::Principal;
                    self.own.action |= *own == Var::Action;
                    self.own.resource |= *own == Var::Resource;
                    None
                }
                ExprKind::BinaryApp { op: BinaryOp::GetTag | BinaryOp::HasTag, arg2, .. } => {
                    self.add_tag(arg2);
                    None
                }
                ExprKind::Lit(Literal::EntityUID(uid)) => {
                    self.literals.insert(EntityUID::clone(uid));
                    None
                }
                ExprKind::Lit(_)
                | ExprKind::Slot(_)
                | ExprKind::Unknown(_)
                | ExprKind::If { .. }
                | ExprKind::And { .. }
                | ExprKind::Or { .. }
                | ExprKind::UnaryApp { .. }
                | ExprKind::BinaryApp { .. }
                | ExprKind::ExtensionFunctionApp { .. }
                | ExprKind::Like { .. }
                | ExprKind::Is { .. }
                | ExprKind::Set(_)
                | ExprKind::Record(_) => None,
            };
            if let Some((base, member)) = named
                && matches!(base.expr_kind(), ExprKind::Var(Var::Context))
            {
                naming = naming.saturating_add(1);
                self.add_member(member);
            }
        }
        if naming != contexts {
            self.members = u32::MAX;
        }
    }

    fn add_member(&mut self, name: &str) {
        // A name that is not in the contract is not in any context either.
        let member = Member::ALL.into_iter().find(|member| member.name() == name);
        self.members |= member.map_or(0, |member| member as u32);
    }

    fn add_tag(&mut self, name: &Expr) {
        match (&mut self.tags, name.expr_kind()) {
            (Tags::Named(names), ExprKind::Lit(Literal::String(name))) => {
                names.insert(name.to_string());
            }
            _ => self.tags = Tags::All,
        }
    }
}
