"""Further everyday requests in our own words: questions about code, labels, passages, letters, decisions, plans and causes.

As everyday.py: templates and judgements; the kinds are told apart by what is wanted and not by the subject, so subjects
and numbers recur across them.
"""
from everyday import each, labelled

# name: (domain, p_small, p_large, median tokens, 90th percentile)
KINDS = {
    "code_question": ("code", 0.76, 0.93, 170, 450),
    "label": ("classification", 0.92, 0.97, 6, 30),
    "passage": ("reading", 0.92, 0.96, 20, 90),
    "letter": ("writing", 0.88, 0.95, 150, 360),
    "decision": ("reasoning", 0.60, 0.88, 320, 750),
    "errand_plan": ("reasoning", 0.48, 0.85, 420, 950),
    "cause": ("reasoning", 0.48, 0.84, 380, 850),
    "deduction": ("reasoning", 0.66, 0.90, 90, 300),
    "advice": ("chat", 0.88, 0.95, 140, 380),
    "explain": ("knowledge", 0.82, 0.94, 160, 420),
}
NOTES = ["Order 3391: two oak shelves, 149.00 pounds, for Hanna Ortiz, deliver to Leeds by 9 May.", "the app crashes when I open settings, please fix it soon", "Lovely place, the soup was great but it was loud.",
         "Dear team, the audit by Kestrel LLP starts on 14 October and takes three days.", "My parcel 88-1204 still has not come and nobody picks up the phone!", "You are chosen! Claim your free holiday today."]
LABELS = ["refund, delivery or technical", "work, family or advertising", "urgent or not urgent", "toys, kitchen or garden", "formal or informal", "question, complaint or thanks"]
STACKS = [("React", "component renders twice"), ("CSS", "flex item does not shrink"), ("Docker", "container stops with exit code 1"), ("pandas", "merge gives duplicate rows"), ("Postgres", "index is not used"),
          ("Go", "goroutine never ends"), ("Rust", "borrow does not live long enough"), ("git", "rebase brings the same conflict again"), ("nginx", "proxy answers 502"), ("TypeScript", "type is narrowed to never")]
PAIRS = [("leasing", "buying", "a delivery van"), ("SQLite", "a server database", "a small shop"), ("renting", "buying", "a flat for five years"), ("remote work", "an office", "a team of eight"), ("solar panels", "a heat pump", "an old house"),
         ("Kafka", "a plain queue", "order events"), ("a microservice", "a module", "billing")]
CHANGES = ["Sign-ups fell by a fifth in March", "Our delivery times doubled since the move", "Support tickets rose 30 % after the last release", "Two of our best people left within a month", "Electricity use at the plant is up 12 %", "Readers leave our site after one page"]
PEOPLE = ["my landlord", "a customer", "the school", "our supplier", "my team", "the bank", "a neighbour", "the city council"]
MATTERS = ["the heating is broken", "the invoice is wrong", "I cannot come on Tuesday", "the delivery was late", "we are moving in June", "the contract ends"]
EVENTS = [("a two-day team retreat", 25, 6000), ("a garden wedding", 80, 9000), ("a weekend in Ghent", 4, 900), ("a school fair", 200, 1500), ("a product launch", 60, 12000), ("a family trip to the coast", 5, 1200)]
CLASSES = [("roses", "flowers", "fade quickly"), ("clerks", "employees", "work on Saturdays"), ("zorps", "blips", "are green"), ("ferries", "ships", "run on gas")]
SUBJECTS = ["inflation", "how vaccines work", "the tides", "photosynthesis", "how a bill becomes law", "what an index fund is", "the difference between a virus and a bacterium", "why leaves turn red", "how GPS works", "the causes of the first world war"]


def _groups():
    yield "code_question", [text for stack, fault in STACKS for text in (
        f"Why does this happen in {stack}: a {fault}?", f"My {stack} {fault}, what can I do?", f"{stack}: {fault}. How do I find out why?")]
    yield "code_question", [*each("What is the difference between {a} in Python?", a=["a list and a tuple", "is and ==", "a module and a package"]), *each("How do I {x} in {l}?", x=["read a file line by line", "parse JSON", "center an element"], l=["JavaScript", "C#", "CSS"]),
                            *each("Explain this regular expression: {r}", r=["^\\d{4}-\\d{2}$", "(?i)\\bfoo\\b", "[^@]+@[^@]+"]), *each("{e}\nWhat does this error mean?", e=["TypeError: undefined is not a function", "Segmentation fault (core dumped)", "NullPointerException at Main.java:12", "KeyError: 'id'"])]
    yield "label", [*each("Label this message as {l}: {n}", l=LABELS[:3], n=NOTES), *each("Is this spam? \"{n}\"", n=NOTES), *each("Which fits, {l}? {n}", l=LABELS[3:], n=NOTES[:3]), *each("Does the text mention a {w}? Answer yes or no. '{n}'", w=["price", "date", "place"], n=NOTES[:3]),
                    *each("Decide whether the writer is happy. One word.\n\n{n}", n=NOTES[1:5])]
    yield "passage", [*each("According to the text, {q} {n}", q=["who is meant?", "when is it?", "how much is it?"], n=NOTES[:4]), *each("Pull the {w} out of: {n}", w=["names", "numbers", "dates"], n=NOTES[:5]), *each("List the {w} that appear here.\n\n{n}", w=["companies", "amounts"], n=NOTES[:4])]
    yield "letter", [*each("Write a polite email to {p} because {m}.", p=PEOPLE[:5], m=MATTERS[:4]), *each("Draft a letter to {p}: {m}.", p=PEOPLE[4:], m=MATTERS[3:]), *each("Write a {k} for {x}.", k=["cover letter", "short biography", "farewell speech"], x=["a nurse", "a junior accountant", "a retiring teacher"]),
                     *each("Write a {k} about {x}.", k=["short story", "poem", "fable"], x=["a lost key", "my grandmother's garden", "the last tram"])]
    yield "decision", [text for one, other, what in PAIRS for text in (
        f"Compare {one} and {other} for {what} and recommend one.", f"Should we choose {one} or {other} for {what}? Weigh what speaks for and against each.", f"{one} or {other} for {what}: which, and under what conditions would you change your mind?")]
    yield "errand_plan", [text for event, people, budget in EVENTS for text in (
        f"Plan {event} for {people} people on a budget of {budget} euros.", f"Organise {event} for {people}: who does what by when, and what does it cost? We have {budget}.", f"Make a schedule and a budget of at most {budget} dollars for {event}, {people} guests, some of them vegetarian.")]
    yield "cause", [*each("{c}. What are the likely causes, and how would you tell them apart?", c=CHANGES), *each("{c}. What should we look at first, and why?", c=CHANGES), *each("{c}. Make a plan to find the reason and turn it round.", c=CHANGES)]
    yield "deduction", [text for one, all_of, some in CLASSES for text in (
        f"If all {one} are {all_of} and some {all_of} {some}, do some {one} {some}? Explain.", f"All {one} are {all_of}. No {all_of} {some}. What follows for {one}?", f"Some {all_of} {some}, and every one of the {one} is among the {all_of}. Must any of the {one}?")]
    yield "advice", ["I can't sleep, any tips?", "What should we watch tonight?", "How do I get wax out of a tablecloth?", "I had a bad day.", "Recommend me a novel for the beach.", "What goes well with leeks?", "How can I say no to a colleague without being rude?", "Any ideas for a rainy Sunday with children?",
                     "Which houseplants survive with little light?", "What do you think of Mondays?", "My cat does not eat, should I worry?", "Suggest a hobby for winter evenings."]
    yield "explain", [*each("Explain {s} to a {w}.", s=SUBJECTS, w=["teenager", "beginner"]), *each("What are the main points of {s}?", s=SUBJECTS[:6]), *each("Describe {s} in a few sentences.", s=SUBJECTS[4:])]


def rows():
    """Every request as a training row."""
    return labelled(_groups(), KINDS)
