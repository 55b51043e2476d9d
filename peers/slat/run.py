"""Runs the verifier of the guide over the cases on standard input; prints what it says to each."""

import importlib.util
import json
import sys

spec = importlib.util.spec_from_file_location("verify", sys.argv[1])
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)

given = json.load(sys.stdin)
said = []
for case in given["cases"]:
    try:
        said.append(verify.verify_slat(case["token"], case["merchant"], given["keys"], case["now"]))
    except Exception:
        said.append(None)
json.dump(said, sys.stdout)
