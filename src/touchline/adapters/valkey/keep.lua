-- Keep balances in their sessions, each if it is the newest version.
-- KEYS: the sessions. ARGV: 1 session ttl in s; then balance, currency and version of each.
for i, session in ipairs(KEYS) do
  local balance, currency, version = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
  local known = redis.call('HGET', session, 'version')
  if not known or tonumber(known) < tonumber(version) then
    redis.call('HSET', session, 'balance', balance, 'currency', currency, 'version', version)
  end
  redis.call('EXPIRE', session, ARGV[1])
end
return 0
