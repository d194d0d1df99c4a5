-- What pods know of markets, each kept at its newest version.
-- KEYS: a market's key each, holding "version instant body". ARGV: 1 for how long one is kept, in ms; then of each key
-- its version, the instant at which it stood (microseconds since 1970) and its body.
for number, key in ipairs(KEYS) do
  local version, at, body = ARGV[3 * number - 1], ARGV[3 * number], ARGV[3 * number + 1]
  local held = redis.call('GET', key)
  local held_version, held_at = string.match(held or '0 0 ', '^(%d+) (%d+) ')
  local newer = tonumber(version) - tonumber(held_version)
  if newer > 0 or newer == 0 and tonumber(at) > tonumber(held_at) then
    redis.call('SET', key, version .. ' ' .. at .. ' ' .. body, 'PX', ARGV[1])
  end
end
