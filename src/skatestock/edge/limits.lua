-- Takes tokens of one bucket, in one step that no other process can come between.
--
-- Credit is whole microseconds: it grows by one each microsecond, up to the bucket's capacity, and a token costs
-- `interval` of it. What a process holds in advance (a lease) is kept in a field of its own until the process says
-- what it spent, or the lease ends: meanwhile the bucket fills only so far that bucket and leases together never
-- hold more than its capacity. So no process can ever spend what a single bucket would not have given.
--
-- KEYS: the bucket. ARGV: interval, capacity, tokens needed now, tokens wanted in advance, the name of the lease
-- that is given back ('' for none), how many of its tokens are unspent, the name for a new lease, its microseconds.
-- Returns: tokens granted, tokens leased, tokens left, microseconds until the next token, and microseconds until the
-- last lease of others ends (0: there is none, so a refusal is final).
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local needed, wanted = tonumber(ARGV[3]), tonumber(ARGV[4])

local credit, at, leases, leased = capacity, now, {}, 0
local rows = redis.call('HGETALL', KEYS[1])
for place = 1, #rows, 2 do
  local name, value = rows[place], rows[place + 1]
  if name == 'credit' then credit = tonumber(value)
  elseif name == 'at' then at = tonumber(value)
  else
    local tokens, ends = string.match(value, '^(%d+):(%d+)$')
    leases[#leases + 1] = {name = name, tokens = tonumber(tokens), ends = tonumber(ends)}
    leased = leased + tonumber(tokens)
  end
end
-- a clock that was set back must not make the bucket wait for the moment it was set back from
if now < at then at = now end

local function fill_until(moment)
  if moment > at then
    credit = math.min(capacity - leased * interval, credit + (moment - at))
    at = moment
  end
end

table.sort(leases, function(one, other) return one.ends < other.ends end)
local others_end = 0
for _, lease in ipairs(leases) do
  if lease.ends <= now then
    -- its process said nothing: it may have spent all, up to the last moment
    fill_until(lease.ends)
    leased = leased - lease.tokens
    redis.call('HDEL', KEYS[1], lease.name)
  elseif lease.name ~= ARGV[5] then
    others_end = lease.ends - now
  end
end
fill_until(now)
for _, lease in ipairs(leases) do
  if lease.ends > now and lease.name == ARGV[5] then
    leased = leased - lease.tokens
    credit = credit + math.min(tonumber(ARGV[6]), lease.tokens) * interval
    redis.call('HDEL', KEYS[1], lease.name)
  end
end

local granted = math.max(0, math.min(needed, math.floor(credit / interval)))
credit = credit - granted * interval
local ahead = 0
-- towards the end of the bucket nothing is given in advance: no token then waits where nobody asks
if granted == needed then ahead = math.max(0, math.min(wanted, math.floor(credit / interval / 16))) end
if ahead > 0 then
  credit = credit - ahead * interval
  redis.call('HSET', KEYS[1], ARGV[7], string.format('%d:%.0f', ahead, now + ARGV[8]))
end
redis.call('HSET', KEYS[1], 'credit', string.format('%.0f', credit), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((capacity - credit + ARGV[8]) / 1000) + 1000))
local left = math.max(0, math.floor(credit / interval))
return {granted, ahead, left, math.max(0, interval - credit), others_end}
