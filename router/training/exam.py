"""Exam questions by kind, in our own words: what the outcome files do not cover.

The outcomes at hand are of science, code, common sense and arithmetic; law, ethics, accounting,
medicine and history are absent.  Each kind says how likely a small and a large model are to pick the
right option without working on paper.  The kinds are coarse on purpose (recall is easy; calculation,
and rules applied to a case, are hard): judgements from general experience, not a benchmark's figures.
Each topic is asked twice as a bare question and twice with options to choose from.
"""
import random
import string

from exam_terms import TERMS

# name: (domain, p_small, p_large)
KINDS = {
    "recall_social": ("knowledge", 0.87, 0.93),
    "recall_science": ("knowledge", 0.81, 0.91),
    "recall_medicine": ("knowledge", 0.73, 0.88),
    "recall_history": ("knowledge", 0.85, 0.92),
    "obscure": ("knowledge", 0.45, 0.58),
    "law_case": ("knowledge", 0.50, 0.73),
    "rules_of_a_profession": ("knowledge", 0.53, 0.75),
    "clinical_case": ("knowledge", 0.66, 0.87),
    "moral_judgement": ("reasoning", 0.47, 0.75),
    "calculation": ("math", 0.42, 0.62),
    "abstract_mathematics": ("math", 0.38, 0.56),
    "formal_logic": ("reasoning", 0.47, 0.68),
    "technical": ("knowledge", 0.60, 0.77),
}
# {t} is a topic, {u} another of the kind; {T} and {U} begin with a capital.
FRAMES = ["Which of the following statements about {t} is correct?", "Which of these is the best description of {t}?", "{T} is most closely associated with",
          "What is true of {t}?", "All of the following are true of {t} EXCEPT"]
FRAMES_OF = {
    "law_case": ["{T}. Which outcome is most likely?", "{T}. What is the best answer, and on which ground?", "Consider this case: {t}. Who will prevail?"],
    "clinical_case": ["{T} is seen in the emergency room. What is the most likely diagnosis?", "What is the next step for {t}?"],
    "calculation": ["What is {t}?", "Calculate {t}.", "Find {t} to two decimal places."],
    "moral_judgement": ["Is {t} morally wrong according to ordinary standards?", "Which view of {t} would a consequentialist hold?", "Decide whether the narrator acts wrongly: {t}."],
    "abstract_mathematics": ["Find {t}.", "Which statement about {t} is always true?", "Determine {t} in the given structure."],
    "formal_logic": ["Which option gives {t}?", "Find {t}."],
}
# Longer questions, for a share of those with options.
CASES = ["{T}. {U}.", "{T}. Later, {u}.", "In this state, {t}. Then {u}."]
RULINGS = ["Which outcome is most likely?", "What is the best answer, and on which ground?", "Who will prevail?", "How should the court rule?"]
FINDINGS = ["His temperature is 38.5 degrees.", "Her pulse is 110 a minute.", "Breath sounds are decreased on the right.", "The abdomen is tender.", "He has a history of hypertension.",
            "Laboratory studies show a haemoglobin of 9 g/dL.", "She takes no medicines.", "There is no family history of the disease."]
CLINICS = ["What is the most likely diagnosis?", "What is the next step?", "Which of these is the most likely cause?"]
STORIES = "In which of these two stories does the narrator act in a way that most people would call wrong?\nStory 1: {T}.\nStory 2: {U}."
CLAIMS = "Say of each claim whether it holds. Claim 1: {T} is unique. Claim 2: {U} always exists."
# Options, where other topics of the kind are none.
PARTIES = ["Yes", "No", "The plaintiff", "The defendant", "The court"]
REASONS = ["because the statute forbids it", "because the defendant had a duty of care", "because the evidence is hearsay", "unless the buyer had notice", "since there was no consideration",
           "if the jury finds intent", "because the interest was reserved in the deed", "only if the officer had probable cause", "because the state has a compelling interest", "as the offer was revoked in time"]
OPTIONS = {
    "clinical_case": ["Myocardial infarction", "Pulmonary embolism", "Acute pancreatitis", "Iron deficiency", "Bacterial meningitis", "Hypothyroidism", "Multiple sclerosis", "Panic disorder", "Start antibiotics",
                      "Order a scan", "Observe only", "Refer to surgery", "Lymphoma", "Tuberculosis", "Diabetic ketoacidosis"],
    "moral_judgement": ["Wrong in both", "Wrong in the first only", "Wrong in the second only", "Wrong in neither"],
    "abstract_mathematics": ["0", "1", "2", "4", "6", "12", "infinite", "True, True", "False, False", "True, False", "False, True", "x + 1, x - 2", "Z_2", "a field but not a ring", "only I", "I and II only", "sqrt(2)",
                             "2*pi", "-1"],
}
FORMULAS = ["({p} ⊃ {q}) • ~{r}", "~({p} ∨ {q})", "{p} ⊃ ({q} ∨ {r})", "(∀x)({p}x ⊃ {q}x)", "(∃x)({p}x • ~{q}x)", "~{p} ≡ {q}", "({p} • {q}) ∨ {r}", "Valid", "Tautology", "Contradictory",
            "Invalid. Counterexample when the first is true and the second false", "Neither logically equivalent nor contradictory"]
UNITS = ["", "", " m/s", " J", " g", " N", "%", " mol", " cm", " V"]
LENGTH = (40, 300)  # tokens of an answer: median and 90th percentile
SEED = 0


def numbers(rng):
    unit = rng.choice(UNITS)
    base = rng.choice([rng.randint(2, 90), round(rng.uniform(0.1, 30), 2)])
    return [f"{round(base * factor, 2)}{unit}" for factor in rng.sample([0.5, 1, 2, 1.5, 3, 0.25, 4, 10], 4)]


def options(kind, topics, rng):
    """Four options for a question of the kind."""
    if kind in OPTIONS:
        return rng.sample(OPTIONS[kind], 4)
    if kind == "calculation":
        return numbers(rng)
    if kind == "formal_logic":
        p, q, r = rng.sample("ABCDEFGHJKLMPQRSTW", 3)
        return [form.format(p=p, q=q, r=r) for form in rng.sample(FORMULAS, 4)]
    if kind == "law_case":
        return [f"{rng.choice(PARTIES)}, {reason}." for reason in rng.sample(REASONS, 4)]
    if kind == "obscure" and rng.random() < 0.6:
        return [f"{rng.randint(2, 95)}%" for _ in range(4)]
    return [topic[0].upper() + topic[1:] for topic in rng.sample(topics, 4)]


def frame(kind, topic, other, rng):
    """How a question with options is put."""
    if kind == "law_case" and rng.random() < 0.7:
        return f"{rng.choice(CASES)} {rng.choice(RULINGS)}"
    if kind == "clinical_case" and rng.random() < 0.7:
        return f"{{T}}. {' '.join(rng.sample(FINDINGS, 2))} {rng.choice(CLINICS)}"
    if kind == "moral_judgement" and narrates(topic) and narrates(other):
        return STORIES
    if kind == "abstract_mathematics" and rng.random() < 0.4:
        return CLAIMS
    return rng.choice(FRAMES_OF.get(kind, FRAMES))


def narrates(topic):
    return topic.startswith("I ")


def filled(text, topic, other):
    return text.format(t=topic, u=other, T=topic[0].upper() + topic[1:], U=other[0].upper() + other[1:])


def prompts(kind, rng):
    """Each topic of the kind in two frames, then twice with options."""
    topics = TERMS[kind]
    for topic in topics:
        for bare in rng.sample(FRAMES_OF.get(kind, FRAMES), 2):
            yield filled(bare, topic, topic)
        alike = [t for t in topics if t != topic and narrates(t) == narrates(topic)]
        for _ in range(2):
            other = rng.choice(alike)
            question = filled(frame(kind, topic, other, rng), topic, other)
            yield question + "".join(f"\n{letter}. {option}" for letter, option in zip(string.ascii_uppercase, options(kind, alike, rng)))


def rows():
    """Rows in the form of everyday.rows()."""
    rng = random.Random(SEED)
    return [{"prompt": prompt, "source": f"exam/{kind}", "domain": domain, "p_small": small, "p_large": large, "tokens": LENGTH}
            for kind, (domain, small, large) in KINDS.items() for prompt in prompts(kind, rng)]
