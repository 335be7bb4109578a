package postern.authz_test

import data.postern.authz

request(now_ns) := {
	"source_principal": "spiffe://hospital.example/ward/er",
	"attributes": {"request": {"http": {"method": "GET", "headers": {"x-break-glass": "INC-1"}}}},
	"parsed_path": ["records", "p-1"],
	"postern": {"now_ns": now_ns},
}

emergency := {"holder": "spiffe://hospital.example/ward/er", "patient": "p-1", "from_ns": 10, "to_ns": 20}

test_it_is_open_from_its_first_moment_to_before_its_end[moment.at] if {
	some moment in [
		{"at": "before", "now_ns": 9, "open": false},
		{"at": "first", "now_ns": 10, "open": true},
		{"at": "last", "now_ns": 19, "open": true},
		{"at": "end", "now_ns": 20, "open": false},
	]
	decision := authz.decision with input as request(moment.now_ns)
		with data.hospital.emergencies as {"INC-1": emergency}
	decision.allowed == moment.open
}

test_the_record_names_the_incident if {
	decision := authz.decision with input as request(15)
		with data.hospital.emergencies as {"INC-1": emergency}
	decision.dynamic_metadata == {"incident": "INC-1"}
}

test_the_longest_is_data if {
	decision := authz.decision with input as request(15)
		with data.hospital.emergencies as {"INC-1": emergency}
		with data.hospital.emergency_ns_max as 9
	decision.reasons == ["emergency-too-long"]
}
