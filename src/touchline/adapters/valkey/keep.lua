-- Keep a balance in a session if it is the newest version.
-- KEYS: 1 the session. ARGV: 1 balance, 2 currency, 3 version, 4 session ttl in s.
local known = redis.call('HGET', KEYS[1], 'version')
if not known or tonumber(known) < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], 'balance', ARGV[1], 'currency', ARGV[2], 'version', ARGV[3])
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 0
