"""Exam questions by kind, in our own words: what the outcome files do not cover.

The outcomes at hand are of science, code, common sense and arithmetic; law, ethics, accounting,
medicine and history are absent.  Each kind says how likely a small and a large model are to pick the
right option without working on paper.  The kinds are coarse on purpose (recall is easy; calculation,
and rules applied to a case, are hard): judgements from general experience, not a benchmark's figures.
"""
import itertools

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

TERMS = {
    "recall_social": """market segmentation; brand loyalty; social class; peer pressure; classical conditioning; the separation of powers; federalism; attachment in
        infants; public opinion; foreign aid; gender roles; urban migration; population growth; leadership style; motivation at work; a press release; religious
        festivals; Buddhism; Islam; prejudice; short-term memory; a trade agreement; advertising campaigns; consumer behaviour; the product life cycle; organisational
        culture; a hierarchy in a company; voting behaviour; interest groups; the president's veto; congressional committees; political parties; the stages of sleep;
        personality traits; group conformity; stereotypes; reinforcement schedules; deviance and social norms; the sociology of the family; globalisation; urban land
        use; agriculture in developing countries; cultural diffusion; sanctions against a state; presidential doctrine; crisis communication; the Hindu caste system;
        the five pillars; Taoism; corporate social responsibility; whistleblowing; retirement and leisure; friendship in old age; the family life of adolescents""",
    "recall_science": """photosynthesis; mitosis; natural selection; the food chain; the phases of the moon; a planet's atmosphere; enzymes; the cell membrane; plate
        tectonics; acids and bases; the greenhouse effect; DNA replication; firewalls; a phishing attack; encryption; vitamins in food; dietary fibre; inheritance of
        traits; the rings of Saturn; the colour of a star; comets and asteroids; the ozone layer; protein synthesis; genetic drift; pollination; ecosystems; bacteria;
        malware; buffer overflow; energy from fats and carbohydrates; cholesterol; the water cycle; mirrors and light; sound waves; heat and temperature""",
    "recall_medicine": """the cranial nerves; the femoral artery; insulin; the kidney; wound care; blood pressure; the thyroid gland; muscle contraction; a recessive
        disorder; retroviruses; vaccination; memory loss in old age; the lymph nodes; anaemia; sexual health; the palate and tongue; a catheter; the heart valves;
        hormones of the pituitary; glycogen and lactate in exercise; karyotype and chromosomes; gene therapy; hepatitis; contraception; dementia; joints and ligaments""",
    "recall_history": """the French Revolution; the Cold War; the Roman Republic; colonial trade; the Reformation; industrialisation; the Civil War; early human
        settlements; stone tools; bronze age burials; the Enlightenment; decolonisation; the New Deal; slavery in the colonies; the Ottoman Empire; the Black Death;
        imperial China; the suffrage movement; hominid fossils; pottery and farming villages; the fall of Constantinople; the Treaty of Versailles; nationalism""",
    "obscure": """the share of households with electricity in 2010; the average years of schooling worldwide; the exact year of a minor treaty; the percentage of
        adults who say they trust others; the host range of a rare virus; the catalogue number of a manuscript; the number of deaths from a cause in one country;
        the genome of a papillomavirus; the incubation of a tropical parasite; the rank of a state in a survey""",
    "law_case": """a landlord sued a tenant for breach of a lease; a defendant was charged with burglary and moved to suppress the evidence; a buyer refused delivery
        of goods under a contract of sale; a statute was challenged under the equal protection clause; a pedestrian sued a driver for negligence; a grantor conveyed
        land to her nephew for life; a witness was asked about a prior conviction; a farmer claimed an easement across his neighbour's field; a city denied a permit
        for a parade; an heir contested a will; a man was indicted for murder and pleaded insanity; a plaintiff seeks damages for emotional distress; a mortgage was
        recorded after a deed; a contractor asked for payment after the owner repudiated the contract; a confession was taken without a warning; hearsay testimony was
        objected to at trial; a state taxed a federal contractor; a surgeon was sued for battery; a store owner detained a customer; an option to purchase expired;
        an accomplice withdrew from the robbery; a seller promised in writing to keep an offer open; a tenant assigned his leasehold; police searched a car""",
    "rules_of_a_profession": """the audit of a subsidiary's inventory; depreciation of equipment on the balance sheet; deferred tax liabilities; revenue recognition on a
        long-term contract; bond premium amortisation; informed consent in psychological testing; duties of a trustee; the standard error of an estimator under
        heteroskedasticity; nuclear deterrence strategy; sampling risk in an audit; a partnership's capital accounts; the reliability of a psychometric test; taxable
        income of a corporation; a gift tax exclusion; net present value and dividends; a moving average process; autocorrelated residuals; cost of goods sold;
        an employee stock plan; internal control over cash; a consolidated statement of cash flows; fund accounting in a city; licensing of a therapist; capital gains;
        monetary policy and the money supply; a shift of aggregate demand; a monopolist's marginal revenue; the multiplier with a marginal propensity to consume""",
    "clinical_case": """a 45-year-old woman with fever and chest pain; a newborn with jaundice; a 60-year-old man with sudden weakness of the left arm; a student with
        weight loss and palpitations; a patient who took an overdose; a child with recurrent infections and a rash; a 32-year-old pregnant woman with headache and high
        blood pressure; a man with cough, night sweats and a shadow on the radiograph; a 70-year-old smoker with blood in the urine; an infant with vomiting; a woman
        whose laboratory studies show low sodium; a 25-year-old man with testicular swelling; a girl with polyuria and thirst; a veteran with nightmares""",
    "moral_judgement": """taking money from a friend's wallet to buy medicine; lying to a neighbour about a broken fence; telling a child that the dog ran away; leaving a
        colleague to finish the work alone; reading a partner's messages; giving up a seat for an old man; the moral status of animals; whether punishment must fit
        intention; killing in self-defence; duties to future generations; I poured my sister's juice down the sink; I drove my friend home after the party; I kept the
        change the cashier gave me; I told my boss that I was sick; I fed the stray cat every morning; I ate my roommate's dinner; I shouted at the waiter; I handed in
        the wallet I had found; I recorded my neighbours without telling them; pleasure and the good life; a categorical imperative; virtue and habit; abortion; euthanasia;
        free will and blame; pornography and harm; genetic enhancement; famine and the duty to give""",
    "calculation": """the speed of a block that slides down an incline; the pH of a buffer solution; the current through two parallel resistors; the probability of drawing
        two red balls; the half-life of an isotope; the price elasticity at equilibrium; the energy of a photon of 500 nm; the confidence interval of a mean; the focal
        length of a lens; the molarity after dilution; the area under a curve; the number of ways to seat six people; the sum of the angles; the value of x in the
        equation; the slope of the line; the remainder after division; the perimeter of a rectangle; the average of five numbers; how many apples are left; the volume of
        the cone; the charge on a capacitor; the wavelength of the sound; the acceleration of the cart; the enthalpy of the reaction; the magnetic flux; the total cost""",
    "abstract_mathematics": """the order of an element in a quotient group; the kernel of a ring homomorphism; a compact subset of a metric space; the eigenvalues of a
        nilpotent matrix; the degree of a field extension; a uniformly continuous function; the rank of a linear transformation; the residue of a function at a pole;
        cosets of a normal subgroup; the characteristic of the ring; a polynomial that is irreducible over Q; a permutation in the symmetric group; a basis of the vector
        space; an entire function; a differential equation with constant coefficients; a connected topological space; the generator of the finite field""",
    "formal_logic": """the best translation into predicate logic; a complete truth table for the argument; the conclusion that follows from the premises; a counterexample
        to the argument; the negation of a universally quantified statement; an immediate consequence of the premises; a proposition that is a tautology; the antecedent of
        a conditional; a valid argument with two premises; the fallacy that the speaker commits; the symbolization of a sentence""",
    "technical": """cache coherence; a support vector machine; overfitting and regularisation; a synchronous generator; a finite automaton; TCP congestion control; a feedback
        amplifier; gradient descent; a binary search tree; a transformer winding; the pipeline of a processor; a regular expression; page faults; a neural network layer;
        a decision tree; the impedance of a circuit; a PN junction; a shift register; a python list; the running time of an algorithm; a context-free grammar""",
}
TERMS = {kind: [" ".join(term.split()) for term in terms.split(";")] for kind, terms in TERMS.items()}
FRAMES = ["Which of the following statements about {t} is correct?", "Which of these is the best description of {t}?", "{T} is most closely associated with",
          "What is true of {t}?", "All of the following are true of {t} EXCEPT"]
CASES = ["{T}. Which outcome is most likely?", "{T}. What is the best answer, and on which ground?", "Consider this case: {t}. Who will prevail?"]
CLINICS = ["{T} is seen in the emergency room. What is the most likely diagnosis?", "What is the next step for {t}?"]
SUMS = ["What is {t}?", "Calculate {t}.", "Find {t} to two decimal places."]
MORALS = ["Is {t} morally wrong according to ordinary standards?", "Which view of {t} would a consequentialist hold?", "Decide whether the narrator acts wrongly: {t}."]
ABSTRACT = ["Find {t}.", "Which statement about {t} is always true?", "Determine {t} in the given structure."]
LOGIC = ["Which option gives {t}?", "Find {t}."]
FRAMES_OF = {"law_case": CASES, "clinical_case": CLINICS, "calculation": SUMS, "moral_judgement": MORALS, "abstract_mathematics": ABSTRACT, "formal_logic": LOGIC}
LENGTH = (40, 300)


def rows():
    """Rows in the form of everyday.rows()."""
    out = []
    for kind, (domain, small, large) in KINDS.items():
        for frame, term in itertools.product(FRAMES_OF.get(kind, FRAMES), TERMS[kind]):
            prompt = frame.format(t=term, T=term[0].upper() + term[1:])
            out.append({"prompt": prompt, "source": f"exam/{kind}", "domain": domain, "p_small": small, "p_large": large, "tokens": LENGTH})
    return out
