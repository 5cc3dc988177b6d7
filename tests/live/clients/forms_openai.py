"""Asks one engine for JSON of strict schemas and for forced calls, and counts the answers that keep their form."""

import datetime
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import jsonschema
from openai import OpenAI

BASE, MODEL, TRIES, WANTED = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
client = OpenAI(base_url=BASE, api_key="none", timeout=600, max_retries=0)


def closed(properties, **more):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False, **more}


WORD = {"type": "string", "maxLength": 16}
SCHEMAS = [
    closed({"name": WORD, "age": {"type": "integer", "minimum": 0, "maximum": 120}}),
    closed({"title": WORD, "tags": {"type": "array", "items": WORD, "minItems": 1, "maxItems": 3}}),
    closed({"answer": {"enum": ["yes", "no", "unknown"]}, "sure": {"type": "boolean"}}),
    closed({"point": closed({"x": {"type": "number", "minimum": -10, "maximum": 10}, "y": {"type": "integer"}})}),
    closed({"when": {"type": "string", "format": "date"}, "note": {"anyOf": [WORD, {"type": "null"}]}}),
    closed({"code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}, "kind": {"const": "part"}}),
    closed({"root": {"$ref": "#/$defs/node"}}, **{"$defs": {"node": closed({
        "value": {"type": "integer", "minimum": 0, "maximum": 9},
        "next": {"anyOf": [{"$ref": "#/$defs/leaf"}, {"type": "null"}]}}), "leaf": closed({"value": WORD})}}),
]
TOPICS = ["a cook in Rome", "a bicycle", "the river Seine", "a cat named Tom", "a train to Oslo", "an old map", "rain"]
FUNCTIONS = {
    "get_weather": closed({"city": WORD, "unit": {"enum": ["celsius", "fahrenheit"]}}),
    "book_table": closed({"people": {"type": "integer", "minimum": 1, "maximum": 12}, "at": {"type": "string", "format": "time"}}),
    "search": closed({"query": {"type": "string", "maxLength": 30}, "filters": {"type": "array", "items": {"enum": ["new", "near"]},
                                                                           "maxItems": 2}}),
}
TOOLS = [{"type": "function", "function": {"name": name, "strict": True, "parameters": parameters}}
         for name, parameters in FUNCTIONS.items()]


formats = jsonschema.Draft202012Validator.FORMAT_CHECKER


@formats.checks("date", raises=ValueError)
def is_date(text):
    # RFC 3339 has a year 0, Python has none.
    datetime.date.fromisoformat(text.replace("0000-", "2000-", 1))
    return True


@formats.checks("time", raises=ValueError)
def is_time(text):
    # With its offset, as JSON Schema has it since draft 7.
    if not re.fullmatch(r"\d\d:\d\d:\d\d(\.\d+)?([zZ]|[+-]([01]\d|2[0-3]):[0-5]\d)", text):
        raise ValueError(text)
    datetime.time.fromisoformat(text[:8].replace(":60", ":59"))
    return True


def valid(text, schema):
    jsonschema.validate(json.loads(text), schema, format_checker=formats)


def schema_holds(number):
    schema = SCHEMAS[number % len(SCHEMAS)]
    asked = client.chat.completions.create(
        model=MODEL, max_tokens=200, seed=number,
        messages=[{"role": "user", "content": f"Describe {TOPICS[number // len(SCHEMAS) % len(TOPICS)]} as JSON."}],
        response_format={"type": "json_schema", "json_schema": {"name": "it", "strict": True, "schema": schema}})
    valid(asked.choices[0].message.content, schema)
    assert asked.choices[0].finish_reason == "stop", asked.choices[0].finish_reason


def call_holds(number):
    name = list(FUNCTIONS)[number % 3]
    choice = "required" if number % 2 else {"type": "function", "function": {"name": name}}
    asked = client.chat.completions.create(
        model=MODEL, max_tokens=300, seed=number, tools=TOOLS, tool_choice=choice,
        messages=[{"role": "user", "content": f"Do something useful about {TOPICS[number % len(TOPICS)]}."}])
    calls = asked.choices[0].message.tool_calls
    assert asked.choices[0].finish_reason == "tool_calls", asked.choices[0].finish_reason
    assert calls and (number % 2 or [call.function.name for call in calls] == [name]), calls
    for call in calls:
        valid(call.function.arguments, FUNCTIONS[call.function.name])


def share(what, holds):
    def tried(number):
        try:
            holds(number)
        except Exception as error:
            print(f"      {what} {number}: {type(error).__name__}: {' '.join(str(error).split())[:200]}", flush=True)
            return False
        if number % 20 == 19:
            print(f"      {what} {number + 1} asked", flush=True)
        return True

    with ThreadPoolExecutor(8) as pool:
        held = sum(pool.map(tried, range(TRIES)))
    enough = held >= WANTED * TRIES
    print(f"{'PASS' if enough else 'FAIL'}  {MODEL}: {what} valid {held} of {TRIES} ({100 * held / TRIES:.1f} %)", flush=True)
    return enough


KINDS = {"schemas": ("strict schemas", schema_holds), "calls": ("forced calls", call_holds)}
results = [share(*KINDS[kind]) for kind in sys.argv[5:] or KINDS]
sys.exit(0 if all(results) else 1)
