# What a transfer is stands in its body: POST /transfers with `amount` in cents, `currency`, the beneficiary's `country` and,
# if it goes through another bank, `intermediary` with a `country` of its own.
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

forbids["country"] := "the beneficiary's country is missing, or none that we transfer to" if {
	not country_fits
}

forbids["currency"] := "the currency is missing, or none that we transfer" if not currency_fits

# One who has no intermediary says nothing of it; whoever names one says where it is.
forbids["intermediary"] := "the intermediary's country is missing, or none that we transfer through" if {
	_ = input.parsed_body.intermediary
	not intermediary_fits
}

# Rules of their own: `not x in y` would be undefined, and not true, where there is no `x`.
amount_fits if {
	amount := input.parsed_body.amount
	is_number(amount)
	amount == floor(amount)
	amount >= 1
	amount <= data.transfers.limits[input.source_principal]
}

country_fits if input.parsed_body.country in data.transfers.countries

currency_fits if input.parsed_body.currency in data.transfers.currencies

intermediary_fits if input.parsed_body.intermediary.country in data.transfers.countries
