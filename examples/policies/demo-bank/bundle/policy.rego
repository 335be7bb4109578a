# Who may do what at the demo bank.
package postern.authz

import input.attributes.request.http as http

web := "spiffe://demo.postern/web"

payments := "spiffe://demo.postern/payments"

caller := input.source_principal

# The answer: a permit names the rules that gave it, a deny says why.
decision := {"allowed": true, "reasons": sort(permits)} if count(permits) > 0

decision := {"allowed": false, "reasons": ["no-permit"], "reason": why} if count(permits) == 0

permits contains "health" if {
	http.method == "GET"
	input.parsed_path == ["healthz"]
}

permits contains "read-account" if {
	reads_account
	caller in {web, payments}
}

permits contains "make-payment" if {
	makes_payment
	caller == payments
}

reads_account if {
	http.method == "GET"
	count(input.parsed_path) == 2
	input.parsed_path[0] == "accounts"
	input.parsed_path[1] != ""
}

makes_payment if {
	http.method == "POST"
	count(input.parsed_path) == 3
	input.parsed_path[0] == "accounts"
	input.parsed_path[1] != ""
	input.parsed_path[2] == "payments"
}

why := sprintf("payments are made by %s alone, and the caller is %s", [payments, caller]) if {
	makes_payment
} else := sprintf("accounts are read by %s and %s alone, and the caller is %s", [web, payments, caller]) if {
	reads_account
} else := "no rule of the demo bank permits this request"
