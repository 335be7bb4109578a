# Which workload may call which host outside. The host is compared as a whole, with its port where it is not the usual one.
package postern.authz

import input.attributes.request.http

default decision := {"allowed": false, "reason": "no policy permits this request"}

decision := {"allowed": true, "reasons": sort(permits)} if {
	count(permits) > 0
}

# Whoever runs into the wall learns which host it was, and whom to ask.
decision := {
	"allowed": false,
	"reason": "this host and method are not on the workload's egress list; ask its owner for an entry",
	"reasons": ["not-listed"],
} if {
	count(permits) == 0
	http
}

permits contains "listed-host" if {
	http.method in data.egress.hosts[input.source_principal][http.host]
}

# The mirrors of a package registry: exactly one label before the name, so that neither the name itself nor
# `mirror.example.evil.example` nor `a.b.mirror.example` counts.
permits contains "mirror" if {
	http.method in {"GET", "HEAD"}
	input.postern.trust_domain == data.egress.trust_domain
	label := trim_suffix(http.host, concat("", [".", data.egress.mirrors]))
	label != http.host
	label != ""
	not contains(label, ".")
}
