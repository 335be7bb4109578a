# What a transfer is for stands in its body: POST /transfers with `amount` in cents, `currency` and `beneficiary`.
package postern.authz

import input.attributes.request.http

default decision := {"allowed": false, "reason": "no policy permits this request"}

decision := {"allowed": true, "reasons": ["transfer"]} if {
	transfer
	count(forbids) == 0
}

decision := {"allowed": false, "reason": forbids[ids[0]], "reasons": ids} if {
	transfer
	ids := sort(object.keys(forbids))
}

transfer if {
	http.method == "POST"
	input.parsed_path == ["transfers"]
}

# Each rule says what must be there, so that a field of another type, or none, is refused and never passed over.
forbids["amount"] := "the amount is a whole number of cents, at least one, and within the caller's limit" if {
	not amount_fits
}

forbids["beneficiary"] := "the beneficiary's country is missing, or one that nothing is sent to" if {
	not beneficiary_fits
}

forbids["currency"] := "the currency is none that we transfer" if not currency_fits

amount_fits if {
	amount := input.parsed_body.amount
	is_number(amount)
	amount == floor(amount)
	amount >= 1
	amount <= data.transfers.limits[input.source_principal]
}

beneficiary_fits if {
	country := input.parsed_body.beneficiary.country
	regex.match(`^[A-Z]{2}$`, country)
	not country in data.transfers.embargoed
}

currency_fits if input.parsed_body.currency in data.transfers.currencies
