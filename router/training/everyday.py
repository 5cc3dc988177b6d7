"""Everyday requests in our own words, made from templates: what benchmark questions leave out.

Each group says what kind of request it is, how hard (the chance that a small and a large model answer
well) and how long answers usually are. These are judgements, not measurements; the model card says so.
The router's tests use other sentences.
"""
import itertools

# name: (domain, p_small, p_large, median tokens, 90th percentile)
KINDS = {
    "greeting": ("chat", 0.98, 0.99, 16, 40),
    "smalltalk": ("chat", 0.95, 0.98, 40, 120),
    "classify": ("classification", 0.93, 0.97, 6, 30),
    "translate": ("writing", 0.93, 0.97, 40, 150),
    "rewrite": ("writing", 0.94, 0.97, 50, 160),
    "fact": ("knowledge", 0.94, 0.97, 30, 110),
    "summary": ("writing", 0.90, 0.95, 80, 220),
    "extract": ("reading", 0.92, 0.96, 25, 110),
    "howto": ("chat", 0.88, 0.95, 180, 450),
    "light_writing": ("writing", 0.88, 0.95, 160, 380),
    "light_code": ("code", 0.80, 0.94, 110, 320),
    "sum": ("math", 0.92, 0.98, 15, 70),
    "steps": ("math", 0.35, 0.83, 260, 600),
    "hard_code": ("code", 0.25, 0.76, 520, 1300),
    "proof": ("math", 0.22, 0.70, 480, 1100),
    "plan": ("reasoning", 0.30, 0.80, 560, 1200),
    "design": ("reasoning", 0.30, 0.78, 640, 1400),
    "puzzle": ("reasoning", 0.25, 0.72, 300, 800),
    "expert": ("knowledge", 0.28, 0.66, 260, 700),
}

NAMES = ["Ada", "Omar", "Lena", "Kenji", "Priya", "Tom", "Sofía", "Wei"]
PLACES = ["Lisbon", "Nairobi", "Osaka", "Toronto", "Prague", "Lima"]
TEXTS = ["the parcel came two days late but the shop was kind about it", "our meeting moves to Thursday at ten in the small room",
         "i cant login since the update and nobody answers my mails", "The river was calm and the boats had not left yet.",
         "The new office opens in May and has room for forty people.", "please send me the invoice again, the last one had no date"]
NOTES = ["Priya Nair of Volta Ltd ordered 3 lamps on 4 March, order 5521, for 84.50 euros.", "Call Tom Becker at 030 555 1188 before Friday, he waits in Bremen.",
         "Invoice 2024-117: 1,250 dollars, due 30 June, mail billing@orchard.example with questions.", "Sofía Lund moves from Lima to Oslo in August and starts at Fjord Bank.",
         "The meeting with Wei Chen of Delta Freight is at 14:30 in room 9."]
REVIEWS = ["Broke on the first day, never again.", "So comfortable that I bought a second pair!", "The staff were kind and breakfast was great.", "It is fine for the price.",
           "Two hours on hold and still no answer.", "Exactly what I hoped for."]
COUNTRIES = ["Portugal", "Kenya", "Peru", "Norway", "Vietnam", "Egypt", "Canada", "Poland"]
THINGS = ["the boiling point of water at sea level", "the chemical symbol for gold", "the largest planet", "the author of Don Quixote",
          "the currency of Switzerland", "the number of days in a leap year", "the tallest mountain", "the meaning of the word frugal"]
LANGUAGES = ["French", "Spanish", "German", "Italian", "Japanese", "Portuguese", "Polish", "Arabic"]
NUMBERS = [(17, 3), (48, 12), (125, 5), (36, 9), (240, 16)]
TOPICS = ["caching web pages", "a shared shopping list", "booking meeting rooms", "counting visitors", "resizing photos", "sorting mail"]
CODE = ["a rate limiter that works across threads", "an LRU cache with expiry", "a parser for arithmetic with parentheses and unary minus",
        "a lock-free queue", "an interval tree with deletion", "a scheduler for tasks with dependencies", "a streaming CSV reader",
        "a text diff that finds moved blocks", "a priority queue with decrease-key", "an in-memory key-value store with snapshots"]
LIMITS = ["without any library beyond the standard one", "in O(n log n) time and constant extra memory", "that never blocks the event loop",
          "safe under concurrent readers and writers", "with tests for every edge case", "that handles inputs larger than memory"]
TONGUES = ["Rust", "Go", "Python", "C++", "TypeScript", "Java"]
ASKS = ["What is wrong here?\n{code}", "This throws an error, can you see the reason?\n{code}", "{code}\nWhat does this print?", "Add a comment to each line:\n{code}"]
SNIPPETS = [("python", "total = 0\nfor price in prices\n    total += price\nprint(total)"), ("python", "def mean(values):\n    return sum(values) / len(value)"),
            ("js", "const names = users.map(u => u.name;\nconsole.log(names);"), ("rust", "let word = String::from(\"hi\");\nlet other = word;\nprintln!(\"{}\", word);"),
            ("sql", "SELECT name, COUNT(*) FROM orders WHERE COUNT(*) > 3;"), ("c", "int *p = NULL;\n*p = 4;\nreturn *p;"), ("bash", "if [ $1 = yes ]; then echo ok fi"),
            ("java", "String a = null;\nSystem.out.println(a.length());"), ("go", "var m map[string]int\nm[\"a\"] = 1")]
CLAIMS = ["there are infinitely many primes of the form 4k+3", "every bounded monotone sequence converges", "the square root of 3 is irrational",
          "a tree with n vertices has n-1 edges", "the sum of two continuous functions is continuous", "every group of prime order is cyclic",
          "a uniformly convergent limit of continuous functions is continuous", "the halting problem is undecidable",
          "any graph with all degrees at least two contains a cycle", "the set of algebraic numbers is countable"]
EXPERT = ["Why does the ground-state energy of helium deviate from twice the hydrogenic value, and by how much to first order?",
          "Which intermediate explains the stereochemical outcome of a Sharpless dihydroxylation on a trans-alkene?",
          "What constrains the neutron skin thickness of lead-208 in parity-violating scattering?",
          "How does allosteric inhibition change the apparent Km and Vmax of a dimeric enzyme with positive cooperativity?",
          "Under which conditions does a Bose gas in two dimensions show quasi-long-range order?",
          "What is the degeneracy of the third excited level of a three-dimensional isotropic oscillator with spin-1/2?",
          "Which NMR splitting is expected for the methine proton of isopropyl bromide, and why?",
          "How does a gauge choice change the photon propagator without changing the S-matrix?",
          "What limits the resolution of a linkage map built from F2 individuals with incomplete penetrance?",
          "Why is the Chandrasekhar mass proportional to the inverse square of the mean molecular weight per electron?",
          "Which products form when cyclohexene oxide is opened by sodium azide under acidic and basic conditions?",
          "What does the Kolmogorov microscale predict for dissipation when the Reynolds number grows tenfold?"]


def each(template, **fields):
    keys = list(fields)
    for values in itertools.product(*(fields[key] for key in keys)):
        yield template.format(**dict(zip(keys, values)))


def _english():
    yield "greeting", ["hi", "Hi there!", "hello", "Hey", "Good morning!", "good evening", "Hello, how are you?", "hey, what's up", "Hi, nice to meet you",
                       "Greetings!", "yo", "Hello again", "Morning!", "Hiya, you there?", "hello hello", "Hi! Are you there?", *each("Hi {n}!", n=NAMES), *each("Hello, I am {n}.", n=NAMES)]
    yield "smalltalk", ["thanks", "Thank you so much!", "thanks, that helped", "ok great", "bye", "See you tomorrow", "good night", "You are funny", "lol", "cool",
                        "Who are you?", "What can you do?", "Tell me a joke", "Tell me something nice", "I'm bored", "How was your day?", "That's all for now",
                        "Can you help me?", "What's your name?", "Do you like music?", "Wish me luck for tomorrow", "Congratulate {} on the new job".format("Lena"), "yes please", "no, thank you", "Sing me a short birthday song"]
    yield "classify", [*each("Is this review positive or negative? \"{t}\"", t=TEXTS), *each("Classify the message as complaint, question or praise: {t}", t=TEXTS),
                       *each("Label this ticket with one of billing, login, shipping, other.\nTicket: {t}", t=TEXTS), *each("Spam or not spam? {t}", t=TEXTS),
                       *each("Which category fits best, sports, politics, business or science?\n{t}", t=TEXTS), *each("What language is this sentence in: {t}", t=TEXTS),
                       *each("Does the following sentence contain a date? Answer yes or no. {t}", t=TEXTS), *each("Rate the mood of this text from 1 to 5: {t}", t=TEXTS), *each("Decide the sentiment (positive, neutral, negative) of: {t}", t=TEXTS),
                       *each("Is the writer pleased or annoyed? One word only.\n{t}", t=REVIEWS), *each("Good or bad feedback? {t}", t=REVIEWS), *each("Sentiment of this comment: {t}", t=REVIEWS),
                       *each("Tell me whether this opinion of a product is favourable. Answer yes or no: {t}", t=REVIEWS), *each("Pick a label (praise, complaint, request) for: {t}", t=REVIEWS[:4] + TEXTS[:2])]
    yield "translate", [*each("Translate to {l}: {t}", l=LANGUAGES, t=TEXTS[:4]), *each("How do you say 'good morning' in {l}?", l=LANGUAGES), *each("Please put this into {l}: \"{t}\"", l=LANGUAGES[:5], t=TEXTS[3:]),
                        *each("What is the {l} word for bread?", l=LANGUAGES), *each("translate this into english please: {t}", t=["¿dónde está la estación?", "je voudrais un café", "Wo ist der Bahnhof?", "どこですか", "спасибо большое"])]
    yield "rewrite", [*each("Rewrite this politely: {t}", t=TEXTS), *each("Fix the grammar: {t}", t=TEXTS), *each("Make this sentence shorter: {t}", t=TEXTS), *each("Correct spelling and punctuation only.\n\n{t}", t=TEXTS),
                      *each("Say this in a friendlier tone: {t}", t=TEXTS), *each("Rephrase in simple words: {t}", t=TEXTS), *each("Turn this into passive voice: {t}", t=TEXTS), *each("Put this in all capitals: {t}", t=TEXTS)]
    yield "fact", [*each("What is the capital of {c}?", c=COUNTRIES), *each("What is {x}?", x=THINGS), *each("Tell me {x}.", x=THINGS), *each("Which continent is {c} in?", c=COUNTRIES), *each("{c} capital", c=COUNTRIES),
                   *each("What language do people speak in {c}?", c=COUNTRIES), "Who painted the Mona Lisa?", "When did the second world war end?", "How many legs does a spider have?", "What colour do you get from blue and yellow?", "Who wrote Hamlet?",
                   "What does HTTP stand for?", "How many minutes are in three hours?", "In which year did people first land on the moon?", "What is the opposite of generous?", "What's a synonym for quick?", "Which ocean is the largest?", "Define photosynthesis in one sentence.", "What is DNA short for?", "Who invented the telephone?"]
    yield "summary", [*each("Summarise in one sentence: {a}. {b}", a=TEXTS, b=TEXTS[:3]), *each("Give me a title for this text: {t}", t=TEXTS), *each("TL;DR\n{t}", t=TEXTS), *each("What is the main point here? {a} {b}", a=TEXTS, b=TEXTS[3:5])]
    yield "extract", [*each("List the days and times mentioned: {t}", t=TEXTS), *each("Pull out every name from this text: {n} met {m} in {p}.", n=NAMES[:4], m=NAMES[4:], p=PLACES[:3]), *each("Who is asking for something in this message? {t}", t=TEXTS), *each("Return the city as JSON: {n} flew to {p} on Monday.", n=NAMES[:4], p=PLACES),
                      *each("Find the {w} in this note: {m}", w=["mail address", "phone number", "order number", "sender", "amount"], m=NOTES),
                      *each("What {w} does the text mention? {m}", w=["company", "place", "price", "deadline"], m=NOTES), *each("Get the {w} from the message below.\n\n{m}", w=["customer's name", "date", "total"], m=NOTES),
                      *each("{m}\n\nGive only the {w}.", m=NOTES, w=["name", "number", "town"]), *each("Fill this in from the text, as JSON with \"who\", \"where\" and \"when\": {m}", m=NOTES)]
    yield "howto", [*each("How do I {x}?", x=["boil an egg", "tie a tie", "clean a keyboard", "remove a coffee stain", "back up my phone", "make pancakes", "water a cactus", "restart my router", "write a cover letter", "learn to swim"]), "Give me three tips for sleeping better.", "Suggest a name for a cat.", "What should I cook with rice and eggs?", "Ideas for a birthday gift for my mother?", "Recommend a book for a long flight.", "What should I pack for a weekend in the mountains?"]
    yield "light_writing", [*each("Write a short email to {n} to say the meeting is on Friday.", n=NAMES), *each("Write a haiku about {x}.", x=["rain", "autumn", "a sleeping cat", "the sea", "trains"]), *each("Write two sentences that describe {p} for a postcard.", p=PLACES), *each("Draft a thank-you note to {n}.", n=NAMES), *each("Write a product description for {x} in 40 words.", x=["a blue mug", "wool socks", "a desk lamp"]), *each("Write a slogan for {x}.", x=["a bakery", "a bike shop", "a library"])]
    yield "light_code", [ask.format(code=f"```{tongue}\n{code}\n```") for ask, (tongue, code) in itertools.product(ASKS, SNIPPETS)]
    yield "light_code", [*each("Write a {l} function that {x}.", l=TONGUES[:4], x=["adds two numbers", "reverses a string", "checks whether a number is even", "returns the longest word in a list", "counts vowels"]), "How do I print hello world in Python?", "What does git pull do?", "regex for an email address", "How do I sort a list in JavaScript?", "SQL to count the rows of a table", "bash: list files larger than 10 MB"]
    yield "sum", [*each("What is {a} plus {b}?", a=[12, 45, 7, 130], b=[9, 30, 88]), *each("{a} * {b} = ?", a=[6, 12, 15], b=[7, 11, 20]), *each("{a} {o} {b} =", a=[8, 47, 350, 918], o=["+", "-", "/"], b=[4, 23, 175]), *each("{a} {o} {b} {o} {c} =", a=[64, 512], o=["+", "-"], b=[17, 208], c=[9, 130]), *each("{a}{o}{b}", a=[29, 640], o=["+", "-", "*", "/"], b=[5, 31]), *each("Calculate {a} {o} {b}.", a=[72, 405], o=["+", "-", "*", "/"], b=[6, 18]), *[f"What is {a} divided by {b}?" for a, b in NUMBERS], *each("What is {a} percent of {b}?", a=[10, 25, 50], b=[80, 200]), *each("{n} has {a} apples and eats 2. How many are left?", n=NAMES[:4], a=[5, 9]), "Convert 5 km to miles", "How many seconds are in a day?"]
    yield "steps", [*each("{n} buys {a} crates with {b} bottles each, sells a third of the bottles at 2.40 and the rest at 1.90, after paying 35 for transport and 8% tax on the total. If each crate cost {c}, how much profit is left, and what price for the rest would double it?", n=NAMES[:5], a=[14, 26], b=[24], c=[18, 31]),
                    *each("A tank is filled by two pipes in {a} and {b} hours and emptied by a third in {c} hours. All three are opened, and after two hours the third is closed. How long until the tank is full? Show each step.", a=[6, 9], b=[8, 10], c=[12, 15]),
                    *each("A train leaves {p} at 08:15 at {v} km/h, another leaves a town {d} km away at 09:00 towards it at {w} km/h and stops ten minutes halfway. When and where do they meet?", p=PLACES[:4], v=[80, 95], d=[420], w=[110, 120]),
                    *each("In how many ways can {k} people from {c} couples sit around a round table so that no couple sits together? Explain the counting.", k=[8, 10], c=[4, 5]),
                    *each("Find all real x with x^3 - {a}x^2 + {b}x - {c} = 0 and say which of them also satisfy |x - 2| < {d}.", a=[6, 7], b=[11, 14], c=[6, 8], d=[1.5, 2]),
                    *each("A loan of {a} at {b}% yearly interest is paid back in equal monthly parts over {c} years. Work out the payment, the total interest, and how much earlier it ends when 100 more is paid each month.", a=[12000, 25000], b=[3.6, 5.1], c=[5, 10]),
                    *each("Two dice are rolled until the sum is {a} or {b}. What is the probability that {a} comes first, and what is the expected number of rolls?", a=[7, 5], b=[8, 9])]
    yield "hard_code", [*each("Implement {c} in {t} {l}.", c=CODE, t=TONGUES[:3], l=LIMITS[:3]), *each("Write {c} in {t}, {l}, and explain its complexity.", c=CODE[:6], t=TONGUES[3:], l=LIMITS[3:5]),
                        *each("Write a {t} program for {x}: it must retry with backoff, keep at most {n} requests in flight, keep the order of results and stop cleanly on Ctrl-C. No external packages.", t=TONGUES[:4], x=TOPICS[:3], n=[8]),
                        *each("This {t} service deadlocks once a day under load. Two mutexes guard the account table and the audit log and are taken in different orders in three places. Redesign the locking and prove that it cannot deadlock.", t=TONGUES),
                        *each("Refactor a {t} module of 2,000 lines for {x} into testable parts without changing its public API; show the interfaces and a migration order.", t=TONGUES[:4], x=TOPICS[:3])]
    yield "proof", [*each("Prove that {c}.", c=CLAIMS), *each("Give a rigorous proof that {c}, and say where each assumption is used.", c=CLAIMS), *each("Sketch a proof that {c}.", c=CLAIMS), *each("Show that {c}; then give a counterexample to the converse if it fails.", c=CLAIMS[:6]), *each("Is it true that {c}? Prove it or refute it.", c=CLAIMS)]
    yield "plan", [*each("Plan a {d}-day trip to {p} for {n} people on a budget of {b} euros: one is vegetarian, one cannot walk far, museums close on Mondays, and we need to be back by six each evening. Give costs per day.", d=[4, 6], p=PLACES[:4], n=[3, 5], b=[1800]),
                   *each("We have {a} engineers and {w} weeks to move {x} to a new database without downtime. Two of them are away in week two, the data must stay consistent, and we need a way back at each step. Make a plan with risks.", a=[3, 5], w=[6, 10], x=TOPICS),
                   *each("Schedule {k} talks in {r} rooms over two days so that {n} and {m} never overlap, the keynote is first, and no speaker has two talks in a row. Explain the trade-offs.", k=[9, 14], r=[2, 3], n=NAMES[:2], m=NAMES[2:4]),
                   *each("Make a {w}-week training and meal plan for someone who works night shifts, has a bad knee, dislikes fish, has {h} hours a week and wants to run {d} km by the end. Adjust it when a week is missed.", w=[8, 12], h=[4, 6], d=[10, 21])]
    yield "design", [*each("Design a system for {x} that serves {n} users, survives the loss of a data centre and keeps personal data in the EU. Compare two architectures and choose one.", x=TOPICS, n=["20,000", "3 million"]),
                     *each("Compare optimistic and pessimistic locking for {x}: analyse failure cases, contention and recovery, then recommend one with reasons.", x=TOPICS),
                     *each("Our costs for {x} doubled in a quarter while traffic grew 20%. Work out the likely causes, how to tell them apart with data, and what to do first.", x=TOPICS)]
    yield "puzzle", [*each("{a}, {b} and {c} each own a different pet and live in different coloured houses. {a} does not own the dog, the owner of the cat lives beside the red house, and {c} lives in the green one. If the fish is not in the blue house, who owns what? Justify every step.", a=NAMES[:2], b=NAMES[2:4], c=NAMES[4:6]),
                     *each("You have {n} coins, one of which is lighter or heavier, and a balance. Find a strategy that always finds it in the fewest weighings and prove that fewer do not suffice.", n=[9, 12, 13]),
                     *each("Five pirates share {n} coins by vote, eldest proposes first, ties pass. What does the eldest offer, and how does it change when ties fail?", n=[100, 50])]
    yield "expert", EXPERT


# language: {kind: requests}
OTHER = {
    "zh": {"greeting": ["你好", "早上好", "您好，在吗？"], "fact": ["法国的首都是哪里？", "水的沸点是多少？", "一年有多少天？"], "translate": ["把“谢谢你的帮助”翻译成英文", "请翻译成日语：我明天去学校"], "classify": ["这条评论是正面还是负面？“东西很好，发货也快”", "判断这句话的情感：我很失望"], "rewrite": ["把这句话改得更礼貌：快点给我回复"],
           "steps": ["一个水池有两个进水管和一个出水管，分别需要6小时、8小时注满和12小时排空，同时打开两小时后关闭出水管，还要多久注满？请写出每一步。"], "proof": ["证明：素数有无穷多个。", "证明根号3是无理数，并说明每一步的依据。"], "hard_code": ["用Python实现一个线程安全并支持过期时间的LRU缓存，不能使用第三方库，并写出测试。"], "plan": ["请为五个人制定四天的北京行程，预算八千元，其中一人吃素、一人不能走远路，周一博物馆闭馆，每天六点前回酒店。"]},
    "es": {"greeting": ["hola", "Buenos días", "¡Hola! ¿Qué tal?"], "fact": ["¿Cuál es la capital de Italia?", "¿Quién escribió Don Quijote?", "¿Cuántos días tiene un año?"], "translate": ["Traduce al inglés: gracias por tu ayuda", "¿Cómo se dice manzana en francés?"], "classify": ["¿Es positiva o negativa esta reseña? «Muy buen servicio»"], "rewrite": ["Corrige la gramática: nosotros fue a la playa ayer"],
           "steps": ["Dos grifos llenan un depósito en 6 y 8 horas y un desagüe lo vacía en 12. Se abren los tres y a las dos horas se cierra el desagüe. ¿Cuánto tarda en llenarse? Explica cada paso."], "proof": ["Demuestra que hay infinitos números primos.", "Demuestra que la raíz de 3 es irracional."], "hard_code": ["Implementa en Python una caché LRU segura entre hilos, con expiración y sin librerías externas, y escribe las pruebas."], "plan": ["Organiza un viaje de cuatro días a Sevilla para cinco personas con 1500 euros: una es vegetariana, otra no puede andar mucho y los lunes cierran los museos."]},
    "fr": {"greeting": ["bonjour", "Salut !", "Bonsoir, ça va ?"], "fact": ["Quelle est la capitale de l'Espagne ?", "Qui a écrit Les Misérables ?", "Combien de jours compte une année ?"], "translate": ["Traduis en anglais : merci pour ton aide", "Comment dit-on pomme en allemand ?"], "classify": ["Cet avis est-il positif ou négatif ? « Livraison rapide, très content »"], "rewrite": ["Corrige les fautes : je suis allé au marcher hier"],
           "steps": ["Deux robinets remplissent une cuve en 6 et 8 heures, une vidange la vide en 12 heures. On ouvre tout, puis on ferme la vidange après deux heures. Quand la cuve est-elle pleine ? Détaille les étapes."], "proof": ["Démontre qu'il existe une infinité de nombres premiers.", "Montre que racine de 3 est irrationnelle."], "hard_code": ["Écris en Python un cache LRU sûr entre threads, avec expiration, sans bibliothèque externe, et ses tests."], "plan": ["Prépare un séjour de quatre jours à Lyon pour cinq personnes avec 1500 euros : une est végétarienne, une marche mal, les musées ferment le lundi."]},
    "de": {"greeting": ["Hallo", "Guten Morgen!", "Hi, wie geht's?"], "fact": ["Was ist die Hauptstadt von Österreich?", "Wer schrieb den Faust?", "Wie viele Tage hat ein Jahr?"], "translate": ["Übersetze ins Englische: Danke für deine Hilfe", "Was heißt Apfel auf Spanisch?"], "classify": ["Ist diese Bewertung positiv oder negativ? „Schnell geliefert, alles gut“"], "rewrite": ["Formuliere höflicher: Schick mir sofort die Rechnung"],
           "steps": ["Zwei Rohre füllen ein Becken in 6 und 8 Stunden, ein Abfluss leert es in 12 Stunden. Alle sind offen, nach zwei Stunden wird der Abfluss geschlossen. Wann ist das Becken voll? Zeige jeden Schritt."], "proof": ["Beweise, dass es unendlich viele Primzahlen gibt.", "Zeige, dass die Wurzel aus 3 irrational ist."], "hard_code": ["Schreibe in Python einen threadsicheren LRU-Cache mit Ablaufzeit, ohne fremde Bibliotheken, samt Tests."], "plan": ["Plane vier Tage Wien für fünf Personen mit 1500 Euro: eine isst vegetarisch, eine kann nicht weit gehen, montags sind Museen zu."]},
    "pt": {"greeting": ["olá", "Bom dia!", "Oi, tudo bem?"], "fact": ["Qual é a capital da França?", "Quantos dias tem um ano?"], "translate": ["Traduza para o inglês: obrigado pela ajuda"], "classify": ["Esta avaliação é positiva ou negativa? \"Chegou rápido\""], "rewrite": ["Corrija a gramática: nós vai sair amanhã"], "steps": ["Duas torneiras enchem um tanque em 6 e 8 horas e um ralo o esvazia em 12. Abrem-se os três e após duas horas fecha-se o ralo. Quanto falta para encher? Mostre os passos."], "proof": ["Prove que existem infinitos números primos."], "hard_code": ["Implemente em Python um cache LRU seguro entre threads, com expiração e sem bibliotecas externas."], "plan": ["Planeje quatro dias em Lisboa para cinco pessoas com 1500 euros: uma é vegetariana e outra anda pouco."]},
    "ru": {"greeting": ["привет", "Здравствуйте!", "Доброе утро"], "fact": ["Какая столица Франции?", "Сколько дней в году?"], "translate": ["Переведи на английский: спасибо за помощь"], "classify": ["Это положительный или отрицательный отзыв? «Всё отлично»"], "rewrite": ["Исправь ошибки: мы пошёл домой вчера"], "steps": ["Две трубы наполняют бассейн за 6 и 8 часов, третья опустошает за 12. Открыты все, через два часа третью закрыли. Когда бассейн наполнится? Покажи каждый шаг."], "proof": ["Докажи, что простых чисел бесконечно много."], "hard_code": ["Напиши на Python потокобезопасный LRU-кэш со сроком жизни без сторонних библиотек и тесты к нему."], "plan": ["Составь план поездки на четыре дня для пятерых с бюджетом 1500 евро: один вегетарианец, один не может много ходить, по понедельникам музеи закрыты."]},
    "ja": {"greeting": ["こんにちは", "おはようございます", "こんばんは、元気ですか？"], "fact": ["フランスの首都はどこですか？", "一年は何日ありますか？"], "translate": ["英語に訳してください：手伝ってくれてありがとう"], "classify": ["このレビューは肯定的ですか、否定的ですか？「とても良かった」"], "rewrite": ["もっと丁寧に書き直して：早く返事して"], "steps": ["二本の管が水槽を6時間と8時間で満たし、排水管が12時間で空にします。全部開けて2時間後に排水管を閉じると、あと何時間で満水になりますか。手順をすべて示してください。"], "proof": ["素数が無限に存在することを証明してください。"], "hard_code": ["外部ライブラリなしで、有効期限付きのスレッドセーフなLRUキャッシュをPythonで実装し、テストも書いてください。"], "plan": ["五人で四日間の京都旅行を予算十五万円で計画してください。一人は菜食、一人は長く歩けず、月曜は博物館が休みです。"]},
    "ko": {"greeting": ["안녕하세요", "안녕", "좋은 아침이에요"], "fact": ["프랑스의 수도는 어디인가요?", "일 년은 며칠인가요?"], "translate": ["영어로 번역해 줘: 도와줘서 고마워"], "classify": ["이 후기는 긍정인가요 부정인가요? \"배송이 빨라요\""], "rewrite": ["더 공손하게 바꿔 줘: 빨리 답장해"], "steps": ["두 관은 6시간과 8시간에 수조를 채우고 배수관은 12시간에 비웁니다. 모두 열고 두 시간 뒤 배수관을 닫으면 얼마나 더 걸립니까? 각 단계를 보이세요."], "proof": ["소수가 무한히 많음을 증명하세요."], "hard_code": ["외부 라이브러리 없이 만료 시간이 있는 스레드 안전 LRU 캐시를 파이썬으로 구현하고 테스트도 작성하세요."], "plan": ["다섯 명이 예산 백오십만 원으로 나흘간 부산을 여행하는 계획을 세워 주세요. 한 명은 채식, 한 명은 오래 못 걷습니다."]},
    "ar": {"greeting": ["مرحبا", "صباح الخير", "السلام عليكم"], "fact": ["ما هي عاصمة فرنسا؟", "كم يوما في السنة؟"], "translate": ["ترجم إلى الإنجليزية: شكرا على مساعدتك"], "classify": ["هل هذا التعليق إيجابي أم سلبي؟ \"خدمة ممتازة\""], "rewrite": ["أعد كتابة هذه الجملة بأسلوب مهذب: أرسل الفاتورة الآن"], "steps": ["أنبوبان يملآن خزانا في 6 و8 ساعات وثالث يفرغه في 12 ساعة. فتحت كلها ثم أغلق الثالث بعد ساعتين. متى يمتلئ الخزان؟ اشرح كل خطوة."], "proof": ["أثبت أن الأعداد الأولية غير منتهية."], "hard_code": ["اكتب بلغة بايثون ذاكرة LRU آمنة بين الخيوط مع مدة صلاحية وبدون مكتبات خارجية مع اختبارات."], "plan": ["خطط لرحلة أربعة أيام لخمسة أشخاص بميزانية 1500 يورو، أحدهم نباتي وآخر لا يستطيع المشي طويلا."]},
    "hi": {"greeting": ["नमस्ते", "सुप्रभात", "नमस्ते, आप कैसे हैं?"], "fact": ["फ्रांस की राजधानी क्या है?", "एक साल में कितने दिन होते हैं?"], "translate": ["अंग्रेज़ी में अनुवाद करो: आपकी मदद के लिए धन्यवाद"], "classify": ["यह समीक्षा सकारात्मक है या नकारात्मक? \"बहुत अच्छी सेवा\""], "rewrite": ["इसे विनम्र बनाओ: जल्दी जवाब दो"], "steps": ["दो नल एक टंकी को 6 और 8 घंटे में भरते हैं और तीसरा 12 घंटे में खाली करता है। सब खोले गए और दो घंटे बाद तीसरा बंद हुआ। टंकी कब भरेगी? हर चरण दिखाओ।"], "proof": ["सिद्ध करो कि अभाज्य संख्याएँ अनंत हैं।"], "hard_code": ["बिना बाहरी लाइब्रेरी के पायथन में थ्रेड-सुरक्षित और समय सीमा वाला LRU कैश लिखो और परीक्षण भी दो।"], "plan": ["पाँच लोगों के लिए 1500 यूरो में चार दिन की यात्रा की योजना बनाओ, एक शाकाहारी है और एक ज़्यादा चल नहीं सकता।"]},
}


def labelled(groups, kinds):
    """Every request of the groups as a training row."""
    for kind, prompts in groups:
        domain, small, large, median, high = kinds[kind]
        for prompt in dict.fromkeys(prompts):
            yield {"prompt": prompt, "source": f"everyday/{kind}", "domain": domain, "p_small": small, "p_large": large, "tokens": (median, high)}


def rows():
    """Every request as a training row."""
    return labelled([*_english(), *((kind, texts) for kinds in OTHER.values() for kind, texts in kinds.items())], KINDS)


if __name__ == "__main__":
    import collections
    print(collections.Counter(row["source"] for row in rows()))
