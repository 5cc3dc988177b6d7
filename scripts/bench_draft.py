#!/usr/bin/env python3
"""What a draft model could gain: the small model guesses the next tokens of the larger model's answer, which reads them all
at once and keeps those it would have said itself (speculative decoding, arXiv 2211.17192, greedy).

Nothing is speculated here. The larger model answers; at every few tokens of each answer the small one goes on from there,
and the tokens that agree are counted. With what each engine says its tokens cost (`usage.engine_us` and its parts) follows how
much faster answers would come for each number of guesses: (agreeing + 1) tokens for the price of the guesses and one reading.
Standard library only.
"""

import argparse
import statistics
from pathlib import Path

from local_engine import Engine

PROMPTS = ["What is the capital of Portugal, and what is it known for?", "Translate into German: The meeting is moved to Thursday at ten.",
           "Explain in a few sentences how a bicycle stays upright.", "Write a Python function that counts the words of a text.",
           "Write a short story about a lost key.", "List five ideas for a rainy afternoon with children.",
           "Summarize: The river rose by two metres in the night. Three bridges were closed, and the school stayed shut. Nobody was hurt.",
           "Write a SQL query for the three customers who spent most in 2024.", "A train leaves at 9:40 and needs 95 minutes. When does it arrive? Explain.",
           "Return a JSON object with name, age and city for: Mia is 9 and lives in Turin."]
ANSWER, STRIDE, MOST = 96, 6, 8
GUESSES = (1, 2, 3, 4, 6, 8)


def ask(engine, prompt, said, tokens):
    """Goes on with what has been `said`; the tokens, and the usage."""
    messages = [{"role": "user", "content": prompt}]
    body = {"messages": messages, "max_tokens": tokens, "logprobs": True}
    if said:
        messages.append({"role": "assistant", "content": said})
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    answer = engine.post(body)
    return [one["token"] for one in (answer["choices"][0]["logprobs"] or {"content": []})["content"]], answer["usage"]


def agreeing(guessed, said):
    """How many of the guesses come true, from the first one on."""
    return next((at for at, (one, other) in enumerate(zip(guessed, said)) if one != other), min(len(guessed), len(said)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, type=Path, help="the tollgate binary")
    parser.add_argument("--draft", default="qwen-0.5b-moe", help="the small model, of the same vocabulary")
    parser.add_argument("--model", default="qwen-coder-1.5b", help="the larger one")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    agreed, alone, guess, reading = [], [], [], {}
    with Engine(arguments.tollgate, arguments.model, 1, arguments.threads) as larger, Engine(arguments.tollgate, arguments.draft, 1, arguments.threads) as draft:
        for prompt in PROMPTS:
            said, usage = ask(larger, prompt, "", ANSWER)
            alone.append(usage["engine_decode_us"] / max(1, len(said) - 1))
            for at in range(0, len(said) - 1, STRIDE):
                before = "".join(said[:at])
                guessed, usage = ask(draft, prompt, before, MOST)
                agreed.append(agreeing(guessed, said[at:]))
                if len(guessed) > 1:
                    guess.append(usage["engine_decode_us"] / (len(guessed) - 1))
            # What reading so many tokens takes: the same beginning twice, so that only its end is new.
            for count in GUESSES:
                beginning, end = "".join(said[: len(said) // 3]), "".join(said[: len(said) // 3 + count + 1])
                ask(larger, prompt, beginning, 1)
                _, usage = ask(larger, prompt, end, 1)
                new = usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"]
                reading.setdefault(new, []).append(usage["engine_prefill_us"])
            print(f"==> {len(agreed)} places", flush=True)
    alone, guess = statistics.median(alone), statistics.median(guess)
    print(f"one token: {alone / 1000:.1f} ms of the larger model, {guess / 1000:.1f} ms of the small one\n")
    print("| guesses | come true | tokens a round | guessing, ms | reading, ms | speed against none |\n|---|---|---|---|---|---|")
    for count in GUESSES:
        kept = statistics.mean(min(one, count) for one in agreed)
        nearest = min(reading, key=lambda new: abs(new - count - 1))
        read = statistics.median(reading[nearest]) * (count + 1) / nearest
        print(f"| {count} | {kept / count:.0%} | {kept + 1:.2f} | {count * guess / 1000:.1f} | {read / 1000:.1f} | {(kept + 1) * alone / (count * guess + read):.2f} × |")


if __name__ == "__main__":
    main()
