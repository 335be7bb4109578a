# The scopes of a verified token say what may be done, and the calling workload says who may bring it.
package postern.authz

import input.attributes.request.http as http

default decision := {"allowed": false, "reason": "no rule permits this request", "reasons": ["no-permit"]}

needed := "items:read" if http.method in {"GET", "HEAD"}

needed := "items:write" if http.method in {"POST", "PUT", "DELETE"}

scopes := {scope | some scope in split(input.claims.scope, " ")}

caller_fits if input.source_principal in data.callers

decision := {"allowed": true, "headers": {"x-user": input.claims.sub}, "reasons": [needed]} if {
	input.parsed_path[0] == "items"
	caller_fits
	needed in scopes
} else := {
	"allowed": false,
	"reason": sprintf("the token lacks the scope %s", [needed]),
	"reasons": ["scope"],
	"headers": {"www-authenticate": sprintf("Bearer error=\"insufficient_scope\", scope=\"%s\"", [needed])},
} if {
	input.parsed_path[0] == "items"
	caller_fits
}
