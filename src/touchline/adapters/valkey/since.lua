-- What changed after a cursor, each market and event as it is now, in the order of their last changes.
-- ARGV: 1 the cursor, 2 how many at most, 3 how many of the decided markets and 4 of the ended events, the latest, 5
-- whether events too (1).
-- Answers: the epoch (false: none), the cursor to go on from, whether there is more (1), then kind and record of each.
local after, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = redis.call('MGET', 'offer:epoch', 'offer:cursor')
local found = {}

local function look(kind, index, most)
  local first = after
  if most then
    local beyond = redis.call('ZREVRANGE', index, most, most, 'WITHSCORES')[2]
    first = math.max(first, tonumber(beyond or 0))
  end
  local range = redis.call('ZRANGEBYSCORE', index, '(' .. string.format('%.0f', first), '+inf', 'WITHSCORES',
    'LIMIT', 0, limit + 1)
  for place = 1, #range, 2 do
    found[#found + 1] = {tonumber(range[place + 1]), kind, range[place]}
  end
end

look('m', 'offer:undecided')
look('m', 'offer:decided', tonumber(ARGV[3]))
if ARGV[5] == '1' then
  look('e', 'offer:going-on')
  look('e', 'offer:ended', tonumber(ARGV[4]))
end
table.sort(found, function(one, other) return one[1] < other[1] end)
local more = #found > limit
local upto = more and string.format('%.0f', found[limit][1]) or held[2] or '0'
local answer = {held[1], upto, more and 1 or 0}
for place = 1, math.min(#found, limit) do
  local kind = found[place][2]
  answer[#answer + 1] = kind
  answer[#answer + 1] = redis.call('GET', 'offer:' .. kind .. ':' .. found[place][3])
end
return answer
