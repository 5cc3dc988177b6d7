"""The official `openai` Python SDK against the gateway: answers, streams, money, headers, typed errors, retries."""

import asyncio
import json
import os

import openai
import pydantic
from openai import AsyncOpenAI, OpenAI

from check import check, finish, same
from gateway import metric, until

URL = os.environ["LIVE_URL"]
KEYS = {name: os.environ[f"LIVE_KEY_{name.upper()}"] for name in ("app", "narrow", "broke", "revoked")}
client = OpenAI(base_url=f"{URL}/v1", api_key=KEYS["app"], timeout=120)
ASK = {"messages": [{"role": "user", "content": "Say something about the sea."}], "max_tokens": 12, "temperature": 0}


def requests(**labels):
    return metric(URL, "tollgate_requests_total", **labels)


def refused(error, wanted, call, status, code):
    """The error that `call` raises, of the SDK's own type; and nothing was tried again."""
    before = requests()
    try:
        call()
    except wanted as raised:
        same(type(raised), wanted, "type")
        same((raised.status_code, raised.code), (status, code), "status and code")
        assert raised.response.headers["x-tollgate-request-id"].startswith("req_")
        same(requests() - before, 1, f"requests for one {error}")
        return raised
    raise AssertionError(f"no {error}")


@check("python: the model list")
def _():
    names = {model.id for model in client.models.list()}
    assert {"auto", "small", "large"} <= names, names


@check("python: a whole answer, routed, with usage and cost")
def _():
    raw = client.chat.completions.with_raw_response.create(model="auto", **ASK)
    answer = raw.parse()
    assert answer.choices[0].message.content.strip()
    same(answer.model, raw.headers["x-tollgate-model"], "model")
    assert answer.model in ("small", "large"), answer.model
    assert answer.usage.prompt_tokens > 0 and 0 < answer.usage.completion_tokens <= 12, answer.usage
    for name in ("route", "reason", "difficulty", "estimate-usd", "cost-usd", "saved-usd", "overhead-us", "request-id"):
        assert raw.headers[f"x-tollgate-{name}"], name
    assert float(raw.headers["x-tollgate-cost-usd"]) > 0


@check("python: pinned models answer as themselves")
def _():
    for model in ("small", "large"):
        same(client.chat.completions.create(model=model, **ASK).model, model)


@check("python: vectors, which the SDK asks for in base64, are those asked for as numbers")
def _():
    texts = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose again."]
    raw = client.embeddings.with_raw_response.create(model="vectors", input=texts)
    answer = raw.parse()
    same((answer.model, [item.index for item in answer.data]), ("vectors", [0, 1, 2]), "model and places")
    plain = client.embeddings.create(model="vectors", input=texts, encoding_format="float")
    for one, other in zip(answer.data, plain.data):
        same(len(one.embedding), len(other.embedding), "length")
        assert max(abs(a - b) for a, b in zip(one.embedding, other.embedding)) < 1e-4
        assert abs(sum(part * part for part in one.embedding) - 1) < 1e-4
    vectors = [item.embedding for item in answer.data]
    likeness = lambda a, b: sum(x * y for x, y in zip(vectors[a], vectors[b]))
    assert likeness(0, 1) > max(likeness(0, 2), likeness(1, 2)), "the two about cats are nearest"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 15, answer.usage
    same(float(raw.headers["x-tollgate-cost-usd"]), round(answer.usage.prompt_tokens * 2e-8, 9), "cost")


@check("python: vectors that cannot be had are a 400 that names why")
def _():
    error = refused("empty text", openai.BadRequestError, lambda: client.embeddings.create(model="vectors", input=["a", ""]),
                    400, "empty_input")
    same(error.param, "input[1]", "param")
    refused("chat model", openai.BadRequestError, lambda: client.embeddings.create(model="small", input="a"),
            400, "unsupported_capability")
    refused("vectors of a chat", openai.BadRequestError, lambda: client.chat.completions.create(model="vectors", **ASK),
            400, "unsupported_capability")


@check("python: a stream is the whole answer in pieces, and its last chunk has usage and cost")
def _():
    whole = client.chat.completions.create(model="small", **ASK).choices[0].message.content
    stream = client.chat.completions.create(model="small", stream=True, stream_options={"include_usage": True}, **ASK)
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    same(text, whole, "text")
    usage = chunks[-1].usage
    assert usage.completion_tokens > 0 and float(usage.cost_usd) > 0 and usage.saved_usd is not None, usage
    same(sum(chunk.usage is not None for chunk in chunks), 1, "chunks with usage")


@check("python: a stream whose reader did not ask for usage gets none")
def _():
    assert all(chunk.usage is None and chunk.choices for chunk in
               client.chat.completions.create(model="small", stream=True, **ASK))


@check("python: the async client, four at once, whole and streamed")
def _():
    async def streamed(api):
        parts = []
        async for chunk in await api.chat.completions.create(model="small", stream=True, **ASK):
            parts += [choice.delta.content or "" for choice in chunk.choices]
        return "".join(parts)

    async def main():
        async with AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEYS["app"], timeout=120) as api:
            whole = [api.chat.completions.create(model="small", **ASK) for _ in range(2)]
            one, two, three, four = await asyncio.gather(*whole, streamed(api), streamed(api))
            return {one.choices[0].message.content, two.choices[0].message.content, three, four}

    same(len(asyncio.run(main())), 1, "different texts")


@check("python: the SDK's stream helper gathers content and usage")
def _():
    with client.chat.completions.stream(model="steady", stream_options={"include_usage": True}, **(ASK | {"max_tokens": 90})) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds and final.choices[0].message.content.strip(), kinds
    assert final.usage.completion_tokens > 0


LOOK = {"type": "function", "function": {"name": "look", "strict": True, "parameters": {
    "type": "object", "properties": {"sea": {"enum": ["calm", "rough"]}}, "required": ["sea"], "additionalProperties": False}}}


def is_a_look(call):
    same((call.type, call.function.name), ("function", "look"))
    assert json.loads(call.function.arguments)["sea"] in ("calm", "rough"), call


@check("python: local models call tools, whole and streamed, and read the results")
def _():
    tools = {"tools": [LOOK], "tool_choice": {"type": "function", "function": {"name": "look"}}}
    answer = client.chat.completions.create(model="large", **ASK | {"max_tokens": 60}, **tools).choices[0]
    same((answer.finish_reason, answer.message.content), ("tool_calls", None))
    is_a_look(answer.message.tool_calls[0])
    with client.chat.completions.stream(model="large", **ASK | {"max_tokens": 60}, **tools) as stream:
        streamed = stream.get_final_completion().choices[0]
    same(streamed.finish_reason, "tool_calls")
    is_a_look(streamed.message.tool_calls[0])
    call = answer.message.tool_calls[0]
    messages = [*ASK["messages"], answer.message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "calm"}]
    after = client.chat.completions.create(model="large", messages=messages, tools=[LOOK], tool_choice="none", max_tokens=12)
    assert after.choices[0].message.content


@check("python: local models keep to a schema that the SDK makes of a class and parses again")
def _():
    class Sea(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=16)
        depth: int = pydantic.Field(ge=0, le=11000)
        calm: bool

    answer = client.chat.completions.parse(model="small", messages=ASK["messages"], max_tokens=100, response_format=Sea)
    assert isinstance(answer.choices[0].message.parsed, Sea), answer
    with client.chat.completions.stream(model="small", messages=ASK["messages"], max_tokens=100, response_format=Sea) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Sea)


@check("python: several answers at once")
def _():
    answer = client.chat.completions.create(model="small", n=3, **ASK)
    same([choice.index for choice in answer.choices], [0, 1, 2])


@check("python: extra headers reach the decision, extra fields the engine and back")
def _():
    raw = client.chat.completions.with_raw_response.create(
        model="steady", extra_headers={"x-tollgate-explain": "1"}, extra_body={"nobody_knows_this": {"kept": [1.5]}}, **ASK)
    decision = json.loads(raw.headers["x-tollgate-decision"])
    same((decision["model"], decision["route"]), ("steady", "pinned"))
    assert "small" in {one["model"] for one in decision["candidates"]}, decision
    same(raw.parse().nobody_knows_this, {"kept": [1.5]})


@check("python: feedback on an answer by its id, and only by who has asked")
def _():
    raw = client.chat.completions.with_raw_response.create(model="auto", **ASK)
    verdict = {"request_id": raw.headers["x-tollgate-request-id"], "good": False}
    noted = client.post("/feedback", body=verdict, cast_to=object)
    same((noted["request_id"], noted["model"], noted["good"]), (verdict["request_id"], raw.parse().model, False))
    other = OpenAI(base_url=f"{URL}/v1", api_key=KEYS["narrow"])
    try:
        other.post("/feedback", body=verdict, cast_to=object)
    except openai.NotFoundError as raised:
        same(raised.code, "request_not_found")
    else:
        raise AssertionError("another key's answer was judged")


@check("python: a wrong key is an AuthenticationError")
def _():
    wrong = OpenAI(base_url=f"{URL}/v1", api_key="tg-not-a-key")
    refused("wrong key", openai.AuthenticationError, lambda: wrong.chat.completions.create(model="auto", **ASK),
            401, "invalid_api_key")
    revoked = OpenAI(base_url=f"{URL}/v1", api_key=KEYS["revoked"])
    refused("revoked key", openai.AuthenticationError, lambda: revoked.chat.completions.create(model="auto", **ASK),
            401, "api_key_revoked")


@check("python: a bad body is a BadRequestError that names the field")
def _():
    bad = {**ASK, "max_tokens": 0}
    error = refused("bad body", openai.BadRequestError, lambda: client.chat.completions.create(model="auto", **bad),
                    400, "invalid_value")
    same(error.param, "max_tokens", "param")
    error = refused("empty list", openai.BadRequestError,
                    lambda: client.chat.completions.create(model="auto", messages=[]), 400, "empty_array")
    same(error.param, "messages", "param")


@check("python: an unknown model or policy is a NotFoundError that says what there is")
def _():
    for model in ("gpt-9", "auto:nope"):
        error = refused(model, openai.NotFoundError,
                        lambda model=model: client.chat.completions.create(model=model, **ASK), 404, "model_not_found")
        assert "small" in error.message or "default" in error.message, error.message


@check("python: a model that the key may not use is a PermissionDeniedError")
def _():
    narrow = OpenAI(base_url=f"{URL}/v1", api_key=KEYS["narrow"])
    same(narrow.chat.completions.create(model="auto", **ASK).model, "small")
    refused("forbidden model", openai.PermissionDeniedError,
            lambda: narrow.chat.completions.create(model="large", **ASK), 403, "model_not_allowed")


@check("python: a spent budget is a RateLimitError, insufficient_quota, and is not tried again")
def _():
    broke = OpenAI(base_url=f"{URL}/v1", api_key=KEYS["broke"])
    error = None
    for _ in range(50):
        before = requests(status="insufficient_quota")
        try:
            broke.chat.completions.create(model="small", **ASK)
        except openai.RateLimitError as raised:
            error = raised
            break
    assert error is not None, "the budget never ran out"
    same((error.code, error.type, error.status_code), ("insufficient_quota", "insufficient_quota", 429))
    same(error.response.headers["x-should-retry"], "false")
    assert "broke team" in error.message and "resets at" in error.message, error.message
    same(requests(status="insufficient_quota") - before, 1, "requests")


@check("python: the same budget refuses a stream before its first byte")
def _():
    broke = OpenAI(base_url=f"{URL}/v1", api_key=KEYS["broke"])
    refused("spent budget", openai.RateLimitError,
            lambda: list(broke.chat.completions.create(model="small", stream=True, **ASK)), 429, "insufficient_quota")


@check("python: a deadline is an APIStatusError 504, once")
def _():
    late = {"x-tollgate-deadline-ms": "300"}
    for stream in (False, True):
        refused("deadline", openai.InternalServerError,
                lambda stream=stream: client.chat.completions.create(model="hang", stream=stream, extra_headers=late, **ASK),
                504, "deadline_exceeded")


@check("python: an engine that is down is tried again by the SDK and then a 5xx")
def _():
    before = requests()
    try:
        client.chat.completions.create(model="broken", **ASK)
    except openai.InternalServerError as error:
        same((error.status_code, error.code), (502, "upstream_error"))
    else:
        raise AssertionError("no error")
    same(requests() - before, 3, "one request and the SDK's two retries")


@check("python: a stream that its engine broke off raises, after what had come")
def _():
    got = []
    try:
        for chunk in client.chat.completions.create(model="cut", stream=True, **ASK):
            got += [choice.delta.content for choice in chunk.choices]
    except openai.APIError as error:
        same(error.code, "upstream_broken")
    else:
        raise AssertionError("the break was not told")
    same("".join(got), "three words only ")


@check("python: a client that leaves in mid-stream is charged for what had passed")
def _():
    before = requests(status="cancelled", model="slow")
    spent = metric(URL, "tollgate_cost_usd_total", model="slow")
    stream = client.chat.completions.create(model="slow", stream=True, messages=ASK["messages"], max_tokens=1000)
    for _, chunk in zip(range(5), stream):
        assert chunk.choices
    stream.close()
    until("the cancelled request", lambda: requests(status="cancelled", model="slow") == before + 1)
    assert metric(URL, "tollgate_cost_usd_total", model="slow") > spent
    until("no request in flight", lambda: metric(URL, "tollgate_requests_in_flight") == 0)


@check("python: an async task that is cancelled ends its request too")
def _():
    before = requests(status="cancelled", model="hang")

    async def main():
        async with AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEYS["app"]) as api:
            task = asyncio.create_task(api.chat.completions.create(model="hang", **ASK))
            await asyncio.to_thread(until, "the request", lambda: metric(URL, "tollgate_requests_in_flight") == 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    until("the cancelled request", lambda: requests(status="cancelled", model="hang") == before + 1)


finish()
