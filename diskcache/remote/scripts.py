"""What the server runs: each script is atomic, and touches one item and the set of its tag.

The items of a tag are members of a set, `name:T` + tag, so that :meth:`RemoteCache.evict` finds
them. A member is only a hint: whether an item has the tag stands in its value. What is stale in a
set is removed a little with each write to it, and the set lasts as long as its items may.

On a Cluster all keys of a script are in one slot. While that moves, some may be on one node and
some on another. Then a script of several keys does nothing and says `MOVING`, and cluster.py has
its steps, of one key each.
"""

from __future__ import annotations

import hashlib


class Script:
    """A script of one key."""

    def __init__(self, *parts: str) -> None:
        """Take its text, in pieces."""
        self.text: str = '\n'.join(parts)
        self.sha: str = hashlib.sha1(self.text.encode()).hexdigest()  # as the server calls it

    def command(self, key: bytes, *args: bytes | int) -> tuple[bytes | int | str, ...]:
        """Return the command that runs it."""
        return ('EVALSHA', self.sha, 1, key, *args)


#: `moving()`: whether the slot of the script's key moves: then of a key that is there and one that
#: is not, the latter may be elsewhere, and the node refuses to look. No key is called `name:{n}-`.
_MOVING = """
local function moving()
  local head = string.match(KEYS[1], '^[^{]*{%d+}')  -- on a Cluster only
  return head and type(redis.pcall('EXISTS', KEYS[1], head .. '-')) == 'table'
end
local MOVING = {err = 'MOVING the slot moves'}
"""

#: `tag_of(item)`: the tag in the value of a key, as bytes, or nil. `note(set, item, ttl)`: note an
#: item in the set of its tag, and make the set last as long. `index(item, sets)`: the same, with
#: the set of the item's tag, the name of which begins with `sets` ('': do nothing).
_TAGS = """
local function tag_of(item)
  local head = redis.call('GETRANGE', item, 0, 4)
  if string.sub(head, 1, 1) ~= 't' or #head < 5 then return nil end
  return redis.call('GETRANGE', item, 5, 4 + struct.unpack('>I4', head, 2))
end
local function note(set, item, ttl)
  local left = redis.call('PTTL', set)
  redis.call('SADD', set, item)
  if ttl == -1 then
    redis.call('PERSIST', set)
  elseif left == -2 or (left >= 0 and left < ttl) then
    redis.call('PEXPIRE', set, ttl)
  end
end
local function index(item, sets)
  local tag = sets ~= '' and tag_of(item)
  if not tag then return end
  local set = sets .. tag
  note(set, item, redis.call('PTTL', item))
  for _, other in ipairs(redis.call('SRANDMEMBER', set, 2)) do
    if tag_of(other) ~= tag then redis.call('SREM', set, other) end
  end
end
"""

#: `write(item, value, px, sets)`: px is a number of ms, '' for no expiry, 'k' to keep it as it is.
_WRITE = """
local function write(item, value, px, sets)
  if px == 'k' then
    redis.call('SET', item, value, 'KEEPTTL')
  elseif px == '' then
    redis.call('SET', item, value)
  else
    redis.call('SET', item, value, 'PX', px)
  end
  index(item, sets)
end
"""

#: ARGV: value, px, sets, when ('' always, 'n' if there is no item, 'c' if its value is ARGV[5]).
STORE = Script(
    _MOVING,
    _TAGS,
    _WRITE,
    """
local item, when = KEYS[1], ARGV[4]
if ARGV[3] ~= '' and string.sub(ARGV[1], 1, 1) == 't' and moving() then return MOVING end
if when == 'n' and redis.call('EXISTS', item) == 1 then return 0 end
if when == 'c' and redis.call('GET', item) ~= ARGV[5] then return 0 end
write(item, ARGV[1], ARGV[2], ARGV[3])
return 1
""",
)

#: ARGV: px or '', sets.
TOUCH = Script(
    _MOVING,
    _TAGS,
    """
if ARGV[2] ~= '' and tag_of(KEYS[1]) and moving() then return MOVING end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[1] == '' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
index(KEYS[1], ARGV[2])
return 1
""",
)

#: Value and ms left (-1: no expiry), of one moment.
READ = Script("return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}")

#: ARGV: the value that the item must have.
DELETE_IF = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])
""")

#: ARGV: delta; what to store if there is no item, or ''. Returns the sum as a text, since a number
#: of Lua's has 53 bits; 'missing', 'overflow', or 'other' if the value is no plain int.
#: What else the server refuses, being full for instance, is its error.
INCREMENT = Script("""
local value = redis.call('GET', KEYS[1])
if not value then
  if ARGV[2] == '' then return 'missing' end
  redis.call('SET', KEYS[1], ARGV[2])
  return ARGV[2]
end
if not string.find(value, '^-?%d+$') then return 'other' end
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) ~= 'table' then return redis.call('GET', KEYS[1]) end
for _, text in ipairs({'overflow', 'out of range'}) do
  if string.find(sum.err, text) then return 'overflow' end
end
return sum
""")

#: KEYS: the set of the tag. ARGV: tag, how many members to take. Returns how many there were, and
#: how many items are removed.
EVICT = Script(
    _MOVING,
    _TAGS,
    """
if moving() then return MOVING end
local members, count = redis.call('SPOP', KEYS[1], ARGV[2]), 0
for _, item in ipairs(members) do
  if tag_of(item) == ARGV[1] then count = count + redis.call('UNLINK', item) end
end
return {#members, count}
""",
)

#: KEYS: an item. ARGV: the tag that it must have.
EVICT_ITEM = Script(
    _TAGS, "return tag_of(KEYS[1]) == ARGV[1] and redis.call('UNLINK', KEYS[1]) or 0"
)

#: KEYS: the set of a tag. ARGV: item, ms left (-1: no expiry).
NOTE = Script(_TAGS, 'note(KEYS[1], ARGV[1], tonumber(ARGV[2]))')

# A queue is a sorted set, `name:Q` + prefix, of the numbers in the keys of its items, which are
# items like others. A number whose item is gone is dropped by whoever comes across it.

#: KEYS: the queue. ARGV: what the items' keys begin with, value, px, sets, side.
PUSH = Script(
    _MOVING,
    _TAGS,
    _WRITE,
    """
if moving() then return MOVING end
local back = ARGV[5] == 'back'
local last = redis.call(back and 'ZREVRANGE' or 'ZRANGE', KEYS[1], 0, 0)[1]
local step, number = back and 1 or -1, 500000000000000
if last then number = tonumber(last) + step end
local digits = string.format('%015.0f', number)
while redis.call('EXISTS', ARGV[1] .. digits) == 1 do  -- of who is between two steps
  number = number + step
  digits = string.format('%015.0f', number)
end
write(ARGV[1] .. digits, ARGV[2], ARGV[3], ARGV[4])
redis.call('ZADD', KEYS[1], digits, digits)
return digits
""",
)

#: KEYS: the queue. ARGV: what the items' keys begin with, side, how many to pass over. Returns
#: digits, value, ms left; nothing if it is empty; 0 to be called again, after so many were dropped.
PEEK = Script(
    _MOVING,
    """
if moving() then return MOVING end
local range = ARGV[2] == 'front' and 'ZRANGE' or 'ZREVRANGE'
for _ = 1, 1000 do
  local digits = redis.call(range, KEYS[1], ARGV[3], ARGV[3])[1]
  if not digits then return false end
  local item = ARGV[1] .. digits
  local value = redis.call('GET', item)
  if value then return {digits, value, redis.call('PTTL', item)} end
  redis.call('ZREM', KEYS[1], digits)
end
return 0
""",
)

#: KEYS: the queue. ARGV: what the items' keys begin with, digits, the value that it must have.
TAKE = Script(
    _MOVING,
    """
if moving() then return MOVING end
local item = ARGV[1] .. ARGV[2]
if redis.call('GET', item) ~= ARGV[3] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[2])
return redis.call('UNLINK', item)
""",
)

#: All, by what the server calls them.
BY_SHA = {
    script.sha: script
    for script in (
        *(STORE, TOUCH, READ, DELETE_IF, INCREMENT, EVICT, EVICT_ITEM, NOTE, PUSH, PEEK, TAKE),
    )
}
