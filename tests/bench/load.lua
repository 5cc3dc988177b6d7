-- One chat request for wrk, whole or streamed (STREAM=1), and the result as one line of JSON.
local streamed = os.getenv("STREAM") == "1"
local body = '{"model":"' .. (os.getenv("MODEL") or "auto") .. '","messages":['
  .. '{"role":"system","content":"You are a helpful assistant."},'
  .. '{"role":"user","content":"Name three rivers in Europe and the seas they flow into."}],"max_tokens":64'
wrk.method = "POST"
wrk.body = body .. (streamed and ',"stream":true}' or '}')
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("KEY") or "sk-loopback")

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
