"""What exam questions are about, by kind: beginnings and topics in our own words, see exam.py."""

TERMS = {
    "recall_social": """market segmentation; brand loyalty; social class; peer pressure; classical conditioning; the separation of powers; federalism; attachment in infants;
        public opinion; foreign aid; gender roles; urban migration; population growth; leadership style; motivation at work; a press release; religious
        festivals; Buddhism; Islam; prejudice; short-term memory; a trade agreement; advertising campaigns; consumer behaviour; the product life cycle;
        organisational culture; a hierarchy in a company; voting behaviour; interest groups; the president's veto; congressional committees; political
        parties; the stages of sleep; personality traits; group conformity; stereotypes; reinforcement schedules; deviance and social norms; the sociology of
        the family; globalisation; urban land use; agriculture in developing countries; cultural diffusion; sanctions against a state; presidential doctrine;
        crisis communication; the Hindu caste system; the five pillars; Taoism; corporate social responsibility; whistleblowing; retirement and leisure;
        friendship in old age; the family life of adolescents; the bystander effect; cognitive dissonance; operant conditioning; Piaget's stages; Maslow's
        hierarchy of needs; Erikson's theory of development; the placebo effect in a study; long-term memory and forgetting; the function of the superego;
        schizophrenia in the population; the electoral college; judicial review; the bicameral legislature; the filibuster in the Senate; political
        socialisation; the demographic transition model; pull factors of migration; the von Thunen model; a nation-state; megacities; suburbs and the central
        place theory; bureaucracy according to Weber; anomie and Durkheim; the feminisation of poverty; symbolic interactionism; ethnocentrism; the Security
        Council; containment policy; soft power; nuclear proliferation; multilateralism; trait theory of leadership; product positioning; price skimming;
        direct mail; focus groups; span of control; Herzberg's motivators; the stakeholder theory; media relations; lobbying by a trade association; the Torah
        and the Talmud; Sikh gurus; nirvana and rebirth; Confucian virtues; Zen meditation; sexual orientation; puberty and adolescence; monogamy in marriage;
        grandparents and grandchildren; social security and pensions; an ad hominem fallacy; a false dilemma; begging the question; a slippery slope argument;
        the treaty of accession; customary international law; sovereignty and recognition of states; natural law theory; legal positivism""",
    "recall_science": """photosynthesis; mitosis; natural selection; the food chain; the phases of the moon; a planet's atmosphere; enzymes; the cell membrane; plate
        tectonics; acids and bases; the greenhouse effect; DNA replication; firewalls; a phishing attack; encryption; vitamins in food; dietary fibre;
        inheritance of traits; the rings of Saturn; the colour of a star; comets and asteroids; the ozone layer; protein synthesis; genetic drift;
        pollination; ecosystems; bacteria; malware; buffer overflow; energy from fats and carbohydrates; cholesterol; the water cycle; mirrors and light;
        sound waves; heat and temperature; the nitrogen cycle; ribosomes and translation; osmosis through a membrane; the Krebs cycle; sympatric speciation;
        the Hardy-Weinberg condition; vascular plants; the cerebellum of vertebrates; sedimentary rock; the Doppler effect; the expansion of the universe;
        sunspots; the Kuiper belt; the tilt of the Earth's axis; a lunar eclipse; electric charge and insulators; buoyancy in water; inertia; a transverse
        wave; kinetic and potential energy; the periodic table; an ionic bond; the half-life concept; iron deficiency; folate and pregnancy; trans fats;
        dietary sodium; vegan diets; glycaemic index; SQL injection; a denial of service attack; two-factor authentication; symmetric ciphers; a port scanner;
        the meristem of a root; hormones in plants; innate behaviour of animals; the evolution of birds""",
    "recall_medicine": """the cranial nerves; the femoral artery; insulin; the kidney; wound care; blood pressure; the thyroid gland; muscle contraction; a recessive disorder;
        retroviruses; vaccination; memory loss in old age; the lymph nodes; anaemia; sexual health; the palate and tongue; a catheter; the heart valves;
        hormones of the pituitary; glycogen and lactate in exercise; karyotype and chromosomes; gene therapy; hepatitis; contraception; dementia; joints and
        ligaments; the vagus nerve; the brachial plexus; the mitral valve; the optic chiasm; the small intestine; the alveoli of the lung; the adrenal cortex;
        the skull and the mandible; a chromosomal deletion; trisomy 21; sickle cell disease; X-linked inheritance; mitochondrial disease; antigen
        presentation; beta blockers; a urinary catheter; the Glasgow coma scale; pressure ulcers; oxygen therapy; insulin injection sites; a nasogastric tube;
        creatine kinase; ATP in muscle fibres; haemoglobin and oxygen; bile; the menopause; HIV transmission; the influenza vaccine; osteoporosis; hearing
        loss with age; Alzheimer's disease; a blood transfusion; cranial bones; the spinal cord; the deltoid muscle""",
    "recall_history": """the French Revolution; the Cold War; the Roman Republic; colonial trade; the Reformation; industrialisation; the Civil War; early human settlements;
        stone tools; bronze age burials; the Enlightenment; decolonisation; the New Deal; slavery in the colonies; the Ottoman Empire; the Black Death;
        imperial China; the suffrage movement; hominid fossils; pottery and farming villages; the fall of Constantinople; the Treaty of Versailles;
        nationalism; the Magna Carta; the Congress of Vienna; the Meiji Restoration; the Boxer Rebellion; the Silk Road; the Mongol empire; feudalism in
        Europe; the Spanish conquest of the Aztecs; Martin Luther; the Scientific Revolution; the Glorious Revolution; Napoleon's code; the Paris Commune; the
        Russian Revolution; appeasement before the war; the Marshall Plan; the Monroe Doctrine; Jacksonian democracy; Reconstruction in the South; the
        Progressive Era; the Great Society; the Federalist Papers; the Stamp Act; abolitionists; Populists and free silver; the Maya collapse; the
        Neanderthals; Homo erectus; Clovis points; the Neolithic; Mesopotamian cities; the Indus valley; Inca roads; the domestication of maize;
        Australopithecus; the Great Zimbabwe; megaliths""",
    "obscure": """the share of households with electricity in 2010; the average years of schooling worldwide; the exact year of a minor treaty; the percentage of adults
        who say they trust others; the host range of a rare virus; the catalogue number of a manuscript; the number of deaths from a cause in one country; the
        genome of a papillomavirus; the incubation of a tropical parasite; the rank of a state in a survey; the median age of a country in 2015; the literacy
        rate in 1950; the share of GDP spent on health in a small country; the number of species of a genus; the percentage of people who say religion is
        important; the prevalence of a rare infection; the capsid of a parvovirus; the carrier of an arbovirus; the world's extreme poverty rate; the
        proportion of women in parliament in 2017; the name of a minor character; the year a local newspaper was founded; the length of a little-known river;
        the fertility rate in 1990; how many people had access to improved water""",
    "law_case": """a landlord sued a tenant for breach of a lease; a defendant was charged with burglary and moved to suppress the evidence; a buyer refused delivery of
        goods under a contract of sale; a statute was challenged under the equal protection clause; a pedestrian sued a driver for negligence; a grantor
        conveyed land to her nephew for life; a witness was asked about a prior conviction; a farmer claimed an easement across his neighbour's field; a city
        denied a permit for a parade; an heir contested a will; a man was indicted for murder and pleaded insanity; a plaintiff seeks damages for emotional
        distress; a mortgage was recorded after a deed; a contractor asked for payment after the owner repudiated the contract; a confession was taken without
        a warning; hearsay testimony was objected to at trial; a state taxed a federal contractor; a surgeon was sued for battery; a store owner detained a
        customer; an option to purchase expired; an accomplice withdrew from the robbery; a seller promised in writing to keep an offer open; a tenant
        assigned his leasehold; police searched a car; the police arrested a suspect at his home without a warrant; the trial court denied a motion for
        summary judgment; a driver ran a red light and struck a cyclist; the owner of a parcel sold it by quitclaim deed; a bank foreclosed on the property; a
        supplier sent nonconforming goods; a state legislature enacted a statute that bans billboards; an employee was discharged after refusing to testify;
        the prosecution offered a certified copy of the record; a testator left all her property to her nephew; two friends agreed to rob a liquor store; a
        homeowner fired a gun at an intruder; the plaintiff offered expert testimony; the jury returned a verdict for the defendant; a corporation issued
        shares to a director; a guest slipped on the icy steps; the purchaser gave a promissory note; a newspaper published a false statement about a senator;
        the contract contained a liquidated damages clause; a hospital released confidential records; the defendant claimed that the statement was hearsay; a
        trustee mixed trust funds with his own; Congress conditioned a grant on the state's consent; an uncle promised his niece money if she finished law
        school; the lessee made improvements to the premises; an undercover agent offered to sell drugs; a widow conveyed a remainder to her children; a
        product exploded and injured the consumer; the city council adopted a zoning ordinance; a creditor assigned the debt""",
    "rules_of_a_profession": """the audit of a subsidiary's inventory; depreciation of equipment on the balance sheet; deferred tax liabilities; revenue recognition on a long-term
        contract; bond premium amortisation; informed consent in psychological testing; duties of a trustee; the standard error of an estimator under
        heteroskedasticity; nuclear deterrence strategy; sampling risk in an audit; a partnership's capital accounts; the reliability of a psychometric test;
        taxable income of a corporation; a gift tax exclusion; net present value and dividends; a moving average process; autocorrelated residuals; cost of
        goods sold; an employee stock plan; internal control over cash; a consolidated statement of cash flows; fund accounting in a city; licensing of a
        therapist; capital gains; monetary policy and the money supply; a shift of aggregate demand; a monopolist's marginal revenue; the multiplier with a
        marginal propensity to consume; the allowance for doubtful accounts; the cost of an intangible asset under generally accepted accounting principles;
        an auditor's qualified opinion; the equity method for an investment; dilutive earnings per share; a lessee's right-of-use asset; the itemised
        deduction of a taxpayer; the basis of stock received as a gift; the auditor's engagement letter; the LIFO inventory reserve; a bond issued at a
        discount; comprehensive income; the validity of a selection test for employees; the ethics code on dual relationships with clients; a therapist's duty
        to warn; regression to the mean in test scores; group differences in a cognitive test; multicollinearity among regressors; maximum likelihood
        estimation of a GARCH model; a unit root in the series; instrumental variables; an open market purchase by the central bank; an inflationary gap; the
        long-run Phillips curve; the price elasticity of demand; a perfectly competitive firm in long-run equilibrium; a negative externality; a budget
        deficit and interest rates; comparative advantage; marginal cost above average cost; automatic stabilisers; the reserve requirement of banks; a tariff
        and consumer surplus; oligopoly and the prisoner's dilemma""",
    "clinical_case": """a 45-year-old woman with fever and chest pain; a newborn with jaundice; a 60-year-old man with sudden weakness of the left arm; a student with weight
        loss and palpitations; a patient who took an overdose; a child with recurrent infections and a rash; a 32-year-old pregnant woman with headache and
        high blood pressure; a man with cough, night sweats and a shadow on the radiograph; a 70-year-old smoker with blood in the urine; an infant with
        vomiting; a woman whose laboratory studies show low sodium; a 25-year-old man with testicular swelling; a girl with polyuria and thirst; a veteran
        with nightmares; a 28-year-old woman comes to the physician because of fatigue for three weeks; a 55-year-old man is brought to the hospital after a
        fall; physical examination shows a systolic murmur; laboratory studies show an elevated white cell count; a 6-year-old boy with fever and a swollen
        knee; an 80-year-old woman with confusion at night; a man who recently returned from a trip has watery diarrhoea; a 19-year-old student with a stiff
        neck; a biopsy specimen shows granulomas; an x-ray of the chest shows an infiltrate; a woman has had palpitations since her divorce; a farmer with a
        lesion on his ear; a 40-year-old man with a history of alcohol use vomits blood; a newborn whose temperature is 39 degrees; a girl whose menarche has
        not come; serum creatinine is raised; the patient's blood pressure is 180/110 mm Hg; a 67-year-old man with a resting tremor; a patient with a rash
        after taking an antibiotic""",
    "moral_judgement": """taking money from a friend's wallet to buy medicine; lying to a neighbour about a broken fence; telling a child that the dog ran away; leaving a
        colleague to finish the work alone; reading a partner's messages; giving up a seat for an old man; the moral status of animals; whether punishment
        must fit intention; killing in self-defence; duties to future generations; I poured my sister's juice down the sink; I drove my friend home after the
        party; I kept the change the cashier gave me; I told my boss that I was sick; I fed the stray cat every morning; I ate my roommate's dinner; I shouted
        at the waiter; I handed in the wallet I had found; I recorded my neighbours without telling them; pleasure and the good life; a categorical
        imperative; virtue and habit; abortion; euthanasia; free will and blame; pornography and harm; genetic enhancement; famine and the duty to give; I hid
        my husband's keys so that he would miss his flight; I gave the last slice of cake to my little brother; I set my neighbour's hedge on fire; I waited
        for the light before crossing the road; I threw my roommate's laptop out of the window; I visited my grandfather in hospital; I copied the answers
        from the girl beside me; I brushed the dog gently after its bath; I sold my cousin's bicycle while he was away; I put on my seat belt before driving;
        I spread a rumour about a colleague; I paid for the coffee of the man behind me; I locked the toddler in the car on a hot day; I watered the plants on
        the balcony; I pushed an old lady out of the queue; I thanked the bus driver; I read my son's diary and laughed about it; I helped a stranger lift a
        pram; I laughed at the boy who fell off his chair; I parked across two places for the disabled; I mowed the lawn on Saturday; I told my patient the
        truth about his illness; I poisoned the pigeons on the roof; I bought a new sweater at the shop; I broke my promise to my daughter; I went to the gym
        in the morning; I kicked the vending machine; I left the baby alone in the bath; I returned the library books in time; I used my friend's credit card
        without asking; I sang in the shower""",
    "calculation": """the speed of a block that slides down an incline; the pH of a buffer solution; the current through two parallel resistors; the probability of drawing
        two red balls; the half-life of an isotope; the price elasticity at equilibrium; the energy of a photon of 500 nm; the confidence interval of a mean;
        the focal length of a lens; the molarity after dilution; the area under a curve; the number of ways to seat six people; the sum of the angles; the
        value of x in the equation; the slope of the line; the remainder after division; the perimeter of a rectangle; the average of five numbers; how many
        apples are left; the volume of the cone; the charge on a capacitor; the wavelength of the sound; the acceleration of the cart; the enthalpy of the
        reaction; the magnetic flux; the total cost; the tension in the rope that holds a 5 kg mass; the number of moles of gas in the flask; the mass of
        precipitate formed; the standard deviation of the sample; the expected value of the game; the probability that at least one bulb is defective; the
        z-score of a student's mark; the p-value of the test; the sum of the first 20 terms; the least common multiple of 12 and 18; the length of the
        hypotenuse; the value of f(3); the simplified form of the fraction; the percentage increase of the price; the momentum of the ball after the
        collision; the period of a pendulum; the work done by the force; the capacitance of the plates; the equilibrium constant of the reaction; the
        oxidation state of the metal; the concentration of hydrogen ions; the rate constant at 300 K; the wavelength of the emitted light; the moment of
        inertia of the disc; the heat absorbed by the water; how many minutes the trip takes; how much change she gets from 20 dollars; the solution of the
        inequality; the distance between two points; the derivative at zero; the number of even integers between 1 and 100; the frequency of the nuclear
        magnetic resonance; the entropy change of the gas""",
    "abstract_mathematics": """the order of an element in a quotient group; the kernel of a ring homomorphism; a compact subset of a metric space; the eigenvalues of a nilpotent
        matrix; the degree of a field extension; a uniformly continuous function; the rank of a linear transformation; the residue of a function at a pole;
        cosets of a normal subgroup; the characteristic of the ring; a polynomial that is irreducible over Q; a permutation in the symmetric group; a basis of
        the vector space; an entire function; a differential equation with constant coefficients; a connected topological space; the generator of the finite
        field; the order of the group Z_6 x Z_4; all zeros of the polynomial in Z_5; the index of a subgroup; an abelian group of order 12; a commutative ring
        with unity; an ideal of the integers; the determinant of an orthogonal matrix; the dimension of the null space; a sequence that converges uniformly;
        the radius of convergence; the fundamental group; a homeomorphism; a measurable set; the line integral around a closed curve; the volume of the solid
        of revolution; an injective map of finite sets; a partial order; a cyclic group; a factor group; the product of two permutations""",
    "formal_logic": """the best translation into predicate logic; a complete truth table for the argument; the conclusion that follows from the premises; a counterexample to
        the argument; the negation of a universally quantified statement; an immediate consequence of the premises; a proposition that is a tautology; the
        antecedent of a conditional; a valid argument with two premises; the fallacy that the speaker commits; the symbolization of a sentence; the
        translation of a sentence with quantifiers into symbols; a truth table for a conditional and its converse; the main connective of the formula; the
        sentence that is logically equivalent; an indirect truth table that shows validity; the contrapositive of the statement; a contradiction or a
        contingent sentence; De Morgan's law; an argument that is invalid with a counterexample; the symbolic form of 'only if'; a disjunctive syllogism;
        consistent or inconsistent pairs of statements""",
    "technical": """cache coherence; a support vector machine; overfitting and regularisation; a synchronous generator; a finite automaton; TCP congestion control; a
        feedback amplifier; gradient descent; a binary search tree; a transformer winding; the pipeline of a processor; a regular expression; page faults; a
        neural network layer; a decision tree; the impedance of a circuit; a PN junction; a shift register; a python list; the running time of an algorithm; a
        context-free grammar; the gain of an operational amplifier; an induction motor's slip; a three-phase supply; the Nyquist stability criterion; a flip-
        flop; a logic gate network; a deep neural network without an activation; the VC dimension of a classifier; the kernel of a support vector machine;
        Bayesian networks with conditional independence; k-means clustering; bias and variance of an estimator; the bootstrap of a decision tree; a
        deterministic finite automaton; virtual memory and paging; a hash table with collisions; a deadlock between two processes; the worst-case time of
        quicksort; NP-complete problems; the output of a short program; a two's complement number; the Boolean expression of a circuit; cache miss rate and
        block size; mutual exclusion; an undecidable language; a spanning tree of a graph; a list comprehension in Python""",
}
TERMS = {kind: [" ".join(term.split()) for term in terms.split(";")] for kind, terms in TERMS.items()}
