"""LangGraph and langchain-openai against the gateway: a routed graph, whole and streamed, and an agent with a tool."""

import asyncio
import os
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition

from check import check, finish, same
from gateway import metric

URL = os.environ["LIVE_URL"]
RUN = "langgraph-run-1"


def model(name, **options):
    """A chat model as an app would set it up."""
    return ChatOpenAI(model=name, base_url=f"{URL}/v1", api_key=os.environ["LIVE_KEY_APP"], max_tokens=16, temperature=0,
                      default_headers={"x-tollgate-run": RUN, "x-tollgate-tags": "team=agents"}, **options)


class State(TypedDict):
    messages: Annotated[list, add_messages]


def two_steps(chat):
    """A graph that drafts and then shortens."""
    def draft(state):
        return {"messages": [chat.invoke(state["messages"])]}

    def shorten(state):
        return {"messages": [chat.invoke([HumanMessage("Shorten: " + state["messages"][-1].content)])]}

    graph = StateGraph(State)
    graph.add_node("draft", draft)
    graph.add_node("shorten", shorten)
    graph.add_edge(START, "draft")
    graph.add_edge("draft", "shorten")
    graph.add_edge("shorten", END)
    return graph.compile()


ASK = {"messages": [HumanMessage("Say something about the sea.")]}


@check("langgraph: two steps over auto, whole")
def _():
    before = metric(URL, "tollgate_requests_total", status="ok")
    last = two_steps(model("auto")).invoke(ASK)["messages"]
    same(len(last), 3, "messages")
    for answer in last[1:]:
        assert answer.content.strip() and answer.usage_metadata["output_tokens"] > 0, answer
        assert answer.response_metadata["model_name"] in ("small", "large"), answer.response_metadata
    same(metric(URL, "tollgate_requests_total", status="ok") - before, 2, "requests")


@check("langgraph: two steps over auto, streamed token by token")
def _():
    graph = two_steps(model("auto", stream_usage=True))
    pieces = [(meta["langgraph_node"], part) for part, meta in graph.stream(ASK, stream_mode="messages")
              if isinstance(part, AIMessageChunk)]
    for node in ("draft", "shorten"):
        text = [part.content for where, part in pieces if where == node and part.content]
        assert len(text) > 1, f"{node} came in {len(text)} pieces"
        used = sum(part.usage_metadata["output_tokens"] for where, part in pieces if where == node and part.usage_metadata)
        assert 0 < used <= 16, f"{node} used {used} tokens"


@check("langgraph: the async graph, three runs at once")
def _():
    async def main():
        graph = StateGraph(State)
        chat = model("auto")

        async def answer(state):
            return {"messages": [await chat.ainvoke(state["messages"])]}

        graph.add_node("answer", answer)
        graph.add_edge(START, "answer")
        graph.add_edge("answer", END)
        app = graph.compile()
        return await asyncio.gather(*(app.ainvoke(ASK) for _ in range(3)))

    for done in asyncio.run(main()):
        assert done["messages"][-1].content.strip()


@tool
def multiply(a: int, b: int) -> int:
    """Multiplies two whole numbers."""
    return a * b


@check("langgraph: an agent calls a tool and reports its result, whole and streamed")
def _():
    chat = model("toolsmith").bind_tools([multiply])
    graph = StateGraph(State)
    graph.add_node("agent", lambda state: {"messages": [chat.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([multiply]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition)
    graph.add_edge("tools", "agent")
    agent = graph.compile()
    ask = {"messages": [HumanMessage("What is 6 times 7?")]}
    same(agent.invoke(ask)["messages"][-1].content, "The tool said 42")
    parts = [part for part, _ in agent.stream(ask, stream_mode="messages") if isinstance(part, AIMessageChunk)]
    assert any(part.tool_call_chunks for part in parts)
    same("".join(part.content for part in parts), "The tool said 42")


finish()
