"""What a request is about, guessed from its wording: for sources that mix kinds of request and say of none which it is.

The first pattern that is found decides; a prompt in which none is has no domain, and teaches none.
"""
import re

_LANGUAGES = (r"python|javascript|typescript|c\+\+|c#|golang|php|kotlin|sql|postgres(?:ql)?|mysql|html|css|bash|powershell|regex|regular expression|react|node\.?js|django|"
              r"pandas|numpy|pytorch|tensorflow|xgboost|docker|kubernetes|autolisp|vba|java|rust|linux|ubuntu|github|json schema|opencv|matlab|lua|verilog|swiftui|ios|android|vimscript|excel|"
              r"google sheets|chrome (?:plugin|extension)")
_CODE_THINGS = r"code|function|script|program|algorithm|class|method|query|unit tests?|app|plugin|endpoint|api|game"
_TEXTS = (r"story|stories|poem|essay|cover letter|e-?mail|letter|blog|haiku|song|lyrics|slogan|tagline|speech|screenplay|tweet|caption|article|paragraph|sentence|dialogue|novel|"
          r"review|advert\w*|headline|summary|scene|chapter|trailer|resume|post|description|introduction|joke|spells?|limerick|toast")
_PASSAGE = r"(?:reference )?(?:text|paragraph|passage|article|document|context)"

PATTERNS = [(domain, re.compile(pattern, re.IGNORECASE | re.MULTILINE)) for domain, pattern in [
    ("code", rf"```|\b(?:{_LANGUAGES})(?!\w)|\b(?:traceback|stack trace|debug|refactor|compile[rs]?|leetcode|codebase|programming)\b|\b(?:the|this|my|your|me|write|full|working|source) code\b(?! of)|#include|\bvar \w+ =|\bdef \w+\(|\bpublic static\b"
             rf"|^(?:please )?(?:write|create|implement|develop|build|fix) (?:\w+ ){{0,4}}(?:{_CODE_THINGS})\b(?! of)"),
    ("math", r"\b(?:calculate|compute|integral|derivative|equations?|probability|theorem|permutations?|factorial|square root|polynomial|eigenvalues?|"
             r"prove that|divisible)\b|\bsolve\b.*[=\d]|\d\s*[+*/^=]\s*\d|\bhow (?:much|many|long)\b.*\d.*\d|\d.*\d.*\bhow (?:much|many|long)\b"),
    ("reading", rf"\b(?:given|based on|from|using|according to|in|read) (?:the|this|a|following)(?: following| above| below| given)? {_PASSAGE}\b|\bextract\b"),
    ("classification", r"\b(?:classify|categori[sz]e|label (?:the|each|this)|sentiment|identify (?:which|whether|if)|tell (?:me )?(?:if|whether)|positive or negative|spam|which (?:of (?:these|the following) )?"
                       r"(?:is|are) (?:\w+ )?(?:a |an )?\w+(?: or |: ))"),
    ("writing", rf"^(?:please |can you |could you )?(?:rewrite|rephrase|paraphrase|translate|summari[sz]e|shorten|proofread|correct the|fix the|edit|convert the|replace|make (?:this|the following) \w+|improve)\b"
                rf"|\b(?:write|draft|compose|create|generate|give me|make up|come up with|continue|improve)\b(?: \S+){{0,9}} (?:{_TEXTS})\b"),
    ("reasoning", r"\b(?:plan|schedule|itinerary|pros and cons|compare|trade-?offs?|riddle|puzzle|strategy|strategies|scenario|design an?|architecture|roadmap|step[- ]by[- ]step|analy[sz]e|evaluate|critique|argue)\b"),
    ("chat", r"\b(?:how (?:do|can|should|would) (?:i|you|we)|what should i|should i|can i|could i|recommend|suggest|ideas?|tips|ways to|best way|i (?:have|am|want|need|feel|like)|i'm|my|your|favou?rite|tell me a)\b"),
    ("knowledge", r"^\W*(?:what|who|whose|when|where|which|why|how|explain|describe|define|tell me about|name|list|give me (?:a|an|some|the)|in (?:what|which)|is|are|was|were|do|does|did|can|has)\b"),
]]
#: Words of a prompt that are looked at: what is asked stands first, or last.
HEAD, TAIL = 60, 40
#: A question among so many first words, with so many words behind it, is one about a text.
QUESTION, TEXT = 25, 45


def guess(prompt):
    """One of the router's domains, or None."""
    words = prompt.split()
    asked = prompt if len(words) <= HEAD + TAIL else " ".join(words[:HEAD]) + "\n" + " ".join(words[-TAIL:])
    found = next((domain for domain, pattern in PATTERNS if pattern.search(asked)), None)
    of_a_text = len(words) > QUESTION + TEXT and any(word.endswith("?") for word in words[:QUESTION]) and not any(word.endswith("?") for word in words[QUESTION:])
    return "reading" if of_a_text and found in (None, "chat", "knowledge") else found
