# A tenant's documents are for that tenant: the path, the token and the header must all name the same one.
package postern.authz

import input.attributes.request.http

default decision := {"allowed": false, "reason": "no policy permits this request"}

# What the service reads is the tenant that was decided on, whatever the caller sent.
decision := {
	"allowed": true,
	"headers": {"x-tenant": tenant},
	"reasons": sort(permits),
} if {
	count(permits) > 0
	count(forbids) == 0
}

decision := {"allowed": false, "reason": forbids[ids[0]], "reasons": ids} if {
	ids := sort(object.keys(forbids))
}

# The tenant of the path. Without one there is nothing to permit.
tenant := input.parsed_path[1] if {
	count(input.parsed_path) == 4
	input.parsed_path[0] == "tenants"
	input.parsed_path[2] == "documents"
	input.parsed_path[3] != ""
}

permits contains "own-tenant" if {
	http.method in {"GET", "PUT"}
	input.source_principal == data.tenants.gateway
	tenant == input.claims.tenant
}

# Support sees what a tenant has opened to it, and changes nothing.
permits contains "support-read" if {
	http.method == "GET"
	tenant in data.tenants.support[input.source_principal]
}

forbids["other-header"] := "the header x-tenant names another tenant than the path" if {
	http.headers["x-tenant"] != tenant
}

forbids["other-tenant"] := "the token belongs to another tenant" if {
	input.claims.tenant != tenant
}
