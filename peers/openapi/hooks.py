"""What JSON Schema cannot say about requests that are fine, and where the objects are that calls need.

Values are only made plausible where a schema can say no more than their type; nothing is filtered from the
replies, and nothing is done to the negative cases' bodies.
"""

import json
import os

import schemathesis

# Ids of objects that exist, by the path they stand in; made by the test before.
KNOWN = json.loads(os.environ.get("AOS_KNOWN", "{}"))
# Set to leave alone what would end the account that all calls use.
ENDING = ("rotate_key", "regenerate_key", "delete_agent", "delete_key")


def _visible(path, name, value):
    """Two of three times an object that exists, so that calls get further than 404; a click id always, since
    it is signed."""
    if name == "click_id" or sum(str(value).encode()) % 3:
        for start, ids in KNOWN.items():
            if path.startswith(start) and name in ids:
                return ids[name]
    return value


def _cents(value):
    """Amounts have two decimals at most, which `multipleOf` cannot say of binary floats; and whole numbers are
    written without a point, which JSON Schema does not tell apart from 20.0."""
    if isinstance(value, float):
        value = round(value, 2)
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {name: _cents(member) for name, member in value.items()}
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    """Only requests that are meant to be fine: those meant to be refused go out as they are."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    operation = case.operation.definition.raw.get("operationId")
    # A sequence of calls goes on with what it made itself, unless that has no id that could be made up.
    stateful = case.meta.phase.name == "stateful" and "click_id" not in (case.path_parameters or {})
    if isinstance(case.path_parameters, dict) and operation not in ENDING and not stateful:
        for name, value in case.path_parameters.items():
            case.path_parameters[name] = _visible(case.operation.path, name, value)
    # A cursor can only come from a list: a made-up one is refused, however well-formed.
    if case.query:
        case.query.pop("cursor", None)
        # Pages reach 10,000 rows: how far depends on their size. A span of time ends after it begins.
        if not str(case.query.get("page", 1)).isdigit() or int(case.query.get("page", 1)) > 100:
            case.query["page"] = 100
        if "from" in case.query:
            case.query.pop("to", None)
        # A search has a letter or a digit, of any script: Python's expressions cannot say that.
        if "q" in case.query and not any(letter.isalnum() for letter in str(case.query["q"])):
            case.query["q"] = "shoes"
        # A list of an agent's or of a program's own takes no other in its filter.
        if operation == "list_agent_conversions":
            case.query.pop("affiliate_id", None)
        if operation == "list_program_conversions":
            case.query.pop("program_id", None)
    # Stands in for a token, so it must name a publisher and a time close to now.
    if case.headers:
        case.headers.pop("X-SL-Attribution", None)
    if isinstance(case.body, dict):
        case.body = _plausible(operation, _cents(case.body))


def _plausible(operation, body):
    # A percentage ends at 100; dollars do not.
    value = body.get("commission_value")
    if body.get("commission_type") != "fixed" and isinstance(value, (int, float)) and value > 100:
        body["commission_value"] = 100
    # The two names of one switch must say the same; a new type needs a new value.
    if "approval_mode" in body:
        body.pop("auto_approve_affiliates", None)
    if operation == "update_program" and body.get("commission_value") is None:
        body.pop("commission_type", None)
    # A sale has an amount; a lead and a click have none. A click id comes from a click.
    if operation == "track_conversion":
        if body.get("event_type") == "sale":
            body["revenue_amount"] = body.get("revenue_amount") or 10
        else:
            body.pop("revenue_amount", None)
        if body.get("event_type") == "click":
            body.pop("external_id", None)
        body.pop("click_id", None)
    # A code is another agent's, a token comes from /v1/track, an order of this deployment is not paid by x402.
    body.pop("referral_code", None)
    if body.get("payment") == "x402":
        body.pop("payment")
    if operation == "verify_conversion" and not body.get("slat_token"):
        body["slat_token"] = "slat_v1_made_up"
    # A trial is of a webhook that exists, or of an address with a secret.
    if operation == "test_webhook":
        if body.get("url") and body.get("secret"):
            body.pop("webhook_id", None)
        else:
            body = {"webhook_id": KNOWN["/api/webhooks/"]["id"]}
    # Capitals of an address are its checksum; without capitals there is none.
    if operation == "set_payout_address" and isinstance(body.get("address"), str):
        body["address"] = body["address"].lower()
    # Addresses that resolve where the service looks them up, on a port that nobody listens on.
    for name in ("url", "website_url", "destination_url"):
        if isinstance(body.get(name), str):
            body[name] = "http://127.0.0.1:9/" if "webhook" in operation else "https://example.com/pricing"
    if body.get("allowed_hosts"):
        body["allowed_hosts"] = ["example.com"]
    # A link's own domain is one that was proven before, which no made-up name is.
    if body.get("custom_domain"):
        body.pop("custom_domain")
    return body
