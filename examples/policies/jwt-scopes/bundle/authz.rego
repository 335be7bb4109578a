# Scopes of a verified token, bound to the workload that presents it.
package postern.authz

import input.attributes.request.http as http

portal := "spiffe://clinic.example/portal"

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

scopes := {scope | some scope in split(input.claims.scope, " ")}

granted if needed in scopes

# Writing is for the portal alone, whatever the token says.
caller_fits if http.method == "GET"

caller_fits if input.source_principal == portal

decision := {
	"allowed": true,
	"headers": {"x-user": input.claims.sub},
	"reasons": [needed],
} if {
	granted
	caller_fits
} else := {
	"allowed": false,
	"reason": "patients are changed through the portal alone",
	"reasons": ["portal-only"],
} if {
	granted
} else := {
	"allowed": false,
	"reason": sprintf("the token lacks the scope %s", [needed]),
	"reasons": ["scope"],
	"headers": {"www-authenticate": sprintf("Bearer error=\"insufficient_scope\", scope=\"%s\"", [needed])},
} if {
	needed
} else := {
	"allowed": false,
	"reason": "no rule permits this request",
	"reasons": ["no-permit"],
}
