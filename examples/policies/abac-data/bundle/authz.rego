# Attributes of crew, substation and moment.
package postern.authz

import input.attributes.request.http as http

crew := data.grid.crews[input.source_principal]

station := data.grid.substations[input.parsed_path[1]] if input.parsed_path[0] == "substations"

breaker := station.breakers[input.parsed_path[3]] if {
	count(input.parsed_path) == 4
	input.parsed_path[2] == "breakers"
}

same_region if crew.region == station.region

window_open if {
	some window in station.windows
	input.postern.now_ns >= window.from_ns
	input.postern.now_ns < window.to_ns
}

default decision := {"allowed": false, "reason": "no rule permits this request", "reasons": ["no-permit"]}

decision := {"allowed": true, "reasons": ["read-in-region"]} if {
	http.method == "GET"
	same_region
}

decision := {"allowed": true, "reasons": ["switch-in-window"]} if switches

decision := {"allowed": false, "reason": concat("; ", sort(hindrances)), "reasons": sort(hindrance_names)} if {
	http.method == "POST"
	breaker
	not switches
}

switches if {
	http.method == "POST"
	breaker
	count(hindrances) == 0
}

# Everything that stands against switching, so that a refused crew learns all of it at once.
hindrances contains "the crew works in another region" if not same_region

hindrances contains "the crew's clearance does not cover the voltage" if not cleared

hindrances contains "no maintenance window is open" if not window_open

hindrance_names contains "region" if not same_region

hindrance_names contains "clearance" if not cleared

hindrance_names contains "window" if not window_open

cleared if crew.clearance_kv >= breaker.voltage_kv
