# Service accounts of a Kubernetes cluster, as its SPIFFE IDs name them: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`.
package postern.authz

import input.attributes.request.http

default decision := {"allowed": false, "reason": "no policy permits this request"}

decision := {"allowed": true, "reasons": sort(permits)} if {
	count(permits) > 0
	not faceless
}

decision := {
	"allowed": false,
	"reason": "the service account `default` is nobody's own; run the workload under one of its own",
	"reasons": ["default-account"],
} if {
	faceless
}

# The ID is taken apart as a whole: more or fewer parts than these are no service account.
account := {"namespace": namespace, "name": name} if {
	input.postern.trust_domain == data.cluster.trust_domain
	["spiffe:", "", _, "ns", namespace, "sa", name] = split(input.source_principal, "/")
}

# Whatever runs in a namespace without an account of its own runs under this one, so that it says nothing.
faceless if account.name == "default"

permits contains "namespace-reads" if {
	http.method == "GET"
	count(input.parsed_path) == 2
	input.parsed_path[0] == "catalog"
	account.namespace in data.cluster.readers
}

permits contains "account-orders" if {
	http.method == "POST"
	input.parsed_path == ["orders"]
	account.name in data.cluster.writers[account.namespace]
}

permits contains "account-scrapes" if {
	http.method == "GET"
	input.parsed_path == ["metrics"]
	account.name in data.cluster.scrapers[account.namespace]
}
