//! A policy's scope: which principals, actions and resources it is about.
use cedar_policy_core::ast::{
    ActionConstraint, Entity, EntityReference, EntityType, EntityUID, Policy, PrincipalOrResourceConstraint,
};
use cedar_policy_core::entities::{Dereference, Entities};
use std::sync::Arc;

/// One entity of a request, and what the store holds of it.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) uid: &'a EntityUID,
    /// Absent where the store does not know the entity: it is then in nothing but itself.
    pub(super) entity: Option<&'a Entity>,
}

impl<'a> Part<'a> {
    pub(super) fn of(uid: &'a EntityUID, entities: &'a Entities) -> Self {
        let entity = match entities.entity(uid) {
            Dereference::Data(entity) => Some(entity),
            Dereference::NoSuchEntity | Dereference::Residual(_) => None,
        };
        Self { uid, entity }
    }
}

impl Part<'_> {
    fn is_in(self, other: &EntityUID) -> bool {
        self.uid == other || self.entity.is_some_and(|entity| entity.is_descendant_of(other))
    }

    /// Itself, and everything that it is in.
    pub(super) fn all(&self) -> impl Iterator<Item = &EntityUID> {
        std::iter::once(self.uid).chain(self.entity.into_iter().flat_map(Entity::ancestors))
    }
}

/// What a policy asks of the principal or of the resource.
#[derive(Debug)]
pub(super) enum Scope {
    Any,
    Is(Arc<EntityType>),
    Eq(Arc<EntityUID>),
    In(Arc<EntityUID>),
    IsIn(Arc<EntityType>, Arc<EntityUID>),
}

impl Scope {
    fn of(constraint: PrincipalOrResourceConstraint) -> Option<Self> {
        let filled = |reference| match reference {
            EntityReference::EUID(uid) => Some(uid),
            EntityReference::Slot(_) => None,
        };
        Some(match constraint {
            PrincipalOrResourceConstraint::Any => Self::Any,
            PrincipalOrResourceConstraint::Is(kind) => Self::Is(kind),
            PrincipalOrResourceConstraint::Eq(uid) => Self::Eq(filled(uid)?),
            PrincipalOrResourceConstraint::In(uid) => Self::In(filled(uid)?),
            PrincipalOrResourceConstraint::IsIn(kind, uid) => Self::IsIn(kind, filled(uid)?),
        })
    }

    fn holds(&self, part: Part<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Is(kind) => part.uid.entity_type() == &**kind,
            Self::Eq(uid) => part.uid == &**uid,
            Self::In(uid) => part.is_in(uid),
            Self::IsIn(kind, uid) => part.uid.entity_type() == &**kind && part.is_in(uid),
        }
    }

    /// The entity without which it does not hold.
    pub(super) fn uid(&self) -> Option<&EntityUID> {
        match self {
            Self::Any | Self::Is(_) => None,
            Self::Eq(uid) | Self::In(uid) | Self::IsIn(_, uid) => Some(uid),
        }
    }

    /// The type without which it does not hold.
    pub(super) fn kind(&self) -> Option<&EntityType> {
        match self {
            Self::Is(kind) | Self::IsIn(kind, _) => Some(kind),
            Self::Any | Self::Eq(_) | Self::In(_) => None,
        }
    }
}

/// All that a policy asks of a request before its condition is looked at. It cannot err.
#[derive(Debug)]
pub(super) struct Scopes {
    pub(super) principal: Scope,
    pub(super) action: ActionConstraint,
    pub(super) resource: Scope,
}

impl Scopes {
    /// Nothing where a slot of a template is open: such a policy is none.
    pub(super) fn of(policy: &Policy) -> Option<Self> {
        Some(Self {
            principal: Scope::of(policy.principal_constraint().into_inner())?,
            action: policy.action_constraint().clone(),
            resource: Scope::of(policy.resource_constraint().into_inner())?,
        })
    }

    pub(super) fn hold(&self, principal: Part<'_>, action: Part<'_>, resource: Part<'_>) -> bool {
        self.each_holds([principal, action, resource]) == [true; 3]
    }

    /// What of it holds: principal, action, resource.
    pub(super) fn each_holds(&self, [principal, action, resource]: [Part<'_>; 3]) -> [bool; 3] {
        let action_holds = match &self.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => action.uid == &**uid,
            ActionConstraint::In(uids) => uids.iter().any(|uid| action.is_in(uid)),
        };
        [self.principal.holds(principal), action_holds, self.resource.holds(resource)]
    }

    /// The actions of which one must be the request's or above it; nothing for any action.
    pub(super) fn actions(&self) -> Option<Vec<&EntityUID>> {
        match &self.action {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(uid) => Some(vec![uid]),
            ActionConstraint::In(uids) => Some(uids.iter().map(|uid| &**uid).collect()),
        }
    }
}
