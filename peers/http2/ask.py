"""Asks an edge over HTTP/2: ask.py PORT NAME AUTHORITY.PEM PATH...

Prints a list in JSON: version, status, Location and body's length of each answer, all asked at once over one
connection. The name is not looked up: the edge is on this machine.
"""

import asyncio
import json
import ssl
import sys

import httpx


async def main(port: str, name: str, authority: str, *paths: str) -> None:
    trust = ssl.create_default_context(cafile=authority)
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(http1=False, http2=True, verify=trust, limits=limits, trust_env=False) as client:

        async def ask(path: str) -> list:
            url = f"https://127.0.0.1:{port}{path}"
            reply = await client.get(url, headers={"host": name}, extensions={"sni_hostname": name})
            return [reply.http_version, reply.status_code, reply.headers.get("location"), len(reply.content)]

        print(json.dumps(await asyncio.gather(*(ask(path) for path in paths))))


asyncio.run(main(*sys.argv[1:]))
