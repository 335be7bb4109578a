# Raw TCP streams have no path and no method. What is known is who connects, from where, to what, and when.
package postern.authz

default decision := {"allowed": false, "reason": "no policy permits this request"}

decision := {"allowed": true, "reasons": sort(permits)} if {
	count(permits) > 0
	count(forbids) == 0
}

decision := {"allowed": false, "reason": forbids[ids[0]], "reasons": ids} if {
	ids := sort(object.keys(forbids))
}

# A route that carries HTTP is not in the data, and a request over HTTP is not about a stream.
stream := data.streams[input.postern.route] if {
	input.postern.action == "connect"
}

permits contains "service" if {
	input.source_principal in stream.callers
}

permits contains "operator" if {
	input.source_principal in stream.operators
}

# People work in the day. From six in the morning up to, not including, eight in the evening, UTC.
forbids["operator-hours"] := "operators connect between 06:00 and 20:00 UTC" if {
	input.source_principal in stream.operators
	not daytime
}

forbids["other-network"] := "the stream comes from a network that the service is not reached from" if {
	stream
	not near
}

forbids["other-port"] := "the stream goes to a port that is not the service's" if {
	input.attributes.destination.address.socketAddress.portValue != stream.port
}

daytime if {
	[hour, _, _] := time.clock([input.postern.now_ns, "UTC"])
	hour >= 6
	hour < 20
}

near if {
	some network in stream.networks
	net.cidr_contains(network, input.attributes.source.address.socketAddress.address)
}
