-- Leave decided markets to the books, each where it still is as it was read.
-- ARGV: of each its id, its record as it was read, its event. Answers how many.
local forgotten = 0
for place = 1, #ARGV, 3 do
  local id = ARGV[place]
  if redis.call('GET', 'offer:m:' .. id) == ARGV[place + 1] then
    redis.call('UNLINK', 'offer:m:' .. id)
    redis.call('ZREM', 'offer:decided', id)
    redis.call('SREM', 'offer:of:' .. ARGV[place + 2], id)
    redis.call('SADD', 'offer:forgotten', id)
    forgotten = forgotten + 1
  end
end
return forgotten
