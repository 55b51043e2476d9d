"""The quick start through the generated client: both sign up, a program, a link, a click through the edge,
a sale, what it earned. Prints one JSON line; any reply that is not what the models say ends it."""

import json
import os
import time

import httpx

from affiliate_os_api_client import AuthenticatedClient, Client
from affiliate_os_api_client.api.agents import get_earnings, quickstart
from affiliate_os_api_client.api.conversions import decide_conversion, track_conversion
from affiliate_os_api_client.api.links import create_link
from affiliate_os_api_client.api.network import discover, join_program
from affiliate_os_api_client.api.programs import create_program
from affiliate_os_api_client.api.wallet import get_usage
from affiliate_os_api_client.models import (
    ApprovalMode, CommissionType, ConversionResponse, CreateLinkRequest, CreateProgramRequest, DecideRequest, Decision,
    JoinRequest, SignUpRequest, TrackConversionRequest, TrackedEvent,
)

ORIGIN = os.environ["AOS_ORIGIN"]
HOST = "shop.example"


def until(holds):
    """Asks again until it holds, at most 20 seconds."""
    end = time.monotonic() + 20
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it did not come about in 20 seconds")
        time.sleep(0.05)


def parsed(reply, status):
    if reply.status_code != status or reply.parsed is None:
        raise ValueError(f"{reply.status_code}: {reply.content!r}")
    return reply.parsed


def key(account):
    return AuthenticatedClient(base_url=ORIGIN, token=account.api_key)


anyone = Client(base_url=ORIGIN)
advertiser = parsed(quickstart.sync_detailed(client=anyone, body=SignUpRequest(name="Python advertiser")), 201)
affiliate = parsed(quickstart.sync_detailed(client=anyone, body=SignUpRequest(name="Python affiliate")), 201)
owner, promoter = key(advertiser), key(affiliate)
program = parsed(create_program.sync_detailed(client=owner, body=CreateProgramRequest(
    name="Python SaaS", url=f"https://{HOST}/", commission_type=CommissionType.PERCENTAGE, commission_value=20.0,
    approval_mode=ApprovalMode.AUTO, niche="saas")), 201)
found = parsed(discover.sync_detailed(client=promoter, niche="saas"), 200)
assert any(one.id == program.id for one in found.data), "the program is discovered"
partnership = parsed(join_program.sync_detailed(program.id, client=promoter, body=JoinRequest(message="I can promote this")), 201)
link = parsed(create_link.sync_detailed(
    partnership.id, client=promoter, body=CreateLinkRequest(destination_url=f"https://{HOST}/pricing")), 201)


def clicked():
    click = httpx.get(link.tracking_url, headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64)"}, trust_env=False)
    return click.status_code == 302 and click.headers["location"] == f"https://{HOST}/pricing"


until(clicked)
until(lambda: parsed(get_usage.sync_detailed(client=owner), 200).usage.clicks.used == 1)
sale = parsed(track_conversion.sync_detailed(client=owner, idempotency_key="python-order-1", body=TrackConversionRequest(
    tracking_token=link.token, event_type=TrackedEvent.SALE, revenue_amount=99.5, external_id="order-1")), 201)
assert isinstance(sale, ConversionResponse), "a sale is answered with a conversion"
parsed(decide_conversion.sync_detailed(sale.id, client=owner, body=DecideRequest(status=Decision.APPROVED)), 200)
earnings = parsed(get_earnings.sync_detailed(affiliate.id, client=promoter), 200)
print(json.dumps({
    "commission": sale.commission_amount, "approved": earnings.totals.approved, "conversions": earnings.totals.conversions}))
