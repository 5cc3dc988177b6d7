// The official `openai` npm SDK against the gateway, in short: answers, streams, money, typed errors, retries.

import OpenAI from "openai";
import assert from "node:assert/strict";

const url = process.env.LIVE_URL;
const connect = (key) => new OpenAI({ baseURL: `${url}/v1`, apiKey: process.env[`LIVE_KEY_${key.toUpperCase()}`] ?? key });
const client = connect("app");
const ask = { messages: [{ role: "user", content: "Say something about the sea." }], max_tokens: 12, temperature: 0 };
let failed = 0;

async function check(name, body) {
  const began = performance.now();
  try {
    await body();
    console.log(`PASS  node: ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  node: ${name}: ${error.name}: ${String(error.message).replaceAll(/\s+/g, " ").slice(0, 400)}`);
  }
}

async function requests(...labels) {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith("tollgate_requests_total{") && labels.every((label) => line.includes(label)));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

// The error of `call`, of the SDK's own class; and nothing was tried again.
async function refused(call, kind, status, code) {
  const before = await requests();
  const error = await call().then(() => assert.fail("no error"), (error) => error);
  assert.ok(error instanceof kind, `${error.name}: ${error.message}`);
  assert.deepEqual([error.status, error.code], [status, code]);
  assert.equal(await requests(), before + 1, "requests");
  return error;
}

await check("a whole answer, with its headers", async () => {
  const { data, response } = await client.chat.completions.create({ model: "auto", ...ask }).withResponse();
  assert.ok(data.choices[0].message.content.trim());
  assert.equal(data.model, response.headers.get("x-tollgate-model"));
  assert.ok(Number(response.headers.get("x-tollgate-cost-usd")) > 0);
});

await check("a stream is the whole answer in pieces, with usage and cost", async () => {
  const whole = await client.chat.completions.create({ model: "small", ...ask });
  const stream = await client.chat.completions.create({
    model: "small", stream: true, stream_options: { include_usage: true }, ...ask });
  let text = "", usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.ok(usage.completion_tokens > 0 && Number(usage.cost_usd) > 0, JSON.stringify(usage));
});

await check("typed errors, none tried again", async () => {
  const call = (who, body) => () => who.chat.completions.create({ ...ask, ...body });
  await refused(call(connect("tg-not-a-key"), { model: "auto" }), OpenAI.AuthenticationError, 401, "invalid_api_key");
  const bad = await refused(call(client, { model: "auto", max_tokens: 0 }), OpenAI.BadRequestError, 400, "invalid_value");
  assert.equal(bad.param, "max_tokens");
  await refused(call(client, { model: "gpt-9" }), OpenAI.NotFoundError, 404, "model_not_found");
  await refused(call(connect("narrow"), { model: "large" }), OpenAI.PermissionDeniedError, 403, "model_not_allowed");
});

await check("a spent budget is insufficient_quota and is not tried again", async () => {
  const broke = connect("broke");
  for (let tries = 0; tries < 50; tries += 1) {
    const before = await requests('status="insufficient_quota"');
    const error = await broke.chat.completions.create({ model: "small", ...ask }).then(() => null, (error) => error);
    if (!error) continue;
    assert.ok(error instanceof OpenAI.RateLimitError, error.message);
    assert.deepEqual([error.code, error.status], ["insufficient_quota", 429]);
    assert.equal(await requests('status="insufficient_quota"'), before + 1, "requests");
    return;
  }
  assert.fail("the budget never ran out");
});

await check("a deadline is a 504, once", async () => {
  const late = { headers: { "x-tollgate-deadline-ms": "300" } };
  await refused(() => client.chat.completions.create({ model: "hang", ...ask }, late), OpenAI.APIError, 504, "deadline_exceeded");
});

await check("a stream that its engine broke off raises", async () => {
  const stream = await client.chat.completions.create({ model: "cut", stream: true, ...ask });
  let text = "";
  await assert.rejects(async () => {
    for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  }, (error) => error.code === "upstream_broken");
  assert.equal(text, "three words only ");
});

await check("an aborted stream is charged for what had passed", async () => {
  const cancelled = () => requests('model="slow"', 'status="cancelled"');
  const before = await cancelled();
  const stream = await client.chat.completions.create({ model: "slow", stream: true, ...ask, max_tokens: 1000 });
  let pieces = 0;
  for await (const _ of stream) if ((pieces += 1) === 5) break;
  const deadline = Date.now() + 60_000;
  while ((await cancelled()) !== before + 1) {
    assert.ok(Date.now() < deadline, "waited 60 s for the cancelled request");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

process.exit(failed ? 1 : 0);
