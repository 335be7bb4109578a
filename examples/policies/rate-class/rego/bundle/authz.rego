# Which rate class a request is counted in. The limiter behind this sidecar reads `x-rate-class` and nothing else.
package postern.authz

import input.attributes.request.http

default decision := {"allowed": false, "reason": "no policy permits this request"}

# The field replaces what the caller sent under this name: nobody chooses their own class.
decision := {
	"allowed": true,
	"headers": {"x-rate-class": class},
	"reasons": [class],
} if {
	http.method == "GET"
	count(input.parsed_path) == 2
	input.parsed_path[0] == "quotes"
	input.postern.trust_domain == data.rates.trust_domain
}

# Exports are heavy whoever asks for them; then the contract counts; the rest of the trust domain shares what is left.
class := "batch" if {
	input.parsed_path[1] == "export"
} else := object.get(data.rates.classes, input.source_principal, "standard")
