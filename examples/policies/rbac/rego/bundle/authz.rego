# Roles by SPIFFE ID: who has a role with a permission that fits, may, unless the year is closed.
package postern.authz

import input.attributes.request.http

default decision := {"allowed": false, "reason": "no policy permits this request"}

decision := {"allowed": true, "reasons": sort(fitting)} if {
	count(fitting) > 0
	not frozen
}

decision := {
	"allowed": false,
	"reason": "the books of this year are closed",
	"reasons": ["frozen-year"],
} if {
	frozen
}

# The caller's roles with a permission for this method and path. The workload is looked up by its whole ID.
fitting contains role if {
	not "" in input.parsed_path
	some role in data.orders.workloads[input.source_principal]
	some permission in data.orders.roles[role]
	http.method in permission.methods
	glob.match(permission.path, ["/"], path)
}

# A closed year is changed by nobody, whatever the roles say.
frozen if {
	http.method in {"POST", "PUT", "PATCH", "DELETE"}
	input.parsed_path[0] == "archive"
	input.parsed_path[1] in data.orders.frozen_years
}

# The path in its decoded spelling.
path := concat("/", array.concat([""], input.parsed_path))
