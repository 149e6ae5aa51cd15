"""Calls as JSON to flows as mitmproxy keeps them: `flows.py CALLS FLOWS`."""

import json
import sys

from mitmproxy import connection, http, io

calls, flows = sys.argv[1:]
with open(calls) as source, open(flows, "wb") as out:
    writer = io.FlowWriter(out)
    for call in json.load(source):
        client = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))
        request = http.Request.make(call["method"], call["url"], call["body"], call["headers"])
        flow = http.HTTPFlow(client, connection.Server(address=(request.host, request.port)))
        flow.request = request
        flow.response = http.Response.make(call["status"], call["response_body"], call["response_headers"])
        writer.add(flow)
