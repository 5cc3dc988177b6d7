"""Training rows from the data folder: which sources are used, under which licence, and their targets.

A source that forbids commercial use, or whose licence is not stated anywhere, is left out: `EXCLUDED`
says why. A source not named here at all is an error, so that new data is judged before it is used.
"""
import json
from pathlib import Path

import documents
import domains
import errands
import everyday
import exam
import plain

# Longest prefix wins.  (licence of the content, note)
USED = {
    "MMLU-Pro": "Apache-2.0 repository, MIT data card; TheoremQA, SciBench and open textbooks inside",
    "ZeroEval/": "Apache-2.0; MATH and CRUXEval are MIT",
    "RouterBench/": "MIT (RouterBench's questions' answers and outcomes, reached through a redistributing repository that added nothing); ARC CC-BY-SA-4.0, MBPP CC-BY-4.0, WinoGrande CC-BY",
    "LLMRouter/": "MIT; NQ CC-BY-SA-3.0, TriviaQA Apache-2.0, ARC and OpenBookQA open, MBPP CC-BY-4.0, MATH, GSM8K, CommonGen, CommonsenseQA and MMLU MIT",
    "GSM8K/train": "MIT",
    "MATH/": "MIT",
    "math-eval-harness/svamp": "MIT",
    "AGIEval/": "MIT",
    "StrategyQA/train": "MIT",
    "HumanEval": "MIT",
    "arena-hard": "Apache-2.0",
    "dolly_hhrlhf_small": "MIT and CC-BY-SA-3.0",
    "self-instruct/seed": "Apache-2.0",
    "CLINC150": "CC-BY-3.0",
    "BANKING77": "CC-BY-4.0",
    "TriviaQA": "Apache-2.0",
    "BoolQ": "CC-BY-SA-3.0",
    "LLM-Adapters/": "ODC-BY",
    "T0/common_gen": "MIT", "T0/commonsense_qa": "MIT", "T0/cosmos_qa": "CC-BY-4.0",
    "T0/cnn_dailymail": "Apache-2.0", "T0/dbpedia_14": "CC-BY-SA-3.0", "T0/duorc": "MIT",
    "T0/kilt_tasks_hotpotqa": "MIT and CC-BY-SA-4.0", "T0/quoref": "CC-BY-4.0", "T0/paws": "free for any purpose",
    "everyday/": "this project, Apache-2.0", "exam/": "this project, Apache-2.0", "plain/": "this project, Apache-2.0",
}
EXCLUDED = {
    "RouterDC/": "content and outcomes come from a repository without a licence; CMMLU and C-Eval are non-commercial",
    "AlpacaEval/": "CC-BY-NC-4.0",
    "CodeAlpaca": "CC-BY-NC-4.0",
    "InstructionWild": "non-commercial research only",
    "Qwen2.5-Math/": "no licence stated",
    "AGIEval/logiqa": "LogiQA states no licence",
    "AGIEval/jec-qa": "JEC-QA is for research only",
    "MBPP": "taken from a repository without a licence (MBPP comes in through other sources)",
    "CommonsenseQA/train": "taken from a repository without a licence",
    "Jeopardy": "rights in the clues are not cleared",
    "arith": "origin not stated",
    "math-eval-harness/asdiv": "CC-BY-NC-4.0",
    "math-eval-harness/mawps": "licence not clear",
    "T0/": "underlying dataset non-commercial or without a stated licence",
}
FILES = ["mmlupro_outcomes", "zeroeval_outcomes", "routerbench_outcomes", "llmrouter_outcomes", "gsm8k_train", "math_levels", "natural_labels",
         "routerdc_outcomes", "alpacaeval_preferences"]

DOMAIN_OF = {
    "chat": "chat", "intent": "chat", "classify": "classification", "extract": "reading", "generate": "writing", "rewrite": "writing",
    "summarise": "writing", "code": "code", "mbpp": "code", "human_eval": "code", "computer science": "code", "math": "math", "gsm8k": "math",
    "commonsense": "reasoning", "commonsense_qa": "reasoning", "reasoning": "reasoning", "multi_hop_qa": "reasoning", "agentverse-logicgrid": "reasoning",
    "read_comprehension": "reading", "reading": "reading", "commongen": "writing", "exam": "knowledge",
}
# Sources of mixed requests, which say of none what it is about.
MIXED = ("arena-hard-v0.1", "arena-hard-v2/hard_prompt", "dolly_hhrlhf_small", "self-instruct/seed")
# Typical answer length in tokens by task: (median, 90th percentile).  Judgements, used where no length is known.
LENGTH_OF = {"chat": (110, 350), "classification": (8, 40), "code": (220, 650), "knowledge": (60, 320), "math": (210, 520), "reading": (40, 180),
             "reasoning": (90, 320), "writing": (130, 380)}
TASK_LENGTH = {"short_command": (40, 140), "short_question": (80, 220), "one_step_arithmetic": (60, 160), "short_fact": (25, 100),
               "commonsense_mcq": (30, 160), "competition_math": (420, 1100), "hard_chat": (650, 1500), "summarise": (90, 240), "implicit_multi_hop": (80, 260)}
# What an effort says about the two reference models; weak labels, see WEIGHT_OF_EFFORT in train.py.
EFFORT = {"low": (0.90, 0.96), "medium": (0.68, 0.90), "high": (0.38, 0.76)}
# Short facts graded by exact match: nearly every model fails by form, so the outcomes rank nothing.
UNTOLD = {"LLMRouter/trivia_qa", "LLMRouter/natural_qa"}
# Models that fail by form wherever LLMRouter asks for a marked answer.
FORMLESS = ("llama3-chatqa",)
MIXTRAL, GPT4 = "mixtral-8x7b", "gpt-4-1106"


def effort(source, given):
    """A source's effort label; creative writing asks for taste more than for a large model."""
    return "medium" if source == "arena-hard-v2/creative_writing" else given


def _match(table, source):
    hits = [prefix for prefix in table if source == prefix or (source.startswith(prefix) and (prefix.endswith("/") or prefix[-1].isalnum()))]
    return max(hits, key=len, default=None)


def licence(source):
    """The licence of a used source, or None when the source is left out."""
    used, excluded = _match(USED, source), _match(EXCLUDED, source)
    if used is None and excluded is None:
        raise SystemExit(f"source {source!r} has no entry in USED or EXCLUDED: judge its licence first")
    return USED[used] if used is not None and len(used) > len(excluded or "") else None


def model_name(name):
    """One name for one model across sources."""
    low = name.lower().split("@")[0].split("/")[-1]
    if low.startswith("mixtral-8x7b"):
        return MIXTRAL
    if low.startswith("gpt-4-1106"):
        return GPT4
    return low.replace("_", ".").removeprefix("meta-")


def _domain(row):
    source, domain = row["source"], row["domain"]
    if source in MIXED:
        guess = domains.guess(row["prompt"])
        # What says "I" among these asks for technical help as a rule.
        return None if guess == "chat" and source.startswith("arena-hard") else guess
    if source == "arena-hard-v2/creative_writing":
        return "writing"
    if source in ("LLM-Adapters/piqa", "LLM-Adapters/social_i_qa"):
        return "reasoning"
    if source.startswith("AGIEval/") and any(part in source for part in ("math", "aqua")):
        return "math"
    if source.startswith("AGIEval/lsat") or source.startswith("AGIEval/logiqa"):
        return "reasoning"
    if source.startswith("MATH/") or source.startswith("ZeroEval/math"):
        return "math"
    return DOMAIN_OF.get(domain, "knowledge")


def _lengths(row, domain):
    """Answer length in tokens: known from a written solution where there is one, else typical of the task."""
    if "answer_chars" in row:
        tokens = row["answer_chars"] / 3.2  # worked solutions: digits and signs make short tokens
        return (tokens, tokens), "solution"
    if row.get("task") in TASK_LENGTH:
        return TASK_LENGTH[row["task"]], "task"
    return LENGTH_OF[domain or "chat"], "task"


def load(folder):
    """(rows used, {excluded source: (count, reason)})."""
    rows, excluded = [], {}
    for name in FILES:
        path = Path(folder) / f"{name}.jsonl"
        if not path.exists():
            continue
        with open(path, encoding="utf-8") as lines:
            for raw in map(json.loads, lines):
                source = raw["source"]
                if licence(source) is None:
                    reason = EXCLUDED[_match(EXCLUDED, source)]
                    excluded[source] = (excluded.get(source, (0, ""))[0] + 1, reason)
                    continue
                domain = _domain(raw)
                lengths, kind = _lengths(raw, domain)
                outcomes = {}
                for model, value in raw.get("outcomes", {}).items():
                    if not model_name(model).startswith(FORMLESS):
                        outcomes[model_name(model)] = float(value)
                rows.append({"prompt": raw["prompt"], "source": source, "domain": domain, "tokens": lengths, "tokens_kind": kind,
                             "outcomes": outcomes, "effort": effort(source, raw.get("effort")), "steps": raw.get("steps") if "gsm8k" in source.lower() else None,
                             "level": raw.get("level") if "math" in source.lower() else None,
                             "pair": (raw.get("weak_correct"), raw.get("strong_correct"))})
    for row in [*everyday.rows(), *errands.rows(), *documents.rows(), *exam.rows(), *plain.rows()]:
        rows.append({**row, "tokens_kind": "judgement", "outcomes": {}, "effort": None, "steps": None, "level": None, "pair": (None, None),
                     "soft": (row["p_small"], row["p_large"])})
    return rows, excluded


def used_key(source):
    """The entry of USED that a source falls under."""
    return _match(USED, source)
