-- For wrk: one request after another to one of the peers, as it wants to be asked. Arguments: which
-- peer, GET or PUT, and "close" for a connection per request. At the end one line of JSON.
local turn, requests = 0, {}

function init(args)
  local peer, method, close = args[1], args[2], args[3] == "close"
  local headers = close and { ["Connection"] = "close" } or {}
  local body = string.rep("v", 256)
  for n = 0, 99 do
    local key = "key" .. n
    local data = method == "PUT" and body or nil
    if peer == "webdis" then
      requests[n] = wrk.format(method, (method == "PUT" and "/SET/" or "/GET/") .. key, headers, data)
    elseif peer == "etcd" then
      local path = method == "PUT" and "/v3/kv/put" or "/v3/kv/range"
      -- Base64 of "keyNN": all keys have two digits, and three bytes become four.
      local name = args[4 + n]
      local value = string.rep("dnZ2", 85) .. "dg=="
      data = '{"key":"' .. name .. '"' .. (method == "PUT" and ',"value":"' .. value .. '"}' or "}")
      requests[n] = wrk.format("POST", path, headers, data)
    else
      requests[n] = wrk.format(method, "/v1/kv/" .. key, headers, data)
    end
  end
end

function request()
  turn = (turn + 1) % 100
  return requests[turn]
end

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    'JSON {"per_second": %.1f, "p50": %.6f, "p99": %.6f, "errors": %d}',
    summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout))
end
