#!/usr/bin/env python3
"""The `openai` client, unchanged, beside `attention generate`: the same greedy text, streamed or not.

    python3 -m venv ~/peers
    ~/peers/bin/pip install openai
    ~/peers/bin/python Benchmarks/peers/serve_openai.py --tool .build/release/attention MODEL

MODEL is a folder with a checkpoint whose tokens are bytes, as `attention train` writes it.
"""

import argparse
import json
import math
import subprocess
import sys
import threading

import openai
from serving import Server


def generated(tool, model, prompt, tokens):
    """The continuation of a prompt by the tool."""
    command = [tool, "generate", model, "--prompt", prompt, "--tokens", str(tokens), "--temperature", "0"]
    text = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert text.startswith(prompt)
    return text[len(prompt):].removesuffix("\n")  # which the tool adds


def check(name, was, expected):
    if was != expected:
        raise SystemExit(f"FAILED {name}: {was!r}, expected {expected!r}")
    print(f"ok  {name}")


def refused(name, kind, call):
    try:
        call()
    except kind as error:
        print(f"ok  {name}: {error.status_code} {error.body['message'] if error.body else ''}")
        return
    raise SystemExit(f"FAILED {name}: not refused")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model")
    arguments.add_argument("--tool", required=True)
    options = arguments.parse_args()

    with Server(options.tool, options.model, "--name", "tiny", key="a key") as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="a key", max_retries=0)
        check("models", [model.id for model in client.models.list()], ["tiny"])
        check("one model", client.models.retrieve("tiny").object, "model")

        prompts = ["func ", "let x = ", "// Grüße\n" * 80, "a"]
        expected = {prompt: generated(options.tool, options.model, prompt, 60) for prompt in prompts}
        for prompt in prompts:
            answer = client.completions.create(model="tiny", prompt=prompt, max_tokens=60, temperature=0)
            check(f"completion of {prompt[:9]!r}", answer.choices[0].text, expected[prompt])
            check("  tokens", answer.usage.prompt_tokens, len(prompt.encode()))
            parts = list(client.completions.create(
                model="tiny", prompt=prompt, max_tokens=60, temperature=0, stream=True,
                stream_options={"include_usage": True}))
            check("  streamed", "".join(p.choices[0].text for p in parts if p.choices), expected[prompt])
            check("  tokens reused", parts[-1].usage.prompt_tokens_details.cached_tokens, len(prompt.encode()))

        # All at once: the same texts.
        texts = {}
        def ask(prompt):
            answer = client.completions.create(model="tiny", prompt=prompt, max_tokens=60, temperature=0)
            texts[prompt] = answer.choices[0].text
        threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        check("all prompts at once", texts, expected)

        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
        chat = client.chat.completions.create(model="tiny", messages=messages, max_tokens=30, temperature=0)
        plain = "system: Be brief.\nuser: Hello\nassistant:"
        check("chat", chat.choices[0].message.content,
              generated(options.tool, options.model, plain, 30).split("\nuser:")[0])
        parts = client.chat.completions.create(
            model="tiny", messages=messages, max_tokens=30, temperature=0, stream=True)
        check("chat streamed", "".join(p.choices[0].delta.content or "" for p in parts),
              chat.choices[0].message.content)

        seeded = [client.completions.create(model="tiny", prompt="func ", seed=seed, max_tokens=40, n=3)
                  for seed in (1, 1, 2)]
        check("a seed", [c.text for c in seeded[0].choices], [c.text for c in seeded[1].choices])
        check("three choices", len({c.text for c in seeded[0].choices}), 3)
        check("another seed", seeded[0].choices[0].text != seeded[2].choices[0].text, True)

        stop = expected["func "][5:8]
        answer = client.completions.create(
            model="tiny", prompt="func ", max_tokens=60, temperature=0, stop=[stop])
        check("stop", answer.choices[0].text, expected["func "].split(stop)[0])
        check("  reason", answer.choices[0].finish_reason, "stop")

        scored = client.chat.completions.create(
            model="tiny", messages=messages, max_tokens=5, temperature=0, logprobs=True, top_logprobs=4)
        tokens = scored.choices[0].logprobs.content
        check("probabilities", [len(t.top_logprobs) for t in tokens], [4] * 5)
        check("  of the likeliest", all(t.logprob == t.top_logprobs[0].logprob for t in tokens), True)
        check("  sum", all(sum(math.exp(a.logprob) for a in t.top_logprobs) <= 1 for t in tokens), True)
        old = client.completions.create(model="tiny", prompt="func ", max_tokens=4, logprobs=2, temperature=0)
        check("  of a completion", len(old.choices[0].logprobs.top_logprobs), 4)

        complete = 0
        for seed in range(20):
            answer = client.chat.completions.create(
                model="tiny", messages=messages, max_tokens=400, seed=seed,
                response_format={"type": "json_object"})
            if answer.choices[0].finish_reason == "stop":
                complete += isinstance(json.loads(answer.choices[0].message.content), dict)
        check(f"JSON mode: {complete} of 20 objects complete", complete > 0, True)

        refused("a wrong model", openai.NotFoundError,
                lambda: client.completions.create(model="gpt", prompt="a"))
        refused("a wrong temperature", openai.BadRequestError,
                lambda: client.completions.create(model="tiny", prompt="a", temperature=9))
        refused("a wrong key", openai.AuthenticationError,
                lambda: openai.OpenAI(base_url=server.url + "/v1", api_key="no").models.list())
        refused("too many tokens", openai.BadRequestError,
                lambda: client.completions.create(model="tiny", prompt="a", max_tokens=10**6))
        refused("a body of 10 MB", openai.APIStatusError,
                lambda: client.completions.create(model="tiny", prompt="a" * 10_000_000))

        # SIGTERM: the running answer ends as it would have, new requests are refused.
        stream = client.completions.create(
            model="tiny", prompt="func ", max_tokens=2000, temperature=0, stream=True)
        first = next(iter(stream)).choices[0].text
        server.terminate()
        refused("a request while the server ends", openai.InternalServerError,
                lambda: client.completions.create(model="tiny", prompt="a"))
        rest = "".join(part.choices[0].text for part in stream)
        check("the answer under way", first + rest, generated(options.tool, options.model, "func ", 2000))
        check("exit code", server.wait(), 0)
    print("passed")


if __name__ == "__main__":
    sys.exit(main())
