package postern.authz_test

import data.postern.authz

request(method, claims) := {
	"source_principal": "spiffe://clinic.example/portal",
	"attributes": {"request": {"http": {"method": method}}},
	"parsed_path": ["patients", "42"],
	"postern": {"token_issuer": "https://idp.clinic.example"},
	"claims": claims,
}

test_a_scope_permits if {
	decision := authz.decision with input as request("GET", {"sub": "ada", "scope": "patients:read"})
	decision.headers == {"x-user": "ada"}
}

test_the_portal_is_data if {
	decision := authz.decision with input as request("PUT", {"sub": "ada", "scope": "patients:write"})
		with data.clinic.portal as "spiffe://clinic.example/other"
	decision.reasons == ["portal-only"]
}

test_the_issuer_is_data if {
	decision := authz.decision with input as request("GET", {"sub": "ada", "scope": "patients:read"})
		with data.clinic.issuer as "https://idp.other.example"
	decision.reasons == ["lacks-patients:read"]
}
