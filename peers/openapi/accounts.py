"""Makes accounts with one of every object, and prints what the fuzzer needs of them as shell settings."""

import json
import shlex
import sys
import urllib.request

ORIGIN = sys.argv[1]


def call(method, path, key=None, body=None):
    request = urllib.request.Request(ORIGIN + path, method=method)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    data = None
    if body is not None:
        request.add_header("Content-Type", "application/json")
        data = json.dumps(body).encode()
    with urllib.request.urlopen(request, data) as reply:
        return json.load(reply)


def main():
    advertiser = call("POST", "/api/quickstart", body={"name": "Fuzzed advertiser"})
    affiliate = call("POST", "/api/quickstart", body={"name": "Fuzzed affiliate"})
    key, other = advertiser["api_key"], affiliate["api_key"]
    call("POST", "/api/wallet/topup", key, {"amount": 500})
    call("POST", "/api/subscription/pro", key, {})
    program = call("POST", "/api/programs", key, {
        "name": "My SaaS", "commission_type": "percentage", "commission_value": 20, "url": "https://example.com/",
        "approval_mode": "auto"})
    joined = call("POST", f"/api/network/join/{program['id']}", other, {})
    link = call("POST", f"/api/partnerships/{joined['id']}/links", other, {"destination_url": "https://example.com/pricing"})
    # The fuzzed account is an affiliate too, of the other's program: it has links to change.
    theirs = call("POST", "/api/programs", other, {
        "name": "Theirs", "commission_type": "fixed", "commission_value": 5, "approval_mode": "auto"})
    mine = call("POST", f"/api/network/join/{theirs['id']}", key, {})
    own_link = call("POST", f"/api/partnerships/{mine['id']}/links", key, {"destination_url": "https://example.com/"})
    sale = call("POST", "/api/conversions/track", key, {
        "tracking_token": link["token"], "event_type": "sale", "revenue_amount": 99.5, "external_id": "order-1"})
    click = call("POST", "/api/conversions/track-click", key, {"tracking_token": link["token"]})
    topup = call("POST", "/api/wallet/topup", key, {"amount": 20})
    hook = call("POST", "/api/webhooks", key, {"url": "http://127.0.0.1:9/hook", "events": ["conversion.created"]})
    publisher = call("POST", f"/api/agents/{affiliate['id']}/keys", other, {"kind": "publisher"})
    merchant = call("POST", f"/api/agents/{advertiser['id']}/keys", key, {"kind": "merchant"})
    known = {
        "/api/agents/": {"id": advertiser["id"]},
        "/api/programs/": {"id": program["id"]},
        "/api/network/join/": {"program_id": theirs["id"]},
        "/api/partnerships/": {"id": mine["id"]},
        "/api/links/": {"id": own_link["id"]},
        "/api/clicks/": {"click_id": click["click_id"]},
        "/api/conversions/": {"id": sale["id"]},
        "/api/wallet/topups/": {"id": topup["id"]},
        "/api/webhooks/": {"id": hook["id"]},
    }
    settings = {
        "AOS_AGENT_KEY": key, "AOS_PUBLISHER_KEY": publisher["key"], "AOS_MERCHANT_KEY": merchant["key"],
        "AOS_KNOWN": json.dumps(known),
    }
    for name, value in settings.items():
        print(f"export {name}={shlex.quote(value)}")


main()
