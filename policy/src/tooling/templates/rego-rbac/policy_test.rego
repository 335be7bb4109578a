package postern.authz_test

import data.postern.authz

request(who, method, path) := {
	"source_principal": who,
	"attributes": {"request": {"http": {"method": method}}},
	"parsed_path": path,
}

test_a_reader_reads if {
	authz.decision.allowed with input as request("spiffe://example.org/web", "GET", ["items", "7"])
}

test_a_reader_changes_nothing if {
	not authz.decision.allowed with input as request("spiffe://example.org/web", "PUT", ["items", "7"])
}

test_roles_and_their_names[case.note] if {
	some case in [
		{"note": "admin writes", "who": "admin", "method": "PUT", "reasons": ["writer"]},
		{"note": "admin reads", "who": "admin", "method": "GET", "reasons": ["reader"]},
	]
	caller := sprintf("spiffe://example.org/%s", [case.who])
	decision := authz.decision with input as request(caller, case.method, ["items", "7"])
	decision.reasons == case.reasons
}
