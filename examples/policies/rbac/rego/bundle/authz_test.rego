package postern.authz_test

import data.postern.authz

request(method, path) := {
	"source_principal": "spiffe://example.org/shop",
	"attributes": {"request": {"http": {"method": method}}},
	"parsed_path": path,
}

test_a_role_permits if {
	authz.decision == {"allowed": true, "reasons": ["writer"]} with input as request("PUT", ["archive", "2026", "7"])
}

test_what_no_role_has_is_denied if {
	not authz.decision.allowed with input as request("DELETE", ["orders", "7"])
}

test_a_year_is_closed_by_data if {
	decision := authz.decision with input as request("PUT", ["archive", "2026", "7"])
		with data.orders.frozen_years as ["2026"]
	decision.reasons == ["frozen-year"]
}

test_a_workload_without_roles_is_denied if {
	not authz.decision.allowed with input as request("GET", ["orders", "7"])
		with data.orders.workloads as {}
}
