-- Records as they all are at one instant, and that instant by this server's clock.
-- KEYS: the epoch, then the records.
-- Answers: seconds, microseconds, then what each key holds.
local answer = redis.call('TIME')
for place, record in ipairs(redis.call('MGET', unpack(KEYS))) do
  answer[place + 2] = record
end
return answer
