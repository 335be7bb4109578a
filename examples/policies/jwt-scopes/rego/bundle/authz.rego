# Scopes of a verified token, bound to the workload that presents it.
package postern.authz

import input.attributes.request.http

default decision := {"allowed": false, "reason": "no policy permits this request"}

# The service sees whom the decision was about: the field replaces what the caller may have sent under this name.
decision := {
	"allowed": true,
	"headers": {"x-user": input.claims.sub},
	"reasons": [needed],
} if {
	count(forbids) == 0
}

decision := {
	"allowed": false,
	"reason": forbids[ids[0]],
	"reasons": ids,
	"headers": challenge,
} if {
	needed
	ids := sort(object.keys(forbids))
}

# The scope that this request takes; without one nothing is permitted.
needed := "patients:read" if {
	http.method == "GET"
	patient
}

needed := "patients:write" if {
	http.method == "PUT"
	patient
}

patient if {
	count(input.parsed_path) == 2
	input.parsed_path[0] == "patients"
	input.parsed_path[1] != ""
}

# A scope means what its issuer means by it: those of any other issuer count for nothing. They are whole words of a text.
scopes contains scope if {
	input.postern.token_issuer == data.clinic.issuer
	is_string(input.claims.scope)
	some scope in split(input.claims.scope, " ")
}

# What stands against the request, by its name.
forbids[lacks] := sprintf("the token lacks the scope %s", [needed]) if {
	not needed in scopes
	lacks := concat("-", ["lacks", needed])
}

# Writing is for the portal alone, whatever the token says.
forbids["portal-only"] := "patients are changed through the portal alone" if {
	needed == "patients:write"
	input.source_principal != data.clinic.portal
}

forbids["subject"] := "the token does not say whose it is" if not subject

# A rule of its own: `not is_string(input.claims.sub)` would be undefined, and not true, where there is no claim.
subject if is_string(input.claims.sub)

# Whoever lacks a scope is told which one to ask for (RFC 6750, 3.1).
default challenge := {}

challenge := {"www-authenticate": text} if {
	not needed in scopes
	text := sprintf("Bearer error=\"insufficient_scope\", scope=\"%s\"", [needed])
}
