#!/usr/bin/env python3
"""Tokens a second of a server, with numbers of streams at once: each stream asks again as soon as it is answered.

    python3 Benchmarks/peers/serve_throughput.py --tool .build/release/attention MODEL [--streams 1 8 32] [--tokens 100]

MODEL is a folder that `attention serve` takes. Prompts differ, so that no states are shared.
"""

import argparse
import json
import threading
import time
import urllib.request

from serving import Server


def measure(server, streams, tokens, seconds):
    counts = [0] * streams
    end = time.monotonic() + seconds

    def stream(index):
        number = 0
        while time.monotonic() < end:
            body = {"prompt": f"func f{index}_{number}(x: Int)", "max_tokens": tokens, "temperature": 0}
            request = urllib.request.Request(
                server.url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
            answer = json.load(urllib.request.urlopen(request, timeout=600))
            counts[index] += answer["usage"]["completion_tokens"]
            number += 1

    begun = time.monotonic()
    threads = [threading.Thread(target=stream, args=(index,)) for index in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begun)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model")
    arguments.add_argument("--tool", required=True)
    arguments.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    arguments.add_argument("--tokens", type=int, default=100)
    arguments.add_argument("--seconds", type=float, default=10)
    options = arguments.parse_args()
    with Server(options.tool, options.model, "--log", "notice", "--prefix-memory", "0") as server:
        measure(server, 1, options.tokens, 2)
        for streams in options.streams:
            rate = measure(server, streams, options.tokens, options.seconds)
            print(f"{streams:3} streams  {rate:8.1f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
