-- One market as polls read it, so that no reader ever sees a version go back, whatever is evicted and whoever is slow.
-- KEYS: 1 the market's hash: version and body, good before until (ms); writers, "token deadline;" of each change under
-- way; lease, "token deadline" of the reader who may fill an empty hash; floor, a version that somebody has seen.
-- ARGV: 1 a verb, 2 the caller's token, 3 for how long in ms: what he announces holds, or his body is good; 4 version, 5
-- body. Verbs: look, and fill with what was read instead, are a reader's; change, before his transaction, and keep,
-- after it, a writer's. While a change is under way the body is not shown: its authority may have replaced it already.
-- Answers: to look the body or false; to the others nothing.
local FORGOTTEN_MS = 60000
local key, verb, token, ms, new, text = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local held = redis.call('HMGET', key, 'version', 'body', 'until', 'writers', 'lease', 'floor')
local version, body, good_until = tonumber(held[1]), held[2], tonumber(held[3])
local writers, lease, floor = held[4], held[5], math.max(tonumber(held[6]) or 0, version or 0)

local under_way, mine, died = '', false, false
for writer, deadline in string.gmatch(writers or '', '(%S+) (%d+);') do
  if writer == token then
    mine = true
  elseif now < tonumber(deadline) then
    under_way = under_way .. writer .. ' ' .. deadline .. ';'
  else
    died = true -- and nobody knows whether what he changed was committed: only the authority does
  end
end
if died or body and now >= good_until then
  body = false
end

-- The hash anew. Without a body it is only kept for those who may still write one, and may not go below the floor.
local function write(shown, of_version, good, at_work, leased)
  redis.call('DEL', key)
  if shown then
    redis.call('HSET', key, 'version', of_version, 'body', shown, 'until', good)
  elseif at_work ~= '' or leased then
    redis.call('HSET', key, 'floor', floor)
  end
  if at_work ~= '' then
    redis.call('HSET', key, 'writers', at_work)
  end
  if leased then
    redis.call('HSET', key, 'lease', leased)
  end
  redis.call('PEXPIRE', key, FORGOTTEN_MS)
end

if verb == 'look' then
  if body and under_way == '' then
    return body
  elseif under_way == '' and not (lease and now < tonumber(string.match(lease, '%d+$'))) then
    write(false, nil, nil, '', token .. ' ' .. now + ms)
  end
  return false
elseif verb == 'change' then
  write(body, version, good_until, under_way .. token .. ' ' .. now + ms .. ';', false)
  return
end

-- Whoever keeps or fills has seen a version. He writes it over an older one; into an empty hash only while his
-- announcement or his lease has been there since before his transaction or his reading: it goes with what is evicted.
local may_begin = mine and not died or verb == 'fill' and lease and string.match(lease, '^%S+') == token
if new and (body and version < new or not body and may_begin and floor <= new) then
  write(text, new, now + ms, under_way, false)
  return
end
if verb == 'keep' and new and body and version == new and text ~= body then
  body = false -- a new name or the like: of two such changes only the authority knows the later
end
floor = math.max(floor, new or 0)
write(body, version, good_until, under_way, verb == 'fill' and lease)
