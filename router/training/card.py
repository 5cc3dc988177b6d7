"""Writes the model card from what was measured."""
import collections

import sources

HEAD = """# Model card: the router's graph

`router.onnx`, with its tables in `router.table`, reads the words and a few counts of a request and says how likely a small and a large
model are to answer it well, what it is about, how long the answer will be, and whether it looks like
the training prompts. This file is written by `make train`; the figures are in `metrics.json`.

## What it is
8-bit tables. Each of {buckets:,} rows has {columns[0]} columns that are learned, and {columns[1]} more for the domain alone: words, and hashed pairs,
beginnings and ends of words. A word has {meaning} columns of **meaning** beside them (the vector that the sentence encoder all-MiniLM-L6-v2,
Apache-2.0, gives the word alone, reduced, common words lighter; never fitted to outcomes). The encoder knows English: words of ten other languages have the
meaning of the English ones that a glossary says they stand for (`router/training/glossary`, some 640 terms and 2,000 to 3,200 forms each, written for this by language models). What is said n times in a text
weighs as the square root of n.
Beside them stand {dense} counts (length, numbers, signs, scripts). Two parts read this:
- a network with one hidden layer of {units[0]}, and {units[1]} beside it for the domain alone: p(good) of a model of ability t is `sigmoid(easiness + slope * t)`,
  ability 0 being Mixtral-8x7B-Instruct and 1 GPT-4-1106-preview; every other model takes part through an ability
  learned for it. Both chances are then bent (Platt) to agree with unseen rows.
- a **ranking score**, linear in counts and meaning and fitted in closed form: length (as far as the request is likely to be of {problems}: a text to mend, to sort or to read in makes none harder), and heads for the gap
  between strong and weak models WITHIN each source, for exam kinds, and for the steps of word problems, mixed {shares}.

`difficulty` = sigmoid({bias} {gap:+} * gap + easy + wide {rank:+} * ranking score), gap = p_large - p_small, where easy = {easy[share]} * softplus({easy[sharp]} * (easiness - {easy[from]})) / {easy[sharp]}
takes away where the small model is near sure to do, and wide = {wide[share]} * softplus({wide[sharp]} * (gap - {wide[from]})) / {wide[sharp]} adds where the gap is wide. It ranks requests
and is not a probability. Money is decided by p(small) and p(large). Fixed seeds: the same data and versions give the same graph.
"""
LIMITS = """## What supervises what
- **p(small), p(large)**: outcomes of {models} models on {outcomes} prompts. Rows without outcomes have weak
  labels with small weights: GSM8K-train's number of steps (the fall per step as in LLMRouter's GSM8K-train
  outcomes), MATH's level, an effort that comes from the source, and our own judgement for everyday and (lightest) plain requests.
- **abilities.json**: of each model with outcomes, the likeliest ability under what graphs that did not see a prompt say of it, with a shift for each source that all models share; and
  the ability at which a share of MMLU-Pro would be right.
- **length**: no output lengths of models are known. GSM8K-train has the length of a written solution
  (characters / 3.2); everything else has a typical length of its kind of task. Expect the right order of
  magnitude, no more.
- **domain**: the source's own category; of sources that mix kinds of request, what the wording says (`domains.py`), or none; of the plain requests
  (`plain.jsonl`: 7,541, 2,278 of them in ten other languages, written one by one by language models for this, each with a domain and a level from 1 to 4), what they were written for.
- **familiar**: at most {unknown} of the word weight unknown, and near one of {cells} cells of the training rows.

## How it was chosen, and what lost
Choices were made by leaving whole groups of sources out of training, judged over several pairs of models a source; AlpacaEval
and RouterDC (licences below) served as further unseen sets there and never entered the graph. One thing was known beforehand: that
the word count alone recovers about 0.58 on RouteLLM's MMLU and GSM8K, which is why length leads the ranking score.
dev was looked at seven times while the first graph was made: once with eight candidates side by side, then at the end of six training runs.
Nine more runs printed it when the graph was brought into fewer nodes, repeated words came to be merged (by sum, by root of squares,
by maximum: alike on left-out sources, the root best in calibration and domains on unseen rows), documents joined the everyday
requests, the length's fall was made steeper for the sake of pasted documents, and more polite phrases were passed over; nothing was
chosen by it. Its shadow lies on the first weights all the same: that first look showed heads without length below the word count.
**The mix of difficulty was then chosen anew, by `choose.py`, which does not read dev**: the least regret over 19 groups. Fourteen are sources left out
of training with their kin, judged over pairs that one would route between (the larger right in 60 % at least, by 5 to 35 points
more; RouterDC among them, which never entered the graph), one is AlpacaEval. Three are MMLU, GSM8K and MT-Bench, of which it is published what
the word count recovers: a mix is taken to recover as much of that as its order of training prompts of the kind is like the word count's. One is the
order of the everyday requests. Of those within 0.001 of the least worst regret the one nearest to the mix before was taken. It lets length count from 16
words on instead of 30, and the heads 0.6 times as much: the worst regret was 0.037 and is 0.024, the mean over the fourteen sources was 0.539 and is
0.541 (word count 0.536, the gap alone 0.527), everyday pairs in order were 0.974 and are 0.975, AlpacaEval was 0.467 and is 0.463 (word count 0.454:
there GPT-4 wins most clearly on short questions). The mean of the table of left-out sources above, whose pairs were fixed before, was 0.511 and is 0.512.
What the mix before had on dev was known; dev was printed twice more, at the end of the training runs of two mixes; the first
had been chosen without AlpacaEval, gave length more and was given up for AlpacaEval's sake, though dev liked it better (0.563 on MMLU, 0.568 on GSM8K).
The exam kinds were written with MMLU's fields in mind, and some of their chances were lowered after that first look, because its
models answer without working; they are judgements, but not blind ones.
**What limits MMLU** was then looked up on dev, subject by subject, with the graph of before: who knew each prompt's subject and each subject's gap (from the
other half of dev) would recover 0.655; with our chances of the kinds and every subject recognised it is 0.603, with length 0.607. On high school
mathematics GPT-4 is right in 2 % (Mixtral in 30 %), which nobody can foresee. So what was missing was recognising the kinds: the exam questions got twice the topics, longer cases
and options to choose from. Their chances and their weight stayed as they were. Judged on topics held out and on the left-out sources, which all variants left alike
(the mean over the fourteen 0.541 to 0.546, 0.544 of what was taken): the weight of everyday requests instead of a third of it ranks held-out topics better (0.68 instead of 0.62) and MMLU no
better, but flattens the slope between the reference models; questions of GSM8K and MATH turned into choices did not help (0.544 against 0.546);
twice the hidden layer and another seed made no difference (0.544 and 0.542 against 0.545). The mix of difficulty was left as it was: its mean regret is as low as any, its worst 0.006
above the least. Of these, dev was printed for three variants (0.574 to 0.581 on MMLU, 0.558 to 0.565 on GSM8K) and for what was taken.
**Domains of plain requests** were then looked at, for rules and abilities go by them: "613 + 331 =" was taken for chat, and of 32, 30 and 30 requests in our own words half
(15, 15, 10) had their domain right, since four sources of mixed requests had all been called chat. With what their wording says instead, bare sums, and more kinds of everyday
request it is 26, 26 and 16; the first two lists were known when those were written, the third was not. More weight on the domain, on rare domains or on plain requests
gave no more. dev was printed for four steps of this (0.573 to 0.576 on MMLU, 0.569 to 0.574 on GSM8K); nothing was chosen by it.
**Plain requests** showed how little that was: of 320 requests in eight domains, written by a language model that saw none of ours, the domain was right in 144, and of 120 pairs
on one subject, an easier and a harder request each, `difficulty` had 81 in order, but of the 41 whose harder one is no longer 3 (p(small) 101 and 26). So 5,263 more were written for training,
by others of its kind that did not see those (they are no people's requests, and the two lists share that). Domains are now right in 252, and 99 pairs are in order, 21 of the 41 (p(small) 106 and 29). Learnt
through the same columns and hidden units, domains took from the chances (mean APGR of the gap over the left-out sources above 0.523 before, 0.515 to 0.518 with all tried weights); with
their own it is 0.529 (difficulty 0.516 before, now 0.522; differences as large as the standard error). Length counted wherever it was found, and put long simple requests above short hard ones; restricted to domains whose words are a
problem's, the fourteen sources recover as much as before (0.5415 and 0.5420), AlpacaEval more (0.484, was 0.464), and judged training pairs whose harder one is no longer are in order in 0.65 instead of
0.47 (all measured while columns were shared; the weights of the mix were left as they were, though `choose.py` would give length less where it counts everywhere). What it costs: dev, printed for eight variants, has 0.566 on MMLU and on GSM8K (0.576 and 0.574 before); the variant was chosen by left-out sources and by the
320 requests and 120 pairs, which were scored for each of seventeen variants: for the shipped graph they are no untouched test any more.
**Other languages** were then looked at: of 240 requests in ten languages (`unseen.jsonl`; the writer saw none of ours) 112 had their domain right, 131 were unlike the training prompts, and of 80
pairs on one subject 55 were in order (p(small) 59). Accents, full-width forms and what Arabic and Korean write together came to be folded or taken apart (115; what English has is as before), 2,278
requests were written for training (171), and glossaries gave words their meaning (one language 183, four 186, all ten 190; the shipped graph has 195, and 61 pairs, p(small) 68). With each language a source of its own instead of mixed into
the plain ones, as many domains are right (190 and 189) and more pairs in order (p(small) 72 and 66 of 80). English gained as well (252 to 267 of 320, p(small) 106 to 108 of the 120 pairs), left-out sources lost less than the standard error (mean APGR of the gap 0.529 before, 0.523 now; difficulty 0.522 and
0.515). `choose.py`, asked again, would leave the heads out for the least worst regret (0.023 instead of 0.047) at the same means; the mix was left. dev was printed for eight variants (MMLU 0.556 to 0.568, GSM8K 0.551 to 0.578) and chose nothing.
The variant was chosen by the 240 requests and 80 pairs, so they are no untouched test any more either.
Mean APGR over left-out sources. The first line is over 13 sources (word count 0.505), the others over 20 with AlpacaEval and RouterDC
(word count 0.510); the standard error is roughly 0.007 (estimated, not bootstrapped), so most lines cannot be told apart:
- the network's gap 0.523, easiness 0.521; length with the gap at the shipped weights 0.520 (without the two bends)
- the closed-form gap head alone 0.525
- the same head on hardness instead of gap 0.515: better on multiple choice (0.54), below random on competition mathematics (0.44)
- an item-response fit with one free shift per source and model 0.511 to 0.513
- effort labels of unlabelled sources as gaps 0.508 to 0.524, the less of them the better; a classifier of kinds of task 0.50
- 32, 64 or 96 columns of meaning, penalties from 3 to 300, source balance 0.25 to 1: no difference beyond noise
- twice the epochs, without models that fail by form: the network's gap from about 0.51 to 0.52, and p(small)'s error before bending from 0.14 to 0.09

For the mix, mean APGR over the fourteen sources (standard error of a difference about 0.005):
- without the two bends 0.542, but only 0.93 of the everyday pairs in order; every share of length between half and twice the present one 0.538 to 0.542
- heads for steps alone 0.543, for exam kinds alone 0.538, for the gap alone 0.536; the gap head without models that are right in less than 30 % 0.541
- p(small) in place of the gap 0.543
- more than length was not found that carries over to MMLU: the prompts without outcomes (LSAT, SAT, Chinese exams, common sense, short facts) are
  hardly any of law, medicine or history, so running small local models over them for more outcomes was weighed and left

### What a calibration could not gain
`tollgate calibrate` was tried with other inputs and fits on 14 pairs of models as if each were a user's (1,500 labels of MMLU-Pro, RouterBench, LLMRouter
or RouterDC, most with 300 of GSM8K-train; graphs that did not see the source; two repeats, the last two lines 8 of the pairs and one or two repeats). Change of APGR over all
unseen prompts against the present inputs (fitted by ridge regression, which does as well as the two heads), standard error over users:
- 64 columns of meaning beside words and counts +0.001 ± 0.003 (within sources +0.005 ± 0.006); with a part of dev as labels, 8 repeats, MMLU -0.002 ± 0.002
  and GSM8K -0.020 ± 0.010, so they were left out. A kernel of distances between meanings, at two widths: no better than the plain columns
- ridge regression on the difference of outcomes in place of two logistic heads, its penalty by exact leave-one-out: alike; both blended: +0.000 ± 0.003
- rare words heavier, squares of the words' likeness, the hidden layer, the learned columns: -0.002 to +0.000, all ± 0.003
- words alone or pairs and beginnings alone -0.001 ± 0.001, an exponential kernel -0.002 ± 0.001, the graph's outputs 2.5 times as heavy -0.003 ± 0.002
- a penalty of 4 in place of 8 +0.001 ± 0.001, of 16 -0.003 ± 0.002; the choice by cross-validation costs 0.000 ± 0.001 against 8
What limits it is labels: the difference of two single outcomes is mostly chance (the fitted order correlates 0.14 with it on MMLU), and each
way of reading the prompt finds the same share of the rest. The 59 % that TF-IDF saves on MMLU is learned from 11,000 labels.

## Known weaknesses
- **On RouteLLM's outcomes the difficulty does not beat the word count** (table above; on MMLU the difference is within its interval). What separates prompts in the
  training sources (science, code, arithmetic, common sense) says little about MMLU: law, ethics, accounting, medicine and history have no
  outcomes here, only coarse judgements, and most outcomes come from models that reason in steps, while RouteLLM's answered at once.
- Transfer to a source that was not in training is weak: see the held-out table, where 0.5 is random and one source's standard error is 0.02 to 0.04.
- Two chances are calibrated on the training mix. On another mix they are off by a few points, GSM8K's p(small) by 13: check them against your own outcomes.
- p(large) is measured on RouterBench's three sources alone.
- English leads. Ten more languages have glossaries and 150 to 280 plain requests each: domains are right about as often (Korean least, 14 of 24), hard requests are told from easy ones somewhat less. Other languages have
  neither: most of their words are unknown, so the prompt counts as unfamiliar as a rule, and goes up.
- Everyday and exam kinds are labelled by judgement, so calibration there is not measured.
- Ability 0 and 1 are the models above, and of the models with outcomes none is far outside (-0.2 to 1.03). Within a source, what a model gets right goes with
  the easiness (on unseen prompts of MMLU-Pro its logit times 0.6 to 1.1, whatever the ability) and hardly with the prompt's slope (times -0.7 to 0.3, where the ability
  says up to 0.9). So the slope is used between the two reference models alone; beyond them a unit of ability is one logit for every prompt. For the demo's pair (a 0.5B and a
  1.5B model, abilities fitted on other prompts, the graph of before) that brought the log loss from 1.01 to 0.63 and from 0.74 to 0.61, and what is kept to what was asked for (docs/benchmarks.md).
- The kept share of quality is an average over the training mix; another mix of requests keeps another share.
"""


def table(title, rows):
    names = list(next(iter(rows.values())))
    lines = [f"### {title}", "", "| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    lines += [f"| {key} | " + " | ".join(str(value) for value in values.values()) + " |" for key, values in rows.items()]
    return "\n".join(lines) + "\n\n"


def text(data, report, config):
    count = collections.Counter(row["source"] for row in data.rows)
    shares = {"length": config["rank"]["length"]["share"], **{name: part["share"] for name, part in config["rank"]["heads"].items()}}
    out = HEAD.format(buckets=data.spec["buckets"], meaning=config["meaning"], columns=config["columns"], dense=data.spec["dense_count"], units=config["units"],
                      problems=" or ".join(config["rank"]["length"]["domains"]),
                      shares=" : ".join(f"{name} {share:g}" for name, share in shares.items()), **config["difficulty"])
    out += "\n## Measured\nAPGR: share of the gap between the two models that is recovered, averaged over thresholds; 0.5 is random.\n`words` is the word count alone.\n\n"
    out += table("dev: RouteLLM's outcomes, Mixtral-8x7B against GPT-4 (see below how often it was looked at)", report["dev"])
    if "held_out" in report:
        out += table("The whole group of sources left out of training", report["held_out"])
    out += table("Unseen prompts of sources in training (4 folds)", report["within"])
    out += table("Calibration on unseen prompts (15 bins; before: without bending)", report["calibration"]) + "![calibration](calibration.png)\n\n"
    out += "Domain accuracy on unseen prompts: " + ", ".join(f"{k} {v}" for k, v in report["domains"].items()) + ".\n\n"
    out += "Kept share of the large model's quality → tolerated gap p(large) − p(small): " + ", ".join(f"{s} → {g}" for s, g in report["quality"]) + ".\n\n"
    out += LIMITS.format(models=len(data.models), outcomes=sum(bool(row["outcomes"]) for row in data.rows), unknown=f"{report['unknown_words_tolerated']:.0%}", cells=config["cells"])
    out += "\n## Data\nUsed:\n\n| source | rows | licence |\n|---|---:|---|\n"
    groups = collections.Counter()
    for source, n in count.items():
        groups[sources.used_key(source)] += n
    out += "".join(f"| {key} | {n} | {sources.USED[key]} |\n" for key, n in sorted(groups.items()))
    out += "\nLeft out:\n\n| source | rows | why |\n|---|---:|---|\n"
    left = collections.Counter()
    for source, (n, reason) in data.excluded.items():
        left[reason] += n
    names = {reason: key for key, reason in sources.EXCLUDED.items()}
    out += "".join(f"| {names[reason]} | {n} | {reason} |\n" for reason, n in sorted(left.items()))
    return out
