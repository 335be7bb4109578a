package postern.authz_test

import data.postern.authz

request(method, claims) := {
	"source_principal": "spiffe://example.org/web",
	"attributes": {"request": {"http": {"method": method}}},
	"parsed_path": ["items", "7"],
	"claims": claims,
}

test_the_scope_for_reading_reads if {
	authz.decision.allowed with input as request("GET", {"sub": "ada", "scope": "openid items:read"})
}

test_the_scope_for_reading_does_not_write if {
	not authz.decision.allowed with input as request("PUT", {"sub": "ada", "scope": "items:read"})
}

test_another_workload_may_not_bring_the_token if {
	claims := {"sub": "ada", "scope": "items:read"}
	decision := authz.decision with input as request("GET", claims) with data.callers as []
	decision.reasons == ["no-permit"]
}
