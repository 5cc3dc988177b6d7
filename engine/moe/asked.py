"""Short everyday requests that `make distil` asks, in wordings of our own; what they are about is not what the judging
prompts are about (`easy.jsonl`, `easy-more.jsonl`): `text.py` drops a request that shares its subject with one of them.
"""

import itertools
import random

COUNTRIES = ("Argentina Bolivia Chile Colombia Ecuador Paraguay Uruguay Venezuela Cuba Jamaica Panama Guatemala Honduras Kenya Uganda Tanzania Ethiopia "
             "Ghana Nigeria Senegal Morocco Algeria Tunisia Libya Sudan Angola Zambia Zimbabwe Mongolia Nepal Bangladesh Cambodia Laos Malaysia Indonesia "
             "Iran Iraq Jordan Lebanon Oman Qatar Kazakhstan Georgia Armenia Latvia Lithuania Estonia Slovenia Slovakia Serbia Albania Malta Cyprus Iceland "
             "Scotland Wales Fiji Jamaica Pakistan Afghanistan Syria Yemen Somalia Rwanda Mali Niger Chad").split()
PHRASES = ["Where is the station?", "I am hungry.", "See you on Monday.", "The shop is closed.", "How are you?", "My name is Lena.", "window", "bridge", "I have two brothers.", "It is raining.",
           "spoon", "Happy birthday!", "He reads a newspaper.", "We live in a small village.", "Can you help me?", "the blue door", "mountain", "They are playing football.", "I would like a coffee.",
           "summer", "The train is late.", "Have a nice trip!", "three apples", "She works in a hospital.", "excuse me", "tomorrow", "The soup is too salty.", "Where do you live?", "sugar", "Nice to meet you."]
LANGUAGES = ["French", "Spanish", "German", "Italian", "Portuguese", "Dutch"]
REVIEWS = ["The zip broke after a week.", "Best headphones I ever owned.", "Nobody answered my calls for days.", "A lovely evening, the staff were so kind.", "It smells bad and the colour is off.", "Sharp picture, easy to set up.",
           "I want my money back.", "The plot was dull and far too long.", "My kids ask for it every day.", "Arrived early and well packed.", "The room was dirty and loud.", "I could not put this book down.",
           "Stopped charging after two days.", "Fresh bread, friendly people, fair prices.", "The worst flight I have had in years.", "A charming little museum.", "The coat is thin and badly sewn.", "Exactly as described, thank you!",
           "The dentist was gentle and quick.", "They lost my luggage and did not care."]
CARDS = ["Please ring Karl Vogt at 0171-445 or write to k.vogt@lindner.test, he is in Bremen until 3 March.", "Rosa Maier sold her bicycle for 140 euros in Graz on Sunday.", "Invoice 7713 over 260 dollars is due on 12 April; questions to billing@harbor.test.",
         "The workshop with Amina Diallo begins at 9:30 in Dakar.", "Our plumber, Piet de Vries, charges 45 euros an hour and answers at 020-9981.", "Order 55-210 was shipped from Porto to Ines Costa on 8 July.", "Meet Dr. Olsen in Bergen on Friday, room 14.",
         "Tickets for the match in Leeds cost 32 pounds; write to seats@arena.test."]
PARTS = ["email address", "phone number", "person's name", "city", "price", "date", "time", "order or invoice number"]
WORDS = "brave narrow quiet cheap simple heavy early polite gentle rough thick sweet sharp honest rare calm loud lazy clever proud ancient tiny enormous angry funny strange modern empty deep shallow generous".split()
RECORDS = [("Ravi is 27 years old and lives in Pune.", "name, age and city"), ("The tent costs 120 euros.", "item and price"), ("Oslo lies in Norway.", "city and country"), ("'The Trial' was written by Franz Kafka.", "title and author"),
           ("Mia, 9, goes to Hill School.", "name, age and school"), ("The bus leaves at 7:15 from stop 4.", "time and stop"), ("Tea 3 dollars, cake 4 dollars.", "tea and cake"), ("Sam likes chess and tennis.", "name and hobbies"),
           ("The room has 4 chairs and 1 table.", "chairs and tables"), ("Nora Berg, engineer, Malmo.", "name, job and city"), ("It was 18 degrees in Lyon at noon.", "city and temperature"), ("Flight KL 204 goes to Quito.", "flight and destination")]
LISTS = ["salt, pepper, sugar", "one, two, three", "oak, birch, pine", "rome, cairo, lima", "violin; flute; drum", "monday, friday"]
FAULTY = ["He dont like coffee.", "We was at home yesterday.", "I has a new bike.", "The childs are sleeping.", "Their going to the beach.", "She sing very good.", "It were a long day.", "Me and him is late.", "He runned to school.",
          "Please bring you're ticket.", "The goverment anounced it.", "We need more infomation.", "I beleive you.", "The begining was slow.", "Its a seperate room.", "This is my favorit restarant.", "He is a profesional musican.", "The adress is wrong.",
          "I am intrested in history.", "They dissapeared sudenly."]
CLAIMS = ["spiders have eight legs", "penguins can fly", "Madrid is in Spain", "iron is heavier than wood", "a triangle has four sides", "the moon is larger than the sun", "horses eat grass", "Canada is south of Mexico", "plants need light", "glass is made from sand",
          "whales are fish", "seven is an even number", "Tokyo is in Japan", "snakes have legs", "rice is a grain", "a minute is longer than an hour", "gold is a metal", "bats sleep upside down", "the Nile is in Africa", "humans breathe oxygen", "lemons are sweet", "a year has twelve months"]
QUESTIONS = ["How many sides does a hexagon have?", "Which ocean lies between Africa and Australia?", "What do bees make?", "Who painted the Mona Lisa?", "What is the largest ocean?", "Which gas do plants take in?", "How many strings has a violin?", "What is the currency of Japan?",
             "Which animal is the king of the jungle?", "At what temperature does water freeze in Celsius?", "Who discovered penicillin?", "What language is spoken in Brazil?", "How many continents are there?", "What is the tallest animal?", "Which planet has rings?", "What is H2SO4 called?",
             "Who wrote War and Peace?", "Which month comes after August?", "What is the symbol for iron?", "How many players has a football team on the field?", "What do you call a baby dog?", "Which metal is liquid at room temperature?", "In which country is Machu Picchu?", "What is frozen water called?",
             "Which instrument has black and white keys?", "How many wheels does a tricycle have?", "What is the first month of the year?", "Which bird can talk?", "What is the opposite direction of north?", "Which season follows winter?"]
CODE = ["subtracts one number from another", "says whether a number is even", "turns a list round", "counts the vowels of a word", "returns the first item of a list", "joins two words with a dash", "returns the smallest of three numbers", "turns Celsius into Fahrenheit", "removes blanks at both ends of a text", "sums the numbers from 1 to n"]
SQL = ["counts the rows of the table orders", "finds customers from Berlin in the table customers", "sorts the table books by year", "deletes the row with id 7 from notes", "adds a column age to people", "shows the names without repeats from cities"]
HOW = ["remove a file in bash", "read the first line of a file in Python", "add an element to an array in JavaScript", "round a number in Python", "make text bold in HTML", "create a branch in git", "sort a list in Ruby", "get today's date in Python", "write a comment in CSS", "find the type of a variable in Python"]


def _groups(draw):
    pairs = lambda first, second, count: draw.sample(list(itertools.product(first, second)), count)
    yield [draw.choice(["{c}'s capital?", "Which city is the capital of {c}?", "Name the capital of {c}.", "What is the capital of {c}?", "Tell me the capital city of {c}"]).format(c=c) for c in dict.fromkeys(COUNTRIES)]
    yield [draw.choice(["Translate to {l}: {p}", "How do you say \"{p}\" in {l}?", "Translate into {l}:\n{p}", "{p} - in {l} please", "What is the {l} for '{p}'?"]).format(p=p, l=l) for p, l in pairs(PHRASES, LANGUAGES, 110)]
    yield [draw.choice(["Is this review positive or negative? One word.\n{r}", "Classify the sentiment as positive or negative: {r}", "Review: {r}\nSentiment (positive/negative):", "Label the sentiment of \"{r}\" with one word, positive or negative.",
                        "Classify the sentiment of this review as positive or negative. Answer with one word.\nReview: {r}"]).format(r=r) for r, _ in pairs(REVIEWS, range(3), 45)]
    yield [draw.choice(["Extract the {w} from this text: {c}", "What is the {w} in this text? {c}", "Give me only the {w}.\n\n{c}", "{c}\nWhich {w} is named here?"]).format(w=w, c=c) for w, c in pairs(PARTS, CARDS, 55)]
    yield [draw.choice(["What is the opposite of '{w}'?", "Antonym of {w}?", "Give me a synonym for '{w}'.", "Another word for {w}?", "Use '{w}' in a short sentence.", "Give me one synonym for '{w}'."]).format(w=w) for w, _ in pairs(WORDS, range(3), 75)]
    numbers = [(draw.randint(2, 90), draw.randint(2, 60)) for _ in range(70)]
    yield [draw.choice(["What is {a} + {b}?", "{a} + {b} = ?", "What is {c} - {b}?", "Compute {a} times {d}.", "What is {e} divided by {d}?", "How much is {a} plus {b}?", "Which is larger, {a} or {b}?"]).format(a=a, b=b, c=a + b, d=b % 9 + 2, e=(b % 9 + 2) * (a % 12 + 2)) for a, b in numbers]
    yield [draw.choice(["Return a JSON object with keys {k} for: {t}", "As JSON with {k}: {t}", "Turn this into JSON ({k}).\n{t}"]).format(k=k, t=t) for (t, k), _ in pairs(RECORDS, range(3), 34)] + [f"Convert to a JSON array: {x}" for x in LISTS]
    yield [draw.choice(["Correct the grammar: {f}", "Fix the spelling: {f}", "Correct this sentence: {f}", "{f}\nWhat is the right way to write this?", "Fix the mistakes: {f}"]).format(f=f) for f, _ in pairs(FAULTY, range(3), 50)]
    yield [draw.choice(["Is it true that {c}? Answer yes or no.", "True or false: {c}.", "Yes or no: {c}?", "Is this right: {c}? Just yes or no."]).format(c=c) for c, _ in pairs(CLAIMS, range(4), 60)]
    yield QUESTIONS + [question + " Answer in one word." for question in QUESTIONS[::2]]
    yield [f"Write a {l} function that {c}." for c, l in pairs(CODE, ["Python", "JavaScript", "Rust"], 20)] + [f"Write a SQL query that {s}." for s in SQL] + [f"How do I {h}?" for h in HOW]


def requests():
    """All of them, in an order of their own."""
    draw = random.Random(7)
    found = [request for group in _groups(draw) for request in group]
    draw.shuffle(found)
    return list(dict.fromkeys(found))
