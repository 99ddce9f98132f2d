#!/usr/bin/env python3
"""The planner in Python, standard library only: answers every open ticket with what the documentation says.

It knows one URL and one credential, both from its environment (troth run sets them), and speaks plain HTTP.
usage: planner.py        exit: 0 no ticket is left open, 1 failed, 4 denied by the mesh
"""

import http.client
import json
import os
import sys
from urllib.parse import quote, urlsplit


def call(method, path, body=None):
    """Calls another agent through this agent's own sidecar: /@tickets/... is the agent named tickets."""
    connection = http.client.HTTPConnection(urlsplit(os.environ["TROTH_URL"]).netloc, timeout=30)
    headers = {"content-type": "application/json"}
    if "TROTH_LOCAL_CREDENTIAL" in os.environ:
        headers["x-troth-local-credential"] = os.environ["TROTH_LOCAL_CREDENTIAL"]
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    if response.status >= 300:
        print(f"planner: {method} {path}: {response.status} {answer.get('code', '')}: "
              f"{answer.get('detail', answer.get('error', ''))}\n  hint: {answer.get('hint', '')}", file=sys.stderr)
        sys.exit(4 if response.status == 403 else 1)
    return answer


def open_tickets():
    return call("GET", "/@tickets/tickets?status=open")["tickets"]


def main():
    tickets = open_tickets()
    print(f"planner: {len(tickets)} open tickets")
    for ticket in tickets:
        query = quote(ticket["title"] + " " + ticket["question"], safe="")
        hits = call("GET", f"/@search/search?limit=1&q={query}")["hits"]
        if not hits:
            print(f"planner: #{ticket['id']} {ticket['title']} -> nothing found, left open")
            continue
        hit = hits[0]
        comment = f"See {hit['file']}, line {hit['line']} ({hit['heading']}): {hit['snippet']}"
        call("PATCH", f"/@tickets/tickets/{ticket['id']}", {"status": "answered", "comment": comment})
        print(f"planner: #{ticket['id']} {ticket['title']} -> {hit['file']}:{hit['line']} ({hit['heading']})")
    left = len(open_tickets())
    print(f"planner: {left} open tickets left")
    return 0 if left == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
