# Answers with the input itself.
package postern.authz

decision := {"allowed": false, "http_status": 403, "body": json.marshal(input)}
