# A ward reads the records of its patients. In an emergency another one may: for one patient, for some hours, on an
# incident's number, and so that whoever reads the audit log finds it.
package postern.authz

import input.attributes.request.http

default decision := {"allowed": false, "reason": "no policy permits this request"}

decision := {"allowed": true, "reasons": ["own-patient"]} if {
	own_patient
	not incident
}

# Where nothing stands against it there is an incident that fits. The mark goes to the service, which tells the patient's ward.
decision := {
	"allowed": true,
	"headers": {"x-emergency": "yes"},
	"reasons": ["break-glass"],
	"dynamic_metadata": {"incident": incident},
} if {
	count(forbids) == 0
}

decision := {"allowed": false, "reason": forbids[ids[0]], "reasons": ids} if {
	patient
	incident
	ids := sort(object.keys(forbids))
}

patient := input.parsed_path[1] if {
	http.method == "GET"
	count(input.parsed_path) == 2
	input.parsed_path[0] == "records"
}

own_patient if patient in data.hospital.wards[input.source_principal]

# Whoever names an incident asks for emergency access and is judged by it, also for a patient of their own.
incident := http.headers["x-break-glass"]

emergency := data.hospital.emergencies[incident]

forbids["emergency-over"] := "the emergency access is not, or no longer, open" if {
	emergency
	not open
}

forbids["emergency-too-long"] := "the emergency access was granted for longer than is lawful" if {
	emergency.to_ns - emergency.from_ns > data.hospital.emergency_ns_max
}

forbids["emergency-unknown"] := "there is no such emergency access for this caller and patient" if {
	not fits
}

# From its first moment up to, not including, its end.
open if {
	input.postern.now_ns >= emergency.from_ns
	input.postern.now_ns < emergency.to_ns
}

fits if {
	emergency.holder == input.source_principal
	emergency.patient == patient
}
