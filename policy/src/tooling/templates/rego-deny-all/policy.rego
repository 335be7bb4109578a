# Nothing is permitted. Add a rule that makes `decision` true, or an object with `allowed` true, for what shall be.
package postern.authz

default decision := {"allowed": false, "reason": "no rule permits this request"}
