# Denies in the policy's own words, as they are written where a browser or an API client reads them.
package postern.authz

default decision := {"allowed": false}

path := input.parsed_path[0]

decision := {"allowed": true} if path == "open"

decision := {"allowed": false, "http_status": 302, "headers": {"location": "https://login.example.org/?next=%2Fapp"}} if {
	path == "login"
}

decision := {
	"allowed": false,
	"http_status": 401,
	"headers": {"www-authenticate": "Bearer realm=\"things\"", "x-why": "no token"},
	"body": "say who you are",
} if {
	path == "token"
}

decision := {
	"allowed": false,
	"http_status": 403,
	"headers": {"content-type": "application/json"},
	"body": json.marshal({"error": "forbidden", "path": input.parsed_path}),
} if {
	path == "json"
}

decision := {
	"allowed": false,
	"http_status": 204,
	"headers": [{"access-control-allow-origin": "*"}, {"access-control-allow-methods": "GET"}],
} if {
	path == "preflight"
}

decision := {"allowed": false, "http_status": 200, "body": "nothing to see"} if path == "calm"

decision := {"allowed": false, "http_status": 429, "headers": {"retry-after": "7"}, "body": "later"} if path == "later"

decision := {"allowed": false, "http_status": 503, "body": "closed"} if path == "closed"

decision := {"allowed": false, "http_status": 418, "body": "unknown to Envoy"} if path == "teapot"

decision := {"allowed": false, "http_status": "403"} if path == "text-status"

decision := {"allowed": false, "body": 1} if path == "number-body"

decision := {"allowed": false, "headers": {"x-two": ["1", "2"]}, "body": "two"} if path == "two"

decision := {"allowed": "yes"} if path == "text-allowed"

decision := {"result": true} if path == "no-allowed"

decision := {"allowed": true, "headers": "x"} if path == "text-headers"

decision := {"allowed": true, "request_headers_to_remove": "x"} if path == "text-remove"

decision := {"allowed": true, "query_parameters_to_set": {"a": 1}} if path == "number-query"

decision := {"allowed": true, "dynamic_metadata": "x"} if path == "text-metadata"

decision := {"allowed": true, "unknown_member": [1]} if path == "unknown"
