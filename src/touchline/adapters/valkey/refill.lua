-- Put markets and events, oldest first, into an authority that has no epoch yet.
-- ARGV: for each m or e, its id, a market's mark, its body, the index to be in, a market's event, whether it is to be
-- recorded (1). Answers nothing.
for place = 1, #ARGV, 7 do
  local kind, id, mark, body = ARGV[place], ARGV[place + 1], ARGV[place + 2], ARGV[place + 3]
  local cursor = redis.call('INCR', 'offer:cursor')
  if kind == 'e' then
    mark = cursor
    redis.call('ZADD', 'offer:made', cursor, id)
  else
    redis.call('SADD', 'offer:of:' .. ARGV[place + 5], id)
  end
  local record = cursor .. ' ' .. mark .. ' ' .. body
  redis.call('SET', 'offer:' .. kind .. ':' .. id, record)
  redis.call('ZADD', ARGV[place + 4], cursor, id)
  if ARGV[place + 6] == '1' then
    local clock = redis.call('TIME')
    redis.call('XADD', 'offer:history', '*', 'kind', kind, 'at', clock[1] .. string.format('%06d', clock[2]),
      'record', record)
  end
end
