"""Defers tasks through the vendor's Python library with its defaults; run by its own interpreter.

Standard input: {portal, access, refresh, client_id, client_secret, scale, allowance, ids}; the allowance is what a
batch at a scaled portal may take beyond its scaled time, in seconds. Standard output:
{seconds, cpu, deferred: ids whose defer was answered with success, raised}.
"""

import json
import sys
import time

from b24pysdk import BitrixApp, BitrixToken, Config


def main():
    wish = json.load(sys.stdin)
    if wish["scale"] > 1:
        connect, read = Config().default_timeout
        Config().configure(default_timeout=(connect, read / wish["scale"] + wish["allowance"]))
    app = BitrixApp(client_id=wish["client_id"], client_secret=wish["client_secret"])
    token = BitrixToken(domain=wish["portal"], auth_token=wish["access"], refresh_token=wish["refresh"], bitrix_app=app)
    methods = {}
    for id in wish["ids"]:
        methods[f"p{id}"] = ("tasks.task.pause", {"taskId": id})
        methods[f"d{id}"] = ("tasks.task.defer", {"taskId": id})
    answered, raised = {}, ""
    started, cpu = time.monotonic(), time.process_time()
    try:
        answered = token.call_batches(methods)["result"]["result"]
    except Exception as error:
        raised = type(error).__name__
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    deferred = [id for id in wish["ids"] if f"d{id}" in answered]
    print(json.dumps({"seconds": seconds, "cpu": cpu, "deferred": deferred, "raised": raised}))


main()
