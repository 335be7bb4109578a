package postern.authz_test

import data.postern.authz

test_nothing_is_permitted if {
	not authz.decision.allowed
}
