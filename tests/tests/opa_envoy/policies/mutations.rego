# Allows that change the request on its way up and the answer on its way down.
package postern.authz

path := input.parsed_path[0]

decision := object.union({"allowed": true}, changes)

default changes := {}

changes := {
	"headers": {"x-user": "web", "X-Role": "reader"},
	"request_headers_to_remove": ["x-secret", "cookie"],
	"response_headers_to_add": {"x-policy": "seen"},
	"dynamic_metadata": {"tier": "gold", "limits": {"rate": 7}},
} if {
	path == "headers"
}

changes := {
	"headers": [{"x-user": "first"}, {"x-tenant": "7"}],
	"response_headers_to_add": [{"x-a": "1"}, {"x-b": "2"}],
} if {
	path == "lists"
}

changes := {"headers": {"x-many": ["1", "2"]}} if path == "many-up"

changes := {"response_headers_to_add": {"x-many": ["1", "2"]}} if path == "many-down"

changes := {"response_headers_to_add": {"content-type": "text/x-policy"}} if path == "over-down"

changes := {"headers": {"x-both": "1"}, "request_headers_to_remove": ["x-both"]} if path == "both"

changes := {
	"query_parameters_to_set": {"as": "web", "lang": "en"},
	"query_parameters_to_remove": ["token", "absent"],
} if {
	path == "query"
}

changes := {"query_parameters_to_set": {"m": ["1", "2"]}} if path == "query-many"

changes := {
	"query_parameters_to_set": {"k": "v"},
	"query_parameters_to_remove": ["k"],
} if {
	path == "query-both"
}

changes := {"query_parameters_to_remove": ["only"]} if path == "query-gone"

changes := {"response_headers_to_add": {"set-cookie": ["a=1", "b=2"], "vary": "x-user"}} if path == "cookies"

changes := {"query_parameters_to_set": {"q": "a%20b+c"}} if path == "query-encoded"
