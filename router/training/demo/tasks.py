"""Draws prompts with reference answers, and grades answers against them.

The training folder has prompts without their answers. Those are looked up by the prompt's letters and digits in the sources
themselves: clones of the repositories below, in one folder, each as OWNER+NAME or NAME. Sums are computed, easy requests
are made (`easy.py`). Sources whose licence forbids passing prompts on (ASDiv) or asks for the same licence (ARC) are left out.
"""

import ast
import hashlib
import io
import json
import random
import re
import subprocess
import zipfile
from fractions import Fraction

import easy

# What is drawn from each source (little where answers are long: the machine is small), how long a prompt may be, and how many
# tokens an answer may have: enough for nearly every right answer.
COUNTS = {"easy": 146, "easy-80": 80, "easy-200": 200, "arithmetic": 160, "svamp": 60, "gsm8k": 40, "math": 16, "mmlu-pro": 110, "openbookqa": 230}
LIMITS = {"easy": 64, "easy-80": 80, "easy-200": 80, "arithmetic": 128, "svamp": 320, "gsm8k": 400, "math": 512, "mmlu-pro": 4, "openbookqa": 4}
LONGEST_PROMPT = {"mmlu-pro": 300, "openbookqa": 220, "gsm8k": 260, "math": 220}
SHOW_NUMBER = '\n\nWork it out in a few short steps and end with a line "Answer: NUMBER".'
ONE_LETTER = "\n\nReply with the letter of the right option and nothing else."
REPOSITORIES = {"gsm8k": ("openai/grade-school-math", "grade_school_math/data/train.jsonl"),
                "math": ("ZubinGou/math-evaluation-harness", "data/math/test.jsonl"),
                "svamp": ("ZubinGou/math-evaluation-harness", "data/svamp/test.jsonl"),
                "mmlu-pro": ("TIGER-AI-Lab/MMLU-Pro", "eval_results/model_outputs_Mixtral-8x7B-Instruct-v0.1_5shots.zip"),
                "openbookqa": ("AGI-Edgerunners/LLM-Adapters", "dataset/openbookqa/train.json")}
# How a source is graded, and what is said after its prompts.
EASY, SUM, WORKED, OPTION = ("pattern", ""), ("number", ""), ("number", SHOW_NUMBER), ("letter", ONE_LETTER)
HOW = {"easy": EASY, "easy-80": EASY, "easy-200": EASY, "arithmetic": SUM, "svamp": WORKED, "gsm8k": WORKED, "math": WORKED, "mmlu-pro": OPTION, "openbookqa": OPTION}
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?|-?\.\d+")


def letters(text):
    """What identifies a prompt however it is spaced and punctuated."""
    return "".join(character for character in text.lower() if character.isalnum())


def number(text):
    """The exact value of a number as people write it, or None."""
    text = str(text).replace("\\!", "").replace("$", "").strip()
    text = re.sub(r"\\d?frac\{(-?\d+)\}\{(\d+)\}", r"\1/\2", text)
    text = text.replace(",", "").replace(" ", "")
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


def blob(references, source):
    """A file of a source's repository, from a clone with or without a work tree."""
    repository, path = REPOSITORIES[source]
    for folder in (references / repository.replace("/", "+") / "repo", references / repository.replace("/", "+"),
                   references / repository.split("/")[1]):
        if folder.is_dir():
            return subprocess.run(["git", "-C", str(folder), "show", f"HEAD:{path}"], check=True, capture_output=True).stdout
    raise SystemExit(f"no clone of {repository} in {references}")


def answers(references, source):
    """Reference answers of one source by the letters of their prompts."""
    data = blob(references, source)
    if source == "mmlu-pro":
        archive = zipfile.ZipFile(io.BytesIO(data))
        rows = json.loads(archive.read(archive.namelist()[0]))
        options = lambda row: ast.literal_eval(row["options"]) if isinstance(row["options"], str) else row["options"]
        return {letters(row["question"] + "".join(options(row))): row["answer"] for row in rows}
    if source == "openbookqa":
        place = "ABCD"
        return {letters(row["instruction"].split("\n\nAnswer format")[0]): place[int(row["answer"][-1]) - 1] for row in json.loads(data)}
    rows = [json.loads(line) for line in data.decode().splitlines()]
    if source == "gsm8k":
        return {letters(row["question"]): row["answer"].rsplit("####", 1)[1].strip() for row in rows}
    if source == "svamp":
        return {letters(row["Body"] + row["Question"]): str(row["Answer"]) for row in rows}
    boxed = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
    return {letters(row["problem"]): found[-1] for row in rows if (found := boxed.findall(row["solution"]))}


def rows_of(train, source):
    """The training folder's prompts of one source."""
    files = {"gsm8k": "gsm8k_train", "math": "math_levels", "mmlu-pro": "mmlupro_outcomes"}
    ending = {"svamp": "/svamp", "openbookqa": "/openbookqa", "arithmetic": "arith"}.get(source, "")
    with open(train / f"{files.get(source, 'natural_labels')}.jsonl", encoding="utf-8") as lines:
        rows = map(json.loads, lines)
        return [row for row in rows if row["source"].endswith(ending) and len(row["prompt"]) <= LONGEST_PROMPT.get(source, 900)]


def task(source, prompt, reference):
    """One task; its id is a hash of the prompt."""
    name, (kind, ending) = hashlib.sha256(prompt.encode()).hexdigest()[:16], HOW[source]
    return {"id": name, "source": source, "prompt": prompt, "ask": prompt + ending, "kind": kind, "reference": reference, "max_tokens": LIMITS[source]}


def drawn(train, references, source):
    """All tasks that one source can give."""
    known = answers(references, source) if source in REPOSITORIES else {}
    for row in rows_of(train, source):
        prompt = row["prompt"]
        if source == "arithmetic":
            terms = prompt.removesuffix("=").strip()
            if re.fullmatch(r"[\d+\-* ]+", terms) and terms.count(" ") <= 4:
                yield task(source, prompt, str(eval(terms)))  # digits and + - * alone
            continue
        lettered = re.sub(r"(?m)^[A-J]\. ", "", prompt) if source == "mmlu-pro" else prompt
        reference = known.get(letters(lettered))
        if reference is None:
            continue
        if source in ("mmlu-pro", "openbookqa"):
            # OpenBookQA comes with "Answer1: …"; letters are what both models know from exams.
            shown = re.sub(r"\s*Answer(\d): ", lambda m: f"\n{'ABCD'[int(m[1]) - 1]}. ", prompt)
            yield task(source, shown, reference)
        elif number(reference) is not None:
            yield task(source, prompt, reference)


def draw(train, references, listed, seed=7):
    """The tasks of all sources, shuffled so that any beginning of the list is a fair sample; `listed` are the easy prompts of files, by source."""
    chosen = [task(source, row["prompt"], row["passes"]) for source, rows in listed.items() for row in rows]
    chosen += [task("easy", prompt, pattern) for _, prompt, pattern in easy.tasks()][:COUNTS["easy"]]
    for source in COUNTS:
        if not source.startswith("easy"):
            found = {made["id"]: made for made in drawn(train, references, source)}
            chosen += random.Random(f"{seed} {source}").sample(sorted(found.values(), key=lambda made: made["id"]), COUNTS[source])
    random.Random(seed).shuffle(chosen)
    return chosen


def good(made, text):
    """Whether an answer is right."""
    text = text.strip()
    if made["kind"] == "pattern":
        return re.search(made["reference"], text, re.IGNORECASE) is not None
    if made["kind"] == "letter":
        found = re.search(r"\b([A-J])\b", text)
        return found is not None and found[1] == made["reference"]
    said = text.rsplit("Answer:", 1)[-1] if "Answer:" in text else text
    boxed = re.findall(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}", text)
    if boxed and number(boxed[-1]) is not None:
        return number(boxed[-1]) == number(made["reference"])
    plain = re.sub(r"\\d?frac\{(-?\d+)\}\{(\d+)\}", r"\1/\2", said.replace("−", "-"))
    # "Answer: 12 apples, or 3 boxes" starts with the number; worked steps end with it.
    found = NUMBER.findall(plain)
    if not found:
        return False
    return number(found[0] if said is not text else found[-1]) == number(made["reference"])
