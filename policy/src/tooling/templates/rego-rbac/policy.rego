# Roles by SPIFFE ID: who has a role with a permission that fits, may. `data.json` says who has which.
package postern.authz

import input.attributes.request.http as http

default decision := {"allowed": false, "reason": "no role of the caller permits this request"}

decision := {"allowed": true, "reasons": sort(fitting)} if count(fitting) > 0

fitting contains role if {
	some role in data.access.workloads[input.source_principal]
	some permission in data.access.roles[role]
	http.method in permission.methods
	count(input.parsed_path) == 2
	input.parsed_path[0] == permission.resource
}
