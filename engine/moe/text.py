#!/usr/bin/env python3
"""The text that `make distil` learns from, asked through `tollgate engine`: short requests with the answers of the larger
model of the family, which shares the vocabulary, and prompts of all kinds with those of the dense model itself.

Writes JSON lines of token ids: `pre`, the chat up to the answer, `out`, the answer, and whose it is. A request that has
the subject of a prompt that judges the result is left out.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

import gguf
from asked import requests
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from local_engine import Engine  # noqa: E402

SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
# Where llama.cpp's `qwen2` pre-tokenizer cuts.
CUTS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CONTROL, USER = 3, 4
# A word in so many judging prompts belongs to how is asked and not to what about.
COMMON = 4


def tokenizer(path):
    """The model's own, from its file."""
    fields = gguf.GGUFReader(path).fields
    words, kinds = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"].contents()]
    made = Tokenizer(models.BPE({word: at for at, word in enumerate(words)}, merges))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(CUTS), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([word for word, kind in zip(words, kinds) if kind in (CONTROL, USER)])
    return made


def subjects():
    """What each judging prompt is about: its words without those that many of them have."""
    words = [set(re.findall(r"\w+", json.loads(line)["prompt"].lower()))
             for name in ("easy", "easy-more") for line in open(ROOT / f"engine/moe/{name}.jsonl", encoding="utf-8")]
    common = {word for word, count in Counter(word for each in words for word in each).items() if count >= COMMON}
    return [each - common for each in words if each - common]


def of_all_kinds(path, count):
    """Short prompts from a file of labelled ones, as many of every task as there are, in an order of their own."""
    found = {}
    for line in open(path, encoding="utf-8"):
        row = json.loads(line)
        if len(row["prompt"]) < 500:
            found.setdefault(row["task"], []).append(row["prompt"])
    draw = random.Random(1)
    for group in found.values():
        draw.shuffle(group)
    groups = [found[task] for task in sorted(found)]
    mixed = [group[at] for at in range(max(map(len, groups))) for group in groups if at < len(group)]
    return mixed[:count]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, type=Path, help="the tollgate binary")
    parser.add_argument("--dense", required=True, help="the dense model's GGUF file")
    parser.add_argument("--larger", required=True, help="the GGUF file of the larger model, which answers the short requests")
    parser.add_argument("--prompts", required=True, help="JSON lines with prompt and task")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--count", type=int, default=500, help="prompts that the dense model answers")
    parser.add_argument("--answer-tokens", type=int, default=110)
    arguments = parser.parse_args()
    made, judged = tokenizer(arguments.dense), subjects()
    fresh = lambda prompt: not any(subject <= set(re.findall(r"\w+", prompt.lower())) for subject in judged)
    rows = 0
    with open(arguments.out, "w", encoding="utf-8") as out:
        for by, model, asked in [("larger", arguments.larger, requests()), ("dense", arguments.dense, of_all_kinds(arguments.prompts, arguments.count))]:
            asked = list(filter(fresh, asked))
            with Engine(arguments.tollgate, model, 8, context=8192) as engine:
                answers = engine.ask_all([(prompt, arguments.answer_tokens) for prompt in asked])
            for prompt, said in zip(asked, answers):
                chat = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
                end = "" if said.cut else "<|im_end|>"
                out.write(json.dumps({"by": by, "pre": made.encode(chat).ids, "out": made.encode(said.text + end).ids}) + "\n")
                rows += 1
            print(f"==> {len(asked)} prompts, answered by the {by} model", flush=True)
    print(f"==> {rows} rows in {arguments.out}")


if __name__ == "__main__":
    main()
