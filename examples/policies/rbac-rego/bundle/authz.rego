# Roles by SPIFFE ID: who has a role with a permission that fits, may.
package postern.authz

import input.attributes.request.http as http

default decision := {"allowed": false, "reason": "no role of the caller permits this request"}

decision := {"allowed": true, "reasons": sort(fitting)} if count(fitting) > 0

# The caller's roles with a permission for this method and path. A closed order is not changed by anybody.
fitting contains role if {
	some role in data.orders.workloads[input.source_principal]
	some permission in data.orders.roles[role]
	http.method in permission.methods
	glob.match(permission.path, ["/"], path)
	not frozen
}

frozen if {
	http.method in {"POST", "PUT", "PATCH", "DELETE"}
	glob.match("/archive/**", ["/"], path)
}

path := concat("", ["/", concat("/", input.parsed_path)])
