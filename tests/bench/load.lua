-- What wrk sends: BENCH_PATH and BENCH_BODY (none: GET) come from the environment. In both, %V goes round through
-- BENCH_VMS numbers, so that requests name so many VMs, and %N is the request's own number, so that each names another
-- participant. What can be made before the run is: the load generator must not be what is measured.
local path = os.getenv("BENCH_PATH")
local body = os.getenv("BENCH_BODY")
local vms = tonumber(os.getenv("BENCH_VMS"))
local headers = { ["Accept"] = "application/json" }
if body then
        headers["Content-Type"] = "application/json"
end
local number = 0
local ready = {}

local function filled(text, vm)
        return text and (text:gsub("%%N", tostring(number)):gsub("%%V", tostring(vm)))
end

local function made(vm)
        return wrk.format(body and "POST" or "GET", filled(path, vm), headers, filled(body, vm))
end

function init()
        if not (path .. (body or "")):find("%%N") then
                for vm = 0, vms - 1 do
                        ready[vm] = made(vm)
                end
        end
end

function request()
        number = number + 1
        return ready[number % vms] or made(number % vms)
end

-- One line of JSON that the harness reads.
function done(summary, latency)
        io.write(string.format(
                '\nRESULT {"requests": %d, "microseconds": %d, "refused": %d, "broken": %d, "p50": %d, "p99": %d}\n',
                summary.requests, summary.duration, summary.errors.status,
                summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
                latency:percentile(50), latency:percentile(99)))
end
