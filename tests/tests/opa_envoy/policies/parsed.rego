# Decisions by what the plugin has parsed: path, query and body.
package postern.authz

default decision := {"allowed": false}

decision := {"allowed": true} if input.parsed_path == ["open"]

decision := {"allowed": true} if {
	input.parsed_path == ["a/b", "c"]
}

decision := {"allowed": true} if {
	input.parsed_path == ["a", "b", "c"]
}

decision := {"allowed": true} if {
	input.parsed_path[0] == "search"
	input.parsed_query.q == ["two words"]
	count(input.parsed_query.tag) == 2
}

decision := {"allowed": true} if {
	input.parsed_path == ["orders"]
	input.parsed_body.amount < 100
	not input.truncated_body
}

decision := {"allowed": true} if {
	input.parsed_path == ["form"]
	input.parsed_body.colour == ["red", "blue green"]
}

decision := {"allowed": true} if {
	input.parsed_path == ["upload"]
	input.parsed_body.title == ["a title"]
	input.parsed_body.facts[0].pages == 3
	not input.truncated_body
}
