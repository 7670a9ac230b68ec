"""Hold what the Redis server does in one step. A value that outlives its end by a grace is dead for all of it."""

from __future__ import annotations

from hashlib import sha1


class Script:
    """A script of the server, and the name it has there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


# A sealed value begins with 0x81 and its grace; what is left of its physical life is more than that while it lives.
# What is being computed was begun before a key is written or deleted: its lease ends, and it is not stored.
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
local function end_lease(key)
  redis.call('UNLINK', 'untracked:lease:' .. key)
end
local function put(key, blob, ttl)
  if tonumber(ttl) > 0 then redis.call('SET', key, blob, 'PX', ttl) else redis.call('SET', key, blob) end
  -- Not before: a script that has written may write on where the memory is full.
  end_lease(key)
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
# The first key holds when this database was first seen: an emptied one may have forgotten a write, or a tombstone,
# whose writer has not reached the table yet. The first argument is how long that may last, in microseconds.
CARRY = Script(
    _LIVES
    + """
local now = stamp()
local since = redis.call('GET', KEYS[1])
if not since then
  redis.call('SET', KEYS[1], now)
  return 0
end
if now - since < tonumber(ARGV[1]) then return 0 end
for i = 2, #KEYS do
  local ttl = tonumber(ARGV[2 * i - 1])
  if ttl > 0 then redis.call('SET', KEYS[i], ARGV[2 * i - 2], 'NX', 'PX', ttl)
  else redis.call('SET', KEYS[i], ARGV[2 * i - 2], 'NX') end
end
return 1
"""
)
REPLACE = Script(
    _LIVES
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
end_lease(KEYS[1])
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
    end_lease(KEYS[1])
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
  end_lease(key)
  if tonumber(ARGV[1]) > 0 then put(key, '\\128', ARGV[1]) else redis.call('UNLINK', key) end
end
return {lived, stamp()}
"""
)
BURY_OLD = Script(
    _LIVES
    + """
for i, key in ipairs(KEYS) do
  local blob = redis.call('GET', key)
  if not blob or blob == ARGV[i] then put(key, '\\128', ARGV[#ARGV]) end
end
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
