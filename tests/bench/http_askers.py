"""`python -m tests.bench.http_askers PORT USERS`: asks the API each line of the standard input, as so many users.

It prints how many seconds each answer took, and is a process of its own: its time is not the API's.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

LIMIT_S = 60.0


def main(port: int, users: int) -> None:
    own = threading.local()

    def ask(question: str) -> float:
        if not hasattr(own, "line"):
            own.line = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        asked_s = time.perf_counter()
        own.line.request("GET", f"/api/v1/search?{urlencode({'q': question, 'weak': 'true'})}")
        answer = own.line.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} for {question!r}: {body[:300]!r}")
        return time.perf_counter() - asked_s

    with ThreadPoolExecutor(users) as pool:
        json.dump(list(pool.map(ask, sys.stdin.read().splitlines())), sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
