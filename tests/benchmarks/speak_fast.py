"""Defers tasks through fast_bitrix24; run by its own interpreter. Input and output as in speak_pysdk.py."""

import json
import sys
import time

from fast_bitrix24 import Bitrix


def main():
    wish = json.load(sys.stdin)
    portal = Bitrix(
        f"http://{wish['portal']}/rest/",
        token_func=give(wish["access"]),
        verbose=False,
        requests_per_second=2.0 * wish["scale"],
    )
    tasks = [{"taskId": id} for id in wish["ids"]]
    deferred, raised = [], ""
    started, cpu = time.monotonic(), time.process_time()
    try:
        portal.call("tasks.task.pause", tasks)
        deferred = [int(task["id"]) for task in portal.call("tasks.task.defer", tasks)]
    except Exception as error:
        raised = type(error).__name__
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "deferred": deferred, "raised": raised}))


def give(token):
    async def current():
        return token

    return current


main()
