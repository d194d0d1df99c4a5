-- Count a bet under its key against the player's rate, once a key, and answer with his session.
-- KEYS: 1 his bets of the last minute by key (score: ms), 2 his session.
-- ARGV: 1 now in ms, 2 the bet's key, 3 bets a minute at most, 4 bets and 5 ms of the velocity rule, 6 session ttl in s.
-- Answers: ms to wait (0: he may bet), bets within the velocity window, then balance, currency, version or none.
local now, most = tonumber(ARGV[1]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
local wait = 0
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  if redis.call('ZCARD', KEYS[1]) >= most then
    local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
    wait = math.max(1, tonumber(oldest) + 60000 - now)
  else
    redis.call('ZADD', KEYS[1], now, ARGV[2])
    redis.call('PEXPIRE', KEYS[1], 60000)
  end
end
local fast = redis.call('ZCOUNT', KEYS[1], now - tonumber(ARGV[5]), '+inf')
local session = redis.call('HMGET', KEYS[2], 'balance', 'currency', 'version')
if session[1] then
  redis.call('EXPIRE', KEYS[2], ARGV[6])
end
return {wait, fast, session[1], session[2], session[3]}
