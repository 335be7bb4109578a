"""Tokens minted and verified by two Python libraries. One JSON document in, one out.

{"mint": {"claims": {...}}}                       -> [{"library", "alg", "jwk", "token"}]
{"verify": [{"alg", "jwk", "token"}], "now": 0}   -> [{"pyjwt": null | why, "joserfc": null | why}]
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

import jwt as pyjwt
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *CURVES, "EdDSA"]


def generate(alg):
    if alg in CURVES:
        return ECKey.generate_key(CURVES[alg])
    if alg == "EdDSA":
        return OKPKey.generate_key("Ed25519")
    return RSAKey.generate_key(2048)


def mint(claims):
    made = []
    for alg in ALGORITHMS:
        key = generate(alg)
        public = dict(key.as_dict(private=False), kid="k1")
        header = {"alg": alg, "kid": "k1", "typ": "at+jwt"}
        private = pyjwt.PyJWK.from_dict(dict(key.as_dict(private=True)), algorithm=alg).key
        tokens = {
            "pyjwt": pyjwt.encode(claims, private, algorithm=alg, headers=header),
            "joserfc": joserfc_jwt.encode(header, claims, key, algorithms=[alg]),
        }
        made += [{"library": name, "alg": alg, "jwk": public, "token": token} for name, token in tokens.items()]
    return made


def by_pyjwt(item, now):
    key = pyjwt.PyJWK.from_dict(item["jwk"], algorithm=item["alg"]).key
    # The tokens live in another year than this machine.
    options = {"verify_iat": False, "verify_exp": False, "require": ["exp", "aud"]}
    pyjwt.decode(item["token"], key, algorithms=[item["alg"]], audience="orders", options=options)


def by_joserfc(item, now):
    key = JWKRegistry.import_key(item["jwk"])
    token = joserfc_jwt.decode(item["token"], key, algorithms=[item["alg"]])
    rules = {"aud": {"essential": True, "value": "orders"}, "exp": {"essential": True}}
    joserfc_jwt.JWTClaimsRegistry(now=now, **rules).validate(token.claims)


def verdict(verify, item, now):
    try:
        verify(item, now)
        return None
    except Exception as error:  # whatever it is, it is a refusal
        return f"{type(error).__name__}: {error}"


asked = json.load(sys.stdin)
if "mint" in asked:
    answer = mint(asked["mint"]["claims"])
else:
    answer = [
        {"pyjwt": verdict(by_pyjwt, item, asked["now"]), "joserfc": verdict(by_joserfc, item, asked["now"])}
        for item in asked["verify"]
    ]
json.dump(answer, sys.stdout)
