-- For wrk: gets, or gets and puts in turn when asked for "mixed", and at the end one line of
-- JSON with what the client saw. Latencies are in seconds.
local turn, mixed, body = 0, false, string.rep("v", 256)

function init(args)
  mixed = args[1] == "mixed"
end

function request()
  turn = turn + 1
  local path = "/v1/kv/key" .. turn % 100
  if mixed and turn % 2 == 0 then
    return wrk.format("PUT", path, nil, body)
  end
  return wrk.format("GET", path)
end

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    'JSON {"per_second": %.1f, "p50": %.6f, "p95": %.6f, "p99": %.6f, "requests": %d, "errors": %d}',
    summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e6, latency:percentile(95) / 1e6, latency:percentile(99) / 1e6,
    summary.requests, e.connect + e.read + e.write + e.status + e.timeout))
end
