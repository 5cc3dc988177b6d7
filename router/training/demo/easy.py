"""Easy requests of the everyday kind whose answers can be checked: what the small model is there for.

Written for this project, in other words than the training prompts (`everyday.py`) and the 80 of `engine/moe/easy.jsonl`.
Yields `(kind, prompt, pattern)`: an answer is good when the pattern is found in it, whatever the case.
"""

import json
import re

CAPITALS = {"Norway": "oslo", "Poland": "warsaw", "Kenya": "nairobi", "Canada": "ottawa", "Austria": "vienna", "Ireland": "dublin", "Cuba": "havana",
            "Peru": "lima", "Sweden": "stockholm", "Hungary": "budapest", "Thailand": "bangkok", "Argentina": "buenos aires", "Finland": "helsinki",
            "Turkey": "ankara", "Vietnam": "hanoi", "Chile": "santiago", "Denmark": "copenhagen", "Russia": "moscow", "India": "delhi", "China": "beijing"}
WORDS = {"French": {"bread": "pain", "milk": "lait", "house": "maison", "dog": "chien", "red": "rouge"},
         "Spanish": {"bread": "pan", "milk": "leche", "book": "libro", "dog": "perro", "white": "blanco"},
         "German": {"bread": "brot", "milk": "milch", "house": "haus", "dog": "hund", "green": "gr(ü|ue)n"},
         "Italian": {"bread": "pane", "milk": "latte", "book": "libro", "dog": "cane", "sun": "sole"}}
OPPOSITES = {"tall": "short|small", "early": "late", "strong": "weak", "full": "empty", "rich": "poor", "dark": "light|bright", "noisy": "quiet|silent",
             "wet": "dry", "true": "false", "inside": "outside", "buy": "sell", "arrive": "leave|depart"}
PLURALS = {"child": "children", "foot": "feet", "tooth": "teeth", "knife": "knives", "city": "cities", "box": "boxes"}
PAST = {"go": "went", "see": "saw", "write": "wrote", "buy": "bought", "run": "ran", "take": "took"}
GOOD = ["I would come back any time.", "Best headphones I have owned.", "The guide was lovely and the view superb.", "Arrived early and works like a charm.",
        "My kids adore this game.", "Such a cosy hotel, thank you!"]
BAD = ["It broke after two days.", "I want my money back.", "The soup was cold and the waiter rude.", "Never order from this shop.",
       "The film was so dull that I left.", "My room smelled of smoke all night."]
PEOPLE = ["Hannah Weiss", "Diego Ramos", "Amina Yusuf", "Paul Novak"]
FIRMS = ["Siemens", "Nokia", "Toyota", "Philips"]
CITIES = ["Geneva", "Porto", "Krakow", "Bergen"]
FACTS = {"How many hours are in a day?": r"\b24\b|twenty-four", "How many legs does an insect have?": r"\b6\b|\bsix\b", "What gas do plants take in from the air?": "carbon dioxide|co2|co₂",
         "Which is the largest planet of the solar system?": "jupiter", "Who painted the Mona Lisa?": "leonardo|da vinci", "What is frozen water called?": r"\bice\b",
         "How many sides does a triangle have?": r"\b3\b|three", "In which country is the Eiffel Tower?": "france", "What is the currency of Japan?": "yen",
         "Which metal has the chemical symbol Fe?": "iron", "How many minutes are in an hour?": r"\b60\b|sixty", "What is the first month of the year?": "january",
         "Which animal is known as man's best friend?": r"\bdogs?\b", "What colour do you get when you mix blue and yellow?": "green", "Who wrote Hamlet?": "shakespeare",
         "Which continent is Egypt in?": "africa"}
SPELLING = {"Please adress the letter to my neigbour.": "address the letter to my neighbo", "The goverment published a new calender.": "government published a new calendar",
            "It is neccessary to seperate the parts.": "necessary to separate", "She beleives in a diferent aproach.": "believes in a different approach"}
GRAMMAR = {"He don't like coffee.": "he (doesn't|does not|doesn’t) like coffee", "We was late for the bus.": "we were late for the bus",
           "There is many birds in the garden.": "there are many birds", "I has two brothers.": "i have two brothers"}
CODE = {"Write a Python function that returns the larger of two numbers.": r"def \w+\([^)]*,[^)]*\)[\s\S]*(max\(|if |return \w+ if)",
        "Write a Python function that reverses a string.": r"\[::-1\]|reversed\(", "How do I turn a string into upper case in Python?": r"\.upper\(\)",
        "Write a SQL query that counts the rows of the table orders.": r"count\(", "Which git command shows the state of the working tree?": "git status",
        "How do I read the whole of a text file in Python?": r"open\([\s\S]*\.read\(", "Write a JavaScript arrow function that doubles a number.": r"=>[\s\S]*\*\s*2|=>[\s\S]*2\s*\*",
        "Which HTML tag makes a link?": r"<a\b|`a`|\banchor\b"}


def tasks():
    """All of them, always in the same order."""
    for country, city in CAPITALS.items():
        yield "capital", f"Name the capital of {country}.", city
    for language, words in WORDS.items():
        for word, pattern in words.items():
            yield "translate", f"What is the {language} word for '{word}'?", rf"\b{pattern}\b"
    for word, pattern in OPPOSITES.items():
        yield "words", f"Give the opposite of the word '{word}'.", rf"\b({pattern})\b"
    for word, form in PLURALS.items():
        yield "words", f"Write the plural of '{word}'.", rf"\b{form}\b"
    for word, form in PAST.items():
        yield "words", f"Write the simple past of the verb '{word}'.", rf"\b{form}\b"
    for label, texts in (("positive", GOOD), ("negative", BAD)):
        for text in texts:
            yield "sentiment", f"Is the following review positive or negative? Reply with one word.\n{text}", rf"^\W*{label}"
    for person, firm, city in zip(PEOPLE, FIRMS, CITIES):
        first, last = person.split()
        mail = f"{first}.{last}@{firm}.example".lower()
        sentence = f"{person} from {firm} moved to {city} last spring; write to {mail} or call 0{len(person)}1-55{len(city)}3."
        yield "extract", f"Which person is named here? {sentence}", person
        yield "extract", f"Which city is named here? {sentence}", city
        yield "extract", f"Copy the email address out of this text: {sentence}", re.escape(mail)
        yield "extract", f"Copy the telephone number out of this text: {sentence}", f"0{len(person)}1-55{len(city)}3"
        yield "json", f'Return JSON with the keys "name" and "city" for this sentence: {first} lives in {city}.', rf'"name"\s*:\s*"{first}"[\s\S]*"city"\s*:\s*"{city}"'
    for words in (["pear", "plum", "cherry"], ["oak", "elm", "ash"]):
        yield "json", f"Write these words as a JSON array: {', '.join(words)}", r"\[\s*" + r"\s*,\s*".join(map(json.dumps, words)) + r"\s*\]"
    for question, pattern in FACTS.items():
        yield "fact", question, pattern
    for wrong, pattern in SPELLING.items():
        yield "fix", f"Correct the spelling of this sentence: {wrong}", pattern
    for wrong, pattern in GRAMMAR.items():
        yield "fix", f"Correct this sentence: {wrong}", pattern
    for question, pattern in CODE.items():
        yield "code", question, pattern
    for a, b in [(7, 5), (13, 4), (21, 9), (40, 17), (6, 8), (15, 15), (30, 12), (9, 4)]:
        yield "sum", f"What is {a} plus {b}?", rf"\b{a + b}\b"
        yield "sum", f"Lena has {a + b} stamps and gives away {b}. How many stamps are left?", rf"\b{a}\b"
