#!/usr/bin/env python3
"""Tokenizers beside the libraries that published models use: the same tokens, and how fast.

    python3 -m venv ~/peers
    ~/peers/bin/pip install tokenizers tiktoken sentencepiece
    ~/peers/bin/pip install --no-deps rwkv litellm dashscope
    swift build -c release
    ~/peers/bin/python Benchmarks/peers/text_tokenizers.py --tool .build/release/attention

Real vocabularies come from packages that carry them (`litellm`, `dashscope`, `rwkv`); those that are not installed are
named and left out. Small ones of every kind are trained here. Each tokenizer encodes and decodes `--lines` random
lines (awkward_text.py); any difference fails. Then both sides encode this repository's text, in one thread, in turns;
the time of the tool is that of the process without its start, which an empty file measures. Rates are medians.
"""

import argparse
import base64
import glob
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time

from awkward_text import AwkwardText
from tokenizer_kinds import made_tokenizers, sentencepiece_models

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


class Peer:
    """A tokenizer of another library, and the file that the tool opens for the same."""

    def __init__(self, name, library, path, encode, decode, flags=(), decode_flags=(), known=lambda character: True):
        self.name, self.library, self.path = name, library, path
        self.encode, self.decode = encode, decode
        self.flags, self.decode_flags, self.known = list(flags), list(decode_flags), known


def package_file(package, *parts):
    spec = importlib.util.find_spec(package)
    path = spec and os.path.join(os.path.dirname(spec.origin), *parts)
    return path if path and os.path.exists(path) else None


# MARK: Peers


def hugging_face(name, path, known=lambda character: True, flags=("--mark-ends",)):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    marks = "--mark-ends" in flags
    return Peer(name, "tokenizers", path, lambda line: tokenizer.encode(line, add_special_tokens=marks).ids,
                lambda ids: tokenizer.decode(ids, skip_special_tokens=False), flags, known=known)


def tiktoken_peer(name, path, pattern, specials):
    import tiktoken

    with open(path, "rb") as file:
        ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in file)}
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=specials)
    return Peer(name, "tiktoken", path, lambda line: encoding.encode(line, allowed_special="all"), encoding.decode)


def tiktoken_peers(folder):
    from tiktoken_ext import openai_public

    # litellm names the files by the hash of their address.
    cached = {"cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
              "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
              "p50k_base": "ec7223a39ce59f226a68acc30dc1af2788490e15"}
    specials = {
        "cl100k_base": {"<|endoftext|>": 100257, "<|fim_prefix|>": 100258, "<|fim_middle|>": 100259,
                        "<|fim_suffix|>": 100260, "<|endofprompt|>": 100276},
        "o200k_base": {"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
        "p50k_base": {"<|endoftext|>": 50256},
    }
    os.environ["TIKTOKEN_CACHE_DIR"] = os.path.dirname(
        package_file("litellm", "litellm_core_utils", "tokenizers", cached["cl100k_base"]) or "/nowhere/x")
    for name, file in cached.items():
        path = package_file("litellm", "litellm_core_utils", "tokenizers", file)
        if not path:
            print(f"{name}: no file, install litellm")
            continue
        link = os.path.join(folder, f"{name}.tiktoken")
        os.symlink(path, link)
        pattern = getattr(openai_public, name)()["pat_str"]
        yield tiktoken_peer(name, link, pattern, specials[name])
    path = package_file("dashscope", "resources", "qwen.tiktoken")
    if not path:
        print("qwen: no file, install dashscope")
        return
    pattern = (r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"""
               r"""|\s*[\r\n]+|\s+(?!\S)|\s+""")
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205))]
    yield tiktoken_peer("qwen", path, pattern, {text: 151643 + i for i, text in enumerate(names)})


def published(folder):
    for name in ["deepseek", "anthropic"]:
        path = package_file("litellm", "litellm_core_utils", "tokenizers", f"{name}_tokenizer.json")
        if path:
            yield hugging_face(name, path)
        else:
            print(f"{name}: no file, install litellm")
    yield from tiktoken_peers(folder)
    path = package_file("rwkv", "rwkv_vocab_v20230424.txt")
    if not path:
        print("rwkv: no file, install rwkv")
        return
    sys.path.insert(0, os.path.dirname(path))
    from rwkv_tokenizer import TRIE_TOKENIZER

    tokenizer = TRIE_TOKENIZER(path)
    yield Peer("rwkv", "rwkv", path, tokenizer.encode,
               lambda ids: tokenizer.decodeBytes(ids).decode(errors="replace"))


def trained(folder, text):
    for name, path, known in made_tokenizers(folder, text):
        yield hugging_face(name, path, known)
    for name, path in sentencepiece_models(folder, text):
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_file=path)
        yield Peer(name, "sentencepiece", path, processor.encode, processor.decode, decode_flags=["--skip-special"])


# MARK: Comparison


def tool_lines(tool, arguments, text):
    """What the tool prints for the lines of `text`, and its time."""
    started = time.perf_counter()
    result = subprocess.run([tool, "tokenizer", *arguments], input=text, capture_output=True)
    elapsed = time.perf_counter() - started
    if result.returncode:
        sys.exit(f"{' '.join(arguments)}: {result.stderr.decode()}")
    return result.stdout.decode().split("\n")[:-1], elapsed


def joined(lines):
    return "".join(line + "\n" for line in lines).encode()


def compare(tool, peer, count, seed):
    """Encodes and decodes random lines, and returns how many differ."""
    text = AwkwardText(seed, peer.known)
    lines = [text.line() for _ in range(count)]
    expected = [peer.encode(line) for line in lines]
    printed, _ = tool_lines(tool, ["encode", *peer.flags, peer.path, "-"], joined(lines))
    ours = [[int(word) for word in line.split()] for line in printed]
    differences = [i for i in range(count) if ours[i] != expected[i]]
    for i in differences[:3]:
        first = next((j for j, pair in enumerate(zip(expected[i], ours[i])) if pair[0] != pair[1]), 0)
        print(f"{peer.name}: {lines[i]!r} from token {first}\n  {peer.library} {expected[i][first:first + 8]}\n"
              f"  ours {ours[i][first:first + 8]}")
    texts = [peer.decode(ids) for ids in expected]
    printed, _ = tool_lines(tool, ["decode", *peer.decode_flags, peer.path, "-"],
                            joined(" ".join(map(str, ids)) for ids in expected))
    # A text may have line breaks of its own.
    if printed != joined(texts).decode().split("\n")[:-1]:
        differences.append(-1)
        at = next((i for i, pair in enumerate(zip(printed, texts)) if pair[0] != pair[1]), -1)
        print(f"{peer.name}: decoding differs\n  {peer.library} {texts[at]!r}\n  ours {printed[at]!r}")
    return len(differences)


def rates(tool, peer, lines, rounds=3):
    """Megabytes a second of the peer and of the tool, and the seconds that the tool takes to start."""
    text = joined(lines)
    theirs, ours, starts = [], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        for line in lines:
            peer.encode(line)
        theirs.append(time.perf_counter() - started)
        starts.append(tool_lines(tool, ["encode", *peer.flags, peer.path, "-"], b"")[1])
        ours.append(tool_lines(tool, ["encode", *peer.flags, peer.path, "-"], text)[1])
    start = statistics.median(starts)
    megabytes = len(text) / 1e6
    return megabytes / statistics.median(theirs), megabytes / (statistics.median(ours) - start), start


def repository_text():
    text = []
    for pattern in ["**/*.md", "Sources/**/*.swift", "Sources/**/*.c*", "python/**/*.py"]:
        for path in sorted(glob.glob(os.path.join(ROOT, pattern), recursive=True)):
            if os.path.isfile(path):
                with open(path, encoding="utf-8", errors="ignore") as file:
                    text.append(file.read())
    return "\n".join(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--lines", type=int, default=2000, help="random lines for each tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only tokenizers whose name has this")
    parser.add_argument("--no-rates", action="store_true", help="compare only")
    options = parser.parse_args()
    text = repository_text()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        peers = [*published(folder), *trained(folder, text)]
        print(f"{'tokenizer':34} {'peer':14} {'lines':>8} {'differ':>6} {'theirs MB/s':>12} {'ours MB/s':>10} {'ratio':>6} "
              f"{'start s':>8}")
        for peer in peers:
            if options.only not in peer.name:
                continue
            differ = compare(options.tool, peer, options.lines, options.seed)
            failures += differ
            row = f"{peer.name:34} {peer.library:14} {options.lines:8} {differ:6}"
            if not options.no_rates:
                theirs, ours, start = rates(options.tool, peer, text.split("\n"))
                row += f" {theirs:12.1f} {ours:10.1f} {ours / theirs:6.2f} {start:8.3f}"
            print(row, flush=True)
    if failures:
        sys.exit(f"{failures} differences")


if __name__ == "__main__":
    main()
