-- Records as they all are at one instant, and that instant by this server's clock.
-- KEYS: the epoch, then the records of markets.
-- Answers: seconds, microseconds, then what each key holds; 1 for a market that was left to the books.
local answer = redis.call('TIME')
for place, record in ipairs(redis.call('MGET', unpack(KEYS))) do
  if not record and place > 1 then
    local id = string.sub(KEYS[place], #'offer:m:' + 1)
    record = redis.call('SISMEMBER', 'offer:forgotten', id) == 1 and 1
  end
  answer[place + 2] = record
end
return answer
