"""An agent without a model: from nothing to a paid commission, for both sides, by tools alone.

Usage: tour.py http|stdio ORIGIN legacy|auto [BRIDGE NODE]

The official client checks every structured result against the tool's output schema. What the way to the
money does not need is called too, with arguments that fit its schema and ids of nothing: it must answer
in the band, and an error must say how to mend it. Prints a line of JSON with what was called.
"""

import asyncio
import json
import os
import sys
import uuid

import httpx2
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

transport, origin, mode = sys.argv[1:4]
called = set()


def client(key=None):
    if transport == "stdio":
        config = json.dumps({"base_url": origin, **({"api_key": key} if key else {})})
        env = {**os.environ, "AFFILIATEOS_MCP_CONFIG": config}
        return Client(stdio_client(StdioServerParameters(command=sys.argv[5], args=[sys.argv[4]], env=env)), mode=mode)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    http = httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False)
    return Client(streamable_http_client(f"{origin}/mcp", http_client=http), mode=mode)


class Agent:
    """One side: its tools by name, its calls."""

    def __init__(self, connected):
        self.connected = connected

    async def refused(self, tool, **arguments):
        result = await self.connected.call_tool(tool, arguments)
        assert result.is_error, f"{tool} went through"
        error = json.loads(result.content[0].text)
        assert error["error"] and error["message"] and error["fix"], error
        called.add(tool)
        return error

    async def call(self, tool, **arguments):
        result = await self.connected.call_tool(tool, arguments)
        assert not result.is_error, f"{tool}: {result.content[0].text}"
        assert json.loads(result.content[0].text) == result.structured_content
        called.add(tool)
        return result.structured_content

    async def confirmed(self, tool, **arguments):
        asked = await self.call(tool, **arguments)
        assert asked["confirmation_required"] is True, asked
        token = asked["confirmation_token"]
        changed = {**arguments, "id": str(uuid.uuid4())} if "id" in arguments else {**arguments, "note": "x"}
        error = await self.refused(tool, **changed, confirmation_token=token)
        assert error["field"] == "confirmation_token", error
        return asked["preview"], await self.call(tool, **arguments, confirmation_token=token)


def sample(schema, definitions, name=""):
    """A value that fits a schema; ids are of nothing."""
    if "$ref" in schema:
        return sample(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions, name)
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return sample(schema[several][0], definitions, name)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        needed = {name: schema["properties"][name] for name in schema.get("required", [])}
        return {name: sample(inner, definitions, name) for name, inner in needed.items()}
    if kind == "array":
        return [sample(schema.get("items", {}), definitions, name)]
    if kind in ("number", "integer"):
        return 1
    if kind == "boolean":
        return False
    if schema.get("format") == "uuid":
        return str(uuid.uuid4())
    return "https://example.com/x" if "url" in name else f"sample-{name}"


async def tour():
    async with client() as connected:
        anyone = Agent(connected)
        tools = {tool.name: tool for tool in (await connected.list_tools()).tools}
        assert (await anyone.refused("get_me"))["error"] == "api_key_missing"
        advertiser_key = (await anyone.call("sign_up", name=f"Tour advertiser {uuid.uuid4()}"))["api_key"]
        affiliate_key = (await anyone.call("sign_up", name=f"Tour affiliate {uuid.uuid4()}"))["api_key"]

    async with client(advertiser_key) as one, client(affiliate_key) as other:
        advertiser, affiliate = Agent(one), Agent(other)
        affiliate_id = (await affiliate.call("get_me"))["id"]
        # Letters alone: a text search reads digits among them as numbers.
        title = "Tour " + "".join(chr(ord("a") + int(digit, 16)) for digit in uuid.uuid4().hex)
        program = await advertiser.call(
            "create_program",
            name=title,
            url="https://example.com",
            commission_type="percentage",
            commission_value=20,
            approval_mode="manual",
        )
        error = await affiliate.refused("discover", sort="highest")
        found = await affiliate.call("discover", q=title)
        assert [hit["id"] for hit in found["data"]] == [program["id"]], (found, error)
        joined = await affiliate.call("join_program", program_id=program["id"], message="I reach founders")
        assert joined["status"] == "pending"
        waiting = await advertiser.call("list_program_affiliates", id=program["id"], status="pending")
        assert [one["id"] for one in waiting["data"]] == [joined["id"]]
        await advertiser.call("update_partnership", id=joined["id"], status="approved")
        link = await affiliate.call("create_link", id=joined["id"], destination_url="https://example.com/pricing")
        token = link["token"]
        click = await affiliate.call("track_click", tracking_token=token)
        sale = await advertiser.call(
            "track_conversion",
            tracking_token=token,
            event_type="sale",
            revenue_amount=99,
            external_id="order-1",
            click_id=click["click_id"],
        )
        assert sale["commission_amount"] == 19.8, sale
        doubled = await advertiser.refused(
            "track_conversion", tracking_token=token, event_type="sale", revenue_amount=99, external_id="order-1"
        )
        assert doubled["error"] == "duplicate_conversion", doubled
        await advertiser.call("decide_conversion", id=sale["id"], status="approved")
        _, topped_up = await advertiser.confirmed("topup_wallet", amount=50)
        assert topped_up["amount"] == 50, topped_up
        preview, paid = await advertiser.confirmed("process_payouts", program_id=program["id"])
        assert preview["total"] == paid["total"] == 19.8, (preview, paid)
        earnings = await affiliate.call("get_earnings", id=affiliate_id)
        assert earnings["totals"]["paid"] == 19.8, earnings
        _, refund = await advertiser.confirmed("refund_conversion", id=sale["id"], amount=49.5)
        assert refund["amount"] == 49.5, refund

        resources = {resource.name for resource in (await other.list_resources()).resources}
        guide = (await other.read_resource("affiliateos://guide")).contents[0].text
        usage = json.loads((await one.read_resource("affiliateos://usage")).contents[0].text)
        assert usage["usage"]["conversions"]["used"] == 1 and origin in guide, usage
        one_link = json.loads((await other.read_resource(f"affiliateos://links/{link['id']}")).contents[0].text)
        assert one_link["token"] == token
        prompts = (await other.list_prompts()).prompts
        for prompt in prompts:
            given = {argument.name: f"my {argument.name}" for argument in prompt.arguments}
            said = (await other.get_prompt(prompt.name, given)).messages[0].content.text
            assert all(value in said for value in given.values()), said

        on_the_way = sorted(called)
        rest = Agent(other)
        for name in sorted(set(tools) - called):
            schema = tools[name].input_schema
            given = sample(schema, schema.get("$defs", {}))
            result = await rest.connected.call_tool(name, given)
            called.add(name)
            if result.is_error:
                error = json.loads(result.content[0].text)
                assert error["error"] not in ("internal", "not_found_route") and error["fix"], (name, given, error)
        assert called == set(tools)
        print(json.dumps({"tools": len(tools), "way": on_the_way, "resources": len(resources), "prompts": len(prompts)}))


asyncio.run(tour())
