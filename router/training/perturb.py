"""Small changes to a prompt that leave the task as it is: a route should not follow them."""
import random
import re

OPENERS = ["Hi there! I hope you are well. Could you please help me with this? ", "Hello, sorry to bother you, I have a quick request. "]
CLOSERS = [" Thank you very much in advance!", "\n\nThanks a lot, I really appreciate it."]
FRAMES = ["Please answer the following: {}", "I need your help with this task.\n\n{}", "{}\n\nGive your best answer.", "Here is my question: {}"]
# Wordings that people use for each other.
REWORD = [(r"\bWhat is\b", "What's"), (r"\bHow many\b", "What number of"), (r"\bWrite\b", "Compose"), (r"\bExplain\b", "Describe"),
          (r"\bFind\b", "Determine"), (r"\bProve\b", "Show"), (r"\bWhich of the following\b", "Which one of these"), (r"\bis not\b", "isn't"),
          (r"\bcannot\b", "can't"), (r"\bdoes not\b", "doesn't"), (r"\bbig\b", "large"), (r"\bvery\b", "really"), (r"\bbecause\b", "since"),
          (r"\bGive\b", "Provide"), (r"\bCalculate\b", "Compute"), (r"\bmake\b", "create"), (r"\bHow do I\b", "How can I"), (r"\bbest\b", "most suitable")]


def typos(text, rng, every=12):
    """One word in about `every` has two letters swapped, one dropped or one doubled; at least one does."""
    words = [match.span() for match in re.finditer(r"[^\W\d_]{4,}", text)]
    for start, end in sorted(rng.sample(words, min(len(words), max(1, len(words) // every))), reverse=True):
        at = rng.randrange(start + 1, end - 1)
        change = rng.choice([text[at + 1] + text[at], text[at + 1], text[at] + text[at] + text[at + 1]])
        text = text[:at] + change + text[at + 2:]
    return text


def spaces(text, rng):
    return "  " + re.sub(r" ", lambda _: rng.choice([" ", " ", "  ", " \n"]), text) + " \n\n"


def reworded(text, _):
    for pattern, other in REWORD:
        text = re.sub(pattern, other, text, flags=re.IGNORECASE)
    return text


KINDS = {
    "typos (1 word in 12)": typos,
    "lower case": lambda text, _: text.lower(),
    "upper case": lambda text, _: text.upper(),
    "white space": spaces,
    "polite padding": lambda text, rng: rng.choice(OPENERS) + text + rng.choice(CLOSERS),
    "another frame": lambda text, rng: rng.choice(FRAMES).replace("{}", text),
    "reworded": reworded,
}


def all_kinds(prompts, seed=0):
    """{kind: changed prompts}, the same at each run."""
    return {kind: [change(text, random.Random(f"{seed} {kind} {at}")) for at, text in enumerate(prompts)] for kind, change in KINDS.items()}
