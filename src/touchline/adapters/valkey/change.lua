-- Replace a market or an event if nobody has since it was read, in one step with all that hangs on it.
-- ARGV: 1 m or e, 2 its id, 3 its record as it was read (empty: none), 4 its body from now on (empty: it stays), 5 its
-- mark from now on (an event's is its first cursor, and stays), 6 and 7 the indexes to be in and to leave, 8 a message's
-- id (empty: none), 9 now in ms, 10 whether readers see the change (1), 11 entries of the history and 12 messages at
-- most; for a market 13 its event's id, 14 that event's body where it is to be made, 15 the event's id that it leaves.
-- Answers: known (the message is), moved and the record as it is, kept (no reader sees any change), changed, its cursor
-- and epoch; or why it can't be done: no epoch, no event, full.
local kind, id, read, body, mark, enters, leaves = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local message, now_ms, seen, event, event_body = ARGV[8], ARGV[9], ARGV[10] == '1', ARGV[13], ARGV[14]
local key = 'offer:' .. kind .. ':' .. id
local epoch = redis.call('GET', 'offer:epoch')
if not epoch then
  return {'no epoch'}
elseif message ~= '' and redis.call('ZSCORE', 'offer:messages', message) then
  return {'known'}
end
local held = redis.call('GET', key) or ''
if held ~= read then
  return {'moved', held}
end
local event_is_new = kind == 'm' and body ~= '' and redis.call('EXISTS', 'offer:e:' .. event) == 0
if event_is_new and event_body == '' then
  return {'no event'}
elseif body ~= '' and seen and redis.call('XLEN', 'offer:history') >= tonumber(ARGV[11]) then
  return {'full'}
end

-- Write a record, and tell of it: the history for the books, the channel for whoever follows.
local function tell(of_kind, of_id, cursor, with_mark, with_body)
  local record = cursor .. ' ' .. with_mark .. ' ' .. with_body
  local clock = redis.call('TIME')
  redis.call('SET', 'offer:' .. of_kind .. ':' .. of_id, record)
  redis.call('XADD', 'offer:history', '*', 'kind', of_kind, 'at', clock[1] .. string.format('%06d', clock[2]),
    'record', record)
  redis.call('PUBLISH', 'offer:changes', epoch .. ' ' .. of_kind .. ' ' .. record)
end

local cursor
if event_is_new then
  cursor = redis.call('INCR', 'offer:cursor')
  redis.call('ZADD', 'offer:made', cursor, event)
  redis.call('ZADD', 'offer:going-on', cursor, event)
  tell('e', event, cursor, cursor, event_body)
end
if body ~= '' and not seen then
  redis.call('SET', key, string.match(held, '^%d+') .. ' ' .. mark .. ' ' .. body)
elseif body ~= '' then
  cursor = redis.call('INCR', 'offer:cursor')
  if kind == 'e' then
    mark = string.match(held, '^%d+ (%d+) ') or cursor
    redis.call('ZADD', 'offer:made', mark, id)
  else
    redis.call('SADD', 'offer:of:' .. event, id)
    if held == '' then
      redis.call('SREM', 'offer:forgotten', id)
    end
    if ARGV[15] ~= '' then
      redis.call('SREM', 'offer:of:' .. ARGV[15], id)
    end
  end
  redis.call('ZREM', leaves, id)
  redis.call('ZADD', enters, cursor, id)
  tell(kind, id, cursor, mark, body)
end
if message ~= '' then
  redis.call('ZADD', 'offer:messages', now_ms, message)
  redis.call('ZREMRANGEBYRANK', 'offer:messages', 0, -1 - tonumber(ARGV[12]))
end
if body == '' or not seen then
  return {'kept'}
end
return {'changed', cursor, epoch}
