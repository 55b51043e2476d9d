"""Signs events with Stripe's official SDK for Python.

Reads JSON lines {"payload","secret","timestamp"} and answers each with the `Stripe-Signature` header's value, after
the SDK itself has verified it.
"""

import json
import sys

import stripe

for line in sys.stdin:
    request = json.loads(line)
    payload, secret, timestamp = request["payload"], request["secret"], request["timestamp"]
    signature = stripe.WebhookSignature._compute_signature(f"{timestamp}.{payload}", secret)
    header = f"t={timestamp},v1={signature}"
    stripe.WebhookSignature.verify_header(payload, header, secret)
    print(header, flush=True)
