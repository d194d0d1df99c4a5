-- Count bets under their keys against their players' rates, once a key, and answer with the players' sessions.
-- KEYS: of each, his bets of the last minute by key (score: ms), and his session.
-- ARGV: 1 bets a minute at most, 2 ms of the velocity rule, 3 session ttl in s; then of each now in ms and the bet's key.
-- Answers, for each: ms to wait (0: he may bet), bets within the velocity window, then balance, currency, version or none.
local most, window, ttl = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local answers = {}
for i = 1, #KEYS / 2 do
  local bets, session_key = KEYS[2 * i - 1], KEYS[2 * i]
  local now, key = tonumber(ARGV[2 * i + 2]), ARGV[2 * i + 3]
  redis.call('ZREMRANGEBYSCORE', bets, '-inf', now - 60000)
  local wait = 0
  if not redis.call('ZSCORE', bets, key) then
    if redis.call('ZCARD', bets) >= most then
      local oldest = redis.call('ZRANGE', bets, 0, 0, 'WITHSCORES')[2]
      wait = math.max(1, tonumber(oldest) + 60000 - now)
    else
      redis.call('ZADD', bets, now, key)
      redis.call('PEXPIRE', bets, 60000)
    end
  end
  local fast = redis.call('ZCOUNT', bets, now - window, '+inf')
  local session = redis.call('HMGET', session_key, 'balance', 'currency', 'version')
  if session[1] then
    redis.call('EXPIRE', session_key, ttl)
  end
  answers[i] = {wait, fast, session[1], session[2], session[3]}
end
return answers
