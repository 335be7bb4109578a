# Says what has been parsed, in base64.
package postern.authz

decision := {"allowed": true, "response_headers_to_add": {"x-parsed": base64.encode(json.marshal(parsed))}}

parsed := [object.get(input, name, "absent") | some name in ["parsed_body", "truncated_body", "parsed_query"]]
