# Which workload may call which gRPC method. A call is a POST to `/package.Service/Method`.
package postern.authz

import input.attributes.request.http

default decision := {"allowed": false, "reason": "no policy permits this request"}

decision := {"allowed": true, "reasons": [concat("/", input.parsed_path)]} if {
	http.method == "POST"
	count(input.parsed_path) == 2
	input.source_principal in data.grpc.callers[input.parsed_path[0]][input.parsed_path[1]]
	grpc
}

# Whoever is of the trust domain may ask whether the service is there.
decision := {"allowed": true, "reasons": ["health"]} if {
	http.method == "POST"
	input.parsed_path == ["grpc.health.v1.Health", "Check"]
	input.postern.trust_domain == data.grpc.trust_domain
	grpc
}

decision := {
	"allowed": false,
	"reason": "gRPC alone is spoken here",
	"reasons": ["not-grpc"],
} if {
	http
	not grpc
}

# A media type is a whole word, or has the encoding after a plus: `application/grpc-web` is another protocol.
grpc if http.headers["content-type"] == "application/grpc"

grpc if startswith(http.headers["content-type"], "application/grpc+")
