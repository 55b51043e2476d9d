"""Verifies deliveries, given as JSON on standard input, with two public libraries; prints how many each
accepted, as sent and with a changed body."""

import json
import sys

import standardwebhooks
import svix.webhooks

deliveries = json.load(sys.stdin)


def count(library, change):
    accepted = 0
    for delivery in deliveries:
        try:
            library(delivery["secret"]).verify(change(delivery["body"]), delivery["headers"])
            accepted += 1
        except Exception:
            pass
    return accepted


libraries = {"standardwebhooks": standardwebhooks.Webhook, "svix": svix.webhooks.Webhook}
said = {
    name: [count(library, lambda body: body), count(library, lambda body: body.replace('"id"', '"iD"', 1))]
    for name, library in libraries.items()
}
json.dump(said, sys.stdout)
