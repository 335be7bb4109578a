package postern.authz_test

import data.postern.authz

switch(crew, now_ns) := {
	"source_principal": crew,
	"attributes": {"request": {"http": {"method": "POST"}}},
	"parsed_path": ["substations", "alder", "breakers", "b1"],
	"postern": {"now_ns": now_ns},
}

north := "spiffe://grid.example/crew/north"

test_a_crew_switches_in_a_window if {
	authz.decision.allowed with input as switch(north, 1700000000000000000)
}

test_without_a_window_nothing_is_switched if {
	decision := authz.decision with input as switch(north, 1700000000000000000)
		with data.grid.substations.alder.windows as []
	decision.reasons == ["window"]
}

test_an_unknown_crew_is_told_of_everything if {
	decision := authz.decision with input as switch("spiffe://grid.example/crew/x", 0)
	decision.reasons == ["clearance", "region", "window"]
}
