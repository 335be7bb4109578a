# Whose statements they are stands in the path, who asks in the token: /customers/{customer}/statements/{month}.
package postern.authz

import input.attributes.request.http

default decision := {"allowed": false, "reason": "no policy permits this request"}

decision := {"allowed": true, "reasons": sort(permits)} if {
	count(permits) > 0
}

decision := {
	"allowed": false,
	"reason": sprintf("the statements of %s are for themselves and their advisor", [customer]),
	"reasons": ["other-customer"],
} if {
	count(permits) == 0
}

# The parameter exists where the whole path has its shape. A month is 2026-01 to 2026-12.
customer := input.parsed_path[1] if {
	http.method == "GET"
	count(input.parsed_path) == 4
	input.parsed_path[0] == "customers"
	input.parsed_path[1] != ""
	input.parsed_path[2] == "statements"
	regex.match(`^20[0-9]{2}-(0[1-9]|1[0-2])$`, input.parsed_path[3])
}

# The portal alone brings tokens of people: a token that somebody else holds is not one's own any more.
subject := input.claims.sub if {
	input.source_principal == data.statements.portal
}

permits contains "own-statements" if {
	customer == subject
}

permits contains "advisor-reads" if {
	customer in data.statements.advisors[subject]
}
