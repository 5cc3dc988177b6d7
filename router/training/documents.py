"""Pasted documents with a request below or above them, in our own words: what benchmark questions leave out.

The document makes the text long, the request makes it easy or hard. Sentences are drawn with a fixed seed and their
names, days and numbers vary, so that length and topic say nothing about the request.
"""
import random

TOPICS = {
    "minutes": ["{name} opened the meeting at {hour} and thanked everyone for coming.", "The budget for {month} was agreed with two votes against.",
                "{name} will ask the landlord about the broken window by {day}.", "The new desks arrive in week {n} and go to the second floor.",
                "Nobody had objections to the minutes of {month}.", "The kitchen rota was moved to {day} because of the holiday.",
                "{name} reported that {n} people took part in the survey.", "The next meeting is on {day} at {hour} in the small room."],
    "letter": ["Dear {name}, thank you for your letter of {month}.", "We moved to {place} last year and the house is nearly finished.",
               "The garden gives us more beans than we can eat.", "{name} started school on {day} and likes the teacher.",
               "We had {n} guests for the feast and the music went on until {hour}.", "The old car broke down twice on the way to {place}.",
               "Please send us a picture of the new bridge.", "We hope to visit you in {month} if the trains run again."],
    "order": ["Order {n} was placed by {name} on {day}.", "The parcel left the warehouse in {place} at {hour}.",
              "Item: desk lamp, black, quantity {n}.", "The customer asked for delivery before {day}.", "Payment was received in {month}.",
              "The courier could not find the entrance and left a note.", "{name} confirmed the new address by phone.", "A refund of {n} euros was sent to {name}."],
    "manual": ["Switch the machine off before you open the cover.", "Press the green button for {n} seconds until the light blinks.",
               "Clean the filter every {n} weeks with warm water.", "Do not use the pump below {n} degrees.",
               "If the display shows E{n}, close the valve and wait.", "The warranty ends {n} months after the purchase.",
               "Keep this booklet near the machine.", "Spare parts can be ordered from the workshop in {place}."],
    "news": ["The council of {place} voted on {day} to close the old tram line.", "About {n} people gathered in front of the town hall.",
             "Mayor {name} said the plan would save money from {month} on.", "Shop owners fear that fewer visitors will come.",
             "A petition with {n} signatures was handed over at {hour}.", "The new buses are built in {place}.", "Critics call the numbers too hopeful.",
             "A decision of the court is expected on {day}."],
    "log": ["{hour}:14 INFO worker {n} started", "{hour}:15 WARN disk of {place}-{n} at 81 percent", "{hour}:17 INFO backup of {month} finished in {n} s",
            "{hour}:22 ERROR connection to {place}-{n} refused, trying again", "{hour}:23 INFO connected to {place}-{n}", "{hour}:31 INFO {n} jobs in the queue",
            "{hour}:40 WARN slow query, {n} ms", "{hour}:58 INFO worker {n} stopped by {name}"],
    "recipe": ["Soak {n} grams of lentils over night.", "Chop two onions and fry them in oil until they are brown.", "Add the tomatoes and let everything simmer until {hour}.",
               "{name} likes it with more pepper.", "Serve it hot with bread from {place}.", "What is left keeps for {n} days.", "In {month} use fresh herbs instead of dried ones.", "Stir now and then."],
    "contract": ["The tenant pays the rent by the {n}th of each month.", "Either side may end this agreement in {month} with {n} weeks' notice.",
                 "Repairs below {n} euros are paid by the tenant.", "{name} is responsible for the stairs.", "Pets need the written consent of {name}.",
                 "The deposit is returned within {n} days after the keys are handed over.", "The court of {place} decides in case of a dispute.", "Changes must be made in writing."],
}
EASY = ["What is this text about?", "Who is mentioned first?", "Which day is mentioned?", "Is there a place name in it? Which one?", "Give it a short title.",
        "When does it take place?", "What language is this?", "Name one person in the text.", "Summarise this in one sentence.", "How does it begin?",
        "Does the text mention money? Answer yes or no.", "TL;DR please", "Which month is named?", "Copy the last sentence."]
HARD = ["Find every contradiction in this, say which statement is more likely to be right and why, and rewrite the whole without them.",
        "Work out all amounts and durations given here, add them up by person, and show each step of the calculation.",
        "Derive a plan with dates, owners and fallbacks for everything left open here, and explain what happens if two people are ill.",
        "Which claims here follow from others and which are independent? Give a formal argument for each.",
        "Compare the interests of everyone named, predict where they will clash, and design rules that no side could exploit.",
        "Write a program that checks texts like this against five rules of your own, prove that the rules cannot conflict, and test it on this one.",
        "Estimate the total cost of what is described over three years under three scenarios, with all assumptions and a sensitivity analysis."]
SENTENCES = [4, 10, 22, 45, 90, 150]
NAMES = ["Ada", "Omar", "Lena", "Kenji", "Priya", "Tom", "Sofía", "Wei"]
PLACES = ["Lisbon", "Nairobi", "Osaka", "Toronto", "Prague", "Lima"]
MONTHS = ["January", "March", "May", "July", "September", "November"]
DAYS = ["Monday", "Tuesday", "Thursday", "Saturday"]


def _text(topic, count, rng):
    fields = lambda: {"name": rng.choice(NAMES), "place": rng.choice(PLACES), "month": rng.choice(MONTHS), "day": rng.choice(DAYS), "hour": rng.randint(7, 21), "n": rng.randint(2, 90)}
    between = "\n" if topic == "log" else " "
    return between.join(rng.choice(TOPICS[topic]).format(**fields()) for _ in range(count))


def rows():
    """Every document with some requests, as training rows."""
    rng = random.Random(11)
    for topic in TOPICS:
        for count in SENTENCES:
            for kind, asks, (domain, small, large, tokens) in (("document_easy", EASY, ("reading", 0.92, 0.96, (25, 110))), ("document_hard", HARD, ("reasoning", 0.3, 0.76, (520, 1300)))):
                text = _text(topic, count, rng)
                after, before = rng.sample(asks, 2)
                for prompt in (f"{text}\n\n{after}", f"{before}\n\n{text}"):
                    yield {"prompt": prompt, "source": f"everyday/{kind}", "domain": domain, "p_small": small, "p_large": large, "tokens": tokens}
