# Attributes of crew, substation and moment.
package postern.authz

import input.attributes.request.http

crew := data.grid.crews[input.source_principal]

station := data.grid.substations[input.parsed_path[1]] if {
	input.parsed_path[0] == "substations"
}

voltage := station.breakers_kv[input.parsed_path[3]] if {
	count(input.parsed_path) == 4
	input.parsed_path[2] == "breakers"
}

default decision := {"allowed": false, "reason": "no policy permits this request"}

decision := {"allowed": true, "reasons": ["read-in-region"]} if {
	http.method == "GET"
	same_region
}

decision := {"allowed": true, "reasons": ["switch-in-window"]} if {
	http.method == "POST"
	voltage
	count(hindrances) == 0
}

# A refused crew learns at once of everything that stands against it.
decision := {
	"allowed": false,
	"reason": concat("; ", [why | some why in hindrances]),
	"reasons": ids,
} if {
	http.method == "POST"
	voltage
	count(hindrances) > 0
	ids := sort(object.keys(hindrances))
}

hindrances["clearance"] := "the crew's clearance does not cover the voltage" if not cleared

hindrances["region"] := "the crew works in another region" if not same_region

hindrances["window"] := "no maintenance window is open" if not window_open

cleared if crew.clearance_kv >= voltage

same_region if crew.region == station.region

# From the first moment of a window up to, not including, its end.
window_open if {
	some window in station.windows
	input.postern.now_ns >= window.from_ns
	input.postern.now_ns < window.to_ns
}
