"""Judges certificate paths by PyCA cryptography: one JSON object a line in, one word a line out."""

import base64
import datetime
import json
import sys

from cryptography import x509
from cryptography.x509 import verification


def certificate(text):
    return x509.load_der_x509_certificate(base64.b64decode(text))


def main():
    head = json.loads(sys.stdin.readline())
    # What it demands of web servers' certificates is left out, as far as it lets that be left out.
    criticality = verification.Criticality.AGNOSTIC
    leaf = verification.ExtensionPolicy.permit_all().require_present(
        x509.SubjectAlternativeName, criticality, None
    )
    issuer = verification.ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, criticality, None
    )
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([certificate(root) for root in head["roots"]]))
        .time(datetime.datetime.fromtimestamp(head["now"], datetime.timezone.utc))
        .max_chain_depth(head["intermediates_max"])
        .extension_policies(ca_policy=issuer, ee_policy=leaf)
        .build_client_verifier()
    )
    for line in sys.stdin:
        leaf, *intermediates = json.loads(line)
        try:
            verifier.verify(certificate(leaf), [certificate(der) for der in intermediates])
            print("taken")
        except (verification.VerificationError, ValueError) as error:
            print("refused:", " ".join(str(error).split()))


main()
