#!/usr/bin/env python3
"""Many clients at once for some minutes, on loopback: every greedy answer is that of `attention generate`, every error
a documented one, and the server's memory stays flat.

    python3 Benchmarks/peers/serve_soak.py --tool .build/release/attention MODEL [--seconds 600] [--streams 64]

MODEL is a folder with a checkpoint whose tokens are bytes, as `attention train` writes it. Clients in a closed loop
(the streams), clients that arrive at random (an open loop), clients that leave in the middle, a slow reader, bodies that
are no JSON, prompts of 10 MB, and requests that are no HTTP.
"""

import argparse
import asyncio
import json
import random
import subprocess
import time
from collections import Counter

from serving import Server

TOKENS = 200


class Soak:
    def __init__(self, server, expected, end):
        self.server, self.expected, self.end = server, expected, end
        self.counts, self.wrong, self.first, self.whole = Counter(), [], [], []

    async def request(self, body, path="/v1/completions"):
        """Sends a request; returns its status and streams."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, limit=1 << 24)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        try:
            await writer.drain()
        except ConnectionError:
            pass  # refused before all of it was sent
        line = await asyncio.wait_for(reader.readline(), 120)
        status = int(line.split()[1]) if line else 0
        headers = {}
        while (line := await reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, reader, writer

    async def body(self, headers, reader):
        if "content-length" in headers:
            return await reader.readexactly(int(headers["content-length"]))
        data = b""
        while size := int(await reader.readline(), 16):
            data += await reader.readexactly(size)
            await reader.readline()
        return data

    def draw(self, stream):
        prompt, tokens = random.choice(list(self.expected)), random.choice([1, 5, 20, 60, TOKENS])
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": stream}
        return prompt, tokens, json.dumps(body).encode()

    async def ask(self, kind):
        """One request, of which the answer is compared."""
        stream = random.random() < 0.7
        prompt, tokens, body = self.draw(stream)
        began = time.monotonic()
        status, headers, reader, writer = await self.request(body)
        try:
            self.counts[kind, status] += 1
            if status == 429:
                assert "retry-after" in headers
                await asyncio.sleep(0.2)
                return
            if status != 200:
                self.wrong.append((kind, status))
                return
            data = await asyncio.wait_for(self.body(headers, reader), 300)
            if stream:
                events = data.decode().split("\n\n")
                assert events[-2:] == ["data: [DONE]", ""], events[-2:]
                text = "".join(json.loads(e[6:])["choices"][0]["text"] for e in events[:-2])
            else:
                text = json.loads(data)["choices"][0]["text"]
            # Bytes that make half a character are shown at the end of an answer only.
            if text.rstrip("\ufffd") != self.expected[prompt][tokens].rstrip("\ufffd"):
                self.wrong.append((kind, prompt[:20], tokens, text[:40]))
            self.whole.append(time.monotonic() - began)
        finally:
            writer.close()

    async def closed(self):
        while time.monotonic() < self.end:
            await self.ask("closed loop")

    async def open(self, rate):
        running = set()
        while time.monotonic() < self.end:
            task = asyncio.create_task(self.ask("open loop"))
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(random.expovariate(rate))
        await asyncio.gather(*running)

    async def leave(self):
        while time.monotonic() < self.end:
            stream = random.random() < 0.5
            prompt, _, _ = self.draw(stream)
            body = {"prompt": prompt, "max_tokens": 4000, "temperature": 0, "stream": stream}
            try:
                if stream:
                    status, _, reader, writer = await self.request(json.dumps(body).encode())
                    self.counts["leaves", status] += 1
                    await asyncio.wait_for(reader.read(500), 60)
                else:
                    text = json.dumps(body).encode()
                    _, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
                    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
                    await asyncio.sleep(random.random())
                    self.counts["leaves", "before the answer"] += 1
                writer.transport.abort()
            except ConnectionError:
                pass
            await asyncio.sleep(0.3)

    async def read_slowly(self):
        while time.monotonic() < self.end:
            prompt, _, _ = self.draw(True)
            body = {"prompt": prompt, "max_tokens": 1500, "temperature": 0, "stream": True}
            status, headers, reader, writer = await self.request(json.dumps(body).encode())
            self.counts["slow reader", status] += 1
            while status == 200 and time.monotonic() < self.end:
                data = await asyncio.wait_for(reader.read(400), 60)
                if not data or b"[DONE]" in data:
                    break
                await asyncio.sleep(0.02)
            writer.transport.abort()
            await asyncio.sleep(0.5)

    async def misuse(self):
        wrong = [b"{", b"[]", b'{"prompt": 1}', b'{"prompt": "a", "n": 99}', b"\xff\xfe", b'{"prompt": "\xff"}']
        while time.monotonic() < self.end:
            for body, wanted in [(random.choice(wrong), 400), (b'{"prompt": "' + b"a" * 10_000_000 + b'"}', 413)]:
                try:
                    status, _, _, writer = await self.request(body)
                    writer.transport.abort()
                except ConnectionError:
                    status = "reset"
                self.counts["wrong body", status] += 1
                if status not in (wanted, "reset"):
                    self.wrong.append(("wrong body", status))
            reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
            writer.write(random.choice([b"\x16\x03\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]))
            answer = await asyncio.wait_for(reader.read(100), 60)
            self.counts["no HTTP", answer[9:12].decode() or "closed"] += 1
            writer.transport.abort()
            await asyncio.sleep(0.5)


async def run(server, expected, seconds, streams):
    soak = Soak(server, expected, time.monotonic() + seconds)
    memory = []

    async def watch():
        while time.monotonic() < soak.end:
            await asyncio.sleep(seconds / 30)
            values = await asyncio.to_thread(server.metrics)
            memory.append(server.memory)
            print(f"{len(memory) * seconds / 30:6.0f} s  {server.memory:7.1f} MB  running "
                  f"{values['sequences_running']:.0f}  waiting {values['sequences_waiting']:.0f}  tokens "
                  f"{values['generated_tokens_total']:.0f}", flush=True)

    await asyncio.gather(
        watch(), soak.open(5), soak.leave(), soak.leave(), soak.read_slowly(), soak.misuse(),
        *(soak.closed() for _ in range(streams)))
    return soak, memory


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model")
    arguments.add_argument("--tool", required=True)
    arguments.add_argument("--seconds", type=float, default=600)
    arguments.add_argument("--streams", type=int, default=64)
    options = arguments.parse_args()

    random.seed(0)
    source = "func f(x: Int) -> Int {\n  return x * 3 + 1\n}\n// Grüße\n"
    expected = {}
    for length in [1, 2, 7, 40, 511, 512, 513, 1100, 2000]:
        prompt = (source * (length // len(source) + 1))[:length]
        # Tokens are bytes, so a shorter answer is a beginning of this one.
        command = [options.tool, "generate", options.model, "--tokens", str(TOKENS), "--temperature", "0",
                   "--prompt-tokens", ",".join(str(byte) for byte in prompt.encode())]
        output = subprocess.run(command, capture_output=True, check=True).stdout
        answer = bytes(int(token) for token in output.split())
        expected[prompt] = {n: answer[:n].decode(errors="replace") for n in [1, 5, 20, 60, TOKENS]}

    with Server(options.tool, options.model, "--log", "notice") as server:
        soak, memory = asyncio.run(run(server, expected, options.seconds, options.streams))
        time.sleep(2)
        values = server.metrics()
        idle = values["sequences_running"] == 0 and values["sequences_waiting"] == 0
    for (kind, status), count in sorted(soak.counts.items(), key=str):
        print(f"{kind:12} {status!s:18} {count}")
    times = sorted(soak.whole)
    middle, late = times[len(times) // 2], times[len(times) * 99 // 100]
    print(f"{len(times)} answers compared, median {middle:.2f} s, 99 % within {late:.2f} s; "
          f"{values['generated_tokens_total'] / options.seconds:.0f} tokens/s, "
          f"{values['prompt_tokens_reused_total'] / values['prompt_tokens_total']:.0%} of prompt tokens reused, "
          f"{values['sequences_cancelled_total']:.0f} sequences cancelled")
    third = len(memory) // 3
    early, end = max(memory[third:2 * third]), max(memory[2 * third:])
    print(f"memory: at most {early:.1f} MB in the middle third, {end:.1f} MB in the last")
    problems = [f"wrong: {wrong}" for wrong in soak.wrong[:5]]
    if not idle:
        problems.append("sequences are left")
    if end > 1.1 * early + 5:
        problems.append("memory grows")
    if server.process.returncode != 0:
        problems.append(f"exit code {server.process.returncode}")
    if problems:
        raise SystemExit("FAILED: " + "; ".join(problems))
    print("passed")


if __name__ == "__main__":
    main()
