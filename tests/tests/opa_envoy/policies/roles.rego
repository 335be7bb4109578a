# Who may do what, by a user in basic authentication: the shape in which the plugin's introduction shows a policy.
package postern.authz

import input.attributes.request.http as http_request

default decision := false

decision if {
	some role in roles[user]
	some grant in grants[role]
	grant.method == http_request.method
	startswith(http_request.path, grant.path)
}

user := name if {
	[scheme, encoded] := split(http_request.headers.authorization, " ")
	lower(scheme) == "basic"
	[name, _] := split(base64.decode(encoded), ":")
}

roles := {"alice": ["guest"], "bob": ["guest", "admin"]}

grants := {
	"guest": [{"method": "GET", "path": "/people"}],
	"admin": [{"method": "GET", "path": "/"}, {"method": "POST", "path": "/people"}],
}
