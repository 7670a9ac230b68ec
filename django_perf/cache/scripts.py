"""Hold what the Redis server does in one step. A value that outlives its end by a grace is dead for all of it."""

from __future__ import annotations

from hashlib import sha1


class Script:
    """A script of the server, and the name it has there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


# A sealed value begins with 0x81 and its grace; what is left of its physical life is more than that while it lives.
_LIVES = """
local function lives(key)
  local blob = redis.call('GET', key)
  if not blob or blob == '\\128' then return false end
  if string.byte(blob) == 129 and #blob > 5 then
    local ttl, grace = redis.call('PTTL', key), struct.unpack('>I4', blob, 2)
    if ttl >= 0 and ttl <= grace then return false end
  end
  return blob
end
local function put(key, blob, ttl)
  if tonumber(ttl) > 0 then redis.call('SET', key, blob, 'PX', ttl) else redis.call('SET', key, blob) end
end
local function stamp()
  local time = redis.call('TIME')
  return time[1] .. string.format('%06d', time[2])
end
"""
SET = Script(
    _LIVES
    + """
for i, key in ipairs(KEYS) do put(key, ARGV[2 * i - 1], ARGV[2 * i]) end
return stamp()
"""
)
ADD = Script(
    _LIVES
    + """
if lives(KEYS[1]) then return 0 end
put(KEYS[1], ARGV[1], ARGV[2])
return stamp()
"""
)
CARRY = Script("""
for i, key in ipairs(KEYS) do
  local ttl = tonumber(ARGV[2 * i])
  if ttl > 0 then redis.call('SET', key, ARGV[2 * i - 1], 'NX', 'PX', ttl)
  else redis.call('SET', key, ARGV[2 * i - 1], 'NX') end
end
""")
REPLACE = Script(
    _LIVES
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return stamp()
"""
)
CHANGE = Script(
    _LIVES
    + """
local blob = lives(KEYS[1])
local is_changed = 0
if blob and string.match(blob, '^-?%d+$') then
  -- What does not fit into 64 bits is an error, and no change.
  if type(redis.pcall('INCRBY', KEYS[1], ARGV[1])) == 'number' then
    blob, is_changed = redis.call('GET', KEYS[1]), 1
  end
end
return {blob, stamp(), is_changed}
"""
)
TOUCH = Script(
    _LIVES
    + """
local blob = lives(KEYS[1])
if not blob then return -1 end
local grace = 0
if string.byte(blob) == 129 and #blob > 5 then grace = struct.unpack('>I4', blob, 2) end
if tonumber(ARGV[1]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1] + grace) else redis.call('PERSIST', KEYS[1]) end
return grace
"""
)
DELETE = Script(
    _LIVES
    + """
local lived = 0
for _, key in ipairs(KEYS) do
  if lives(key) then lived = lived + 1 end
  redis.call('UNLINK', 'untracked:lease:' .. key)
  if tonumber(ARGV[1]) > 0 then put(key, '\\128', ARGV[1]) else redis.call('UNLINK', key) end
end
return {lived, stamp()}
"""
)
RENEW_LEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
""")
END_LEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
""")
STORE_LEASED = Script(
    _LIVES
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
redis.call('UNLINK', KEYS[2])
if ARGV[4] == '1' and lives(KEYS[1]) then return 0 end
put(KEYS[1], ARGV[1], ARGV[2])
return stamp()
"""
)
