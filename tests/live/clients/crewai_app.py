"""CrewAI against the gateway: one agent with one task, over `auto`."""

import os

os.environ.update(CREWAI_DISABLE_TELEMETRY="true", OTEL_SDK_DISABLED="true", CREWAI_TRACING_ENABLED="false")

from crewai import LLM, Agent, Crew, Task  # noqa: E402  (its settings are read at import)

from check import check, finish  # noqa: E402
from gateway import metric  # noqa: E402

URL = os.environ["LIVE_URL"]


def crew(stream):
    llm = LLM(model="auto", custom_openai=True, base_url=f"{URL}/v1", api_key=os.environ["LIVE_KEY_APP"], max_tokens=48,
              temperature=0, stream=stream)
    agent = Agent(role="Sailor", goal="Talk about the sea", backstory="You have sailed for years.", llm=llm, max_iter=2)
    task = Task(description="Say one sentence about the sea.", expected_output="One sentence.", agent=agent)
    return Crew(agents=[agent], tasks=[task], verbose=False)


for streamed in (False, True):
    @check(f"crewai: one agent, one task, over auto, {'streamed' if streamed else 'whole'}")
    def _(streamed=streamed):
        before = metric(URL, "tollgate_requests_total", status="ok")
        result = crew(streamed).kickoff()
        assert result.raw.strip(), result
        assert result.token_usage.completion_tokens > 0, result.token_usage
        assert metric(URL, "tollgate_requests_total", status="ok") > before


finish()
