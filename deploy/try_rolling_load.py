#!/usr/bin/env python3
"""Load for try-rolling.sh: clicks and API calls through one origin; counts every answer, repeats nothing.

A click that was not answered 302, or an API call that was not answered at all or with 5xx, is refused. Exit code 1 then.
"""

import collections
import http.client
import json
import os
import pathlib
import sys
import threading
import time
import urllib.parse

origin = urllib.parse.urlsplit(sys.argv[1])
started = pathlib.Path(sys.argv[2])
load_for, clients = float(os.environ["SECONDS_OF_LOAD"]), int(os.environ["CLIENTS"])


def call(connection, method, path, body=None, key=None):
    headers = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if key:
        headers["Authorization"] = f"Bearer {key}"
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    reply = connection.getresponse()
    return reply.status, reply.read()


def connect():
    return http.client.HTTPConnection(origin.hostname, origin.port, timeout=20)


def made(status, reply):
    assert status in (200, 201), (status, reply)
    return json.loads(reply)


line = connect()
advertiser, affiliate = (made(*call(line, "POST", "/api/auth/signup", {"name": name})) for name in ("Shop", "Blog"))
program = made(*call(line, "POST", "/api/programs", {
    "name": "Rolling", "commission_type": "percentage", "commission_value": 20, "approval_mode": "auto",
    "url": "https://shop.example/"}, advertiser["api_key"]))
partnership = made(*call(line, "POST", f"/api/network/join/{program['id']}", {}, affiliate["api_key"]))
link = made(*call(line, "POST", f"/api/partnerships/{partnership['id']}/links",
                  {"destination_url": "https://shop.example/"}, affiliate["api_key"]))
track = urllib.parse.urlsplit(link["tracking_url"]).path

counts, lock, end = collections.Counter(), threading.Lock(), time.monotonic() + load_for


def visit(number):
    """Half of the clients keep their connection, half connect for each request; one of four calls the API."""
    mine, keep, api = collections.Counter(), number % 2 == 0, number % 4 == 3
    connection = None
    while time.monotonic() < end:
        if connection is None or not keep:
            connection = connect()
        try:
            if api:
                status, _ = call(connection, "POST", "/api/programs", {
                    "name": f"P{number}-{mine.total()}", "commission_type": "percentage", "commission_value": 20,
                    "approval_mode": "auto"}, advertiser["api_key"])
                mine["api answered" if status < 500 else f"refused: api {status}"] += 1
            else:
                status, _ = call(connection, "GET", track)
                mine["clicks acknowledged" if status == 302 else f"refused: click {status}"] += 1
        except OSError as error:
            mine[f"refused: {type(error).__name__}"] += 1
            connection = None
        except http.client.HTTPException as error:
            mine[f"refused: {type(error).__name__}"] += 1
            connection = None
        time.sleep(0.01)
    with lock:
        counts.update(mine)


first = time.monotonic()
while call(line, "GET", track)[0] != 302:  # the link has to reach both edges first
    assert time.monotonic() < first + 20, "the link does not reach the edges"
counts["clicks acknowledged"] += 1
threads = [threading.Thread(target=visit, args=(number,)) for number in range(clients)]
for thread in threads:
    thread.start()
started.touch()
for thread in threads:
    thread.join()
for name, count in sorted(counts.items()):
    print(f"{name}: {count}")
refused = sum(count for name, count in counts.items() if name.startswith("refused"))
print(f"refused: {refused}")
sys.exit(refused > 0)
