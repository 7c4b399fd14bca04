"""What Redis does in one go, in its own Lua: each runs alone, so that counters and records agree whatever dies when.

Keys of a topic: the stream, and beside it the *books*, a hash: ``last`` (offset), ``total`` and ``gone`` (bytes ever
appended and removed) and, for each writer, ``once:<writer>`` (its last number). One key for all: bytes held.
"""

HELD = "#held"

RECORD_OVERHEAD = 96
"""Bytes that a record takes beside header and payload, about (Redis 7, one entry a node at this size)."""

APPEND = f"""
-- header, payload, writer ('' for none), number, most bytes held in the topic, and in all
local writer = ARGV[3]
if writer ~= '' then
  local last = redis.call('HGET', KEYS[2], 'once:' .. writer)
  if last and tonumber(ARGV[4]) <= tonumber(last) then return 0 end
end
local books = redis.call('HMGET', KEYS[2], 'total', 'gone')
local size = #ARGV[1] + #ARGV[2] + {RECORD_OVERHEAD}
local total = tonumber(books[1] or '0') + size
if total - tonumber(books[2] or '0') > tonumber(ARGV[5]) then return -1 end
if tonumber(redis.call('GET', KEYS[3]) or '0') + size > tonumber(ARGV[6]) then return -2 end
total = string.format('%.0f', total)
local id = redis.call('XADD', KEYS[1], '0-*', 'h', ARGV[1], 'p', ARGV[2], 't', total)
local offset = string.sub(id, 3)
redis.call('HSET', KEYS[2], 'total', total, 'last', offset)
redis.call('INCRBY', KEYS[3], size)
if writer ~= '' then redis.call('HSET', KEYS[2], 'once:' .. writer, ARGV[4]) end
return tonumber(offset)
"""

TRIM = """
-- through: removed are records up to there that every reader has committed
local through = tonumber(ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' then
      through = math.min(through, tonumber(string.sub(group[i + 1], 3)))
    end
  end
end
local last = redis.call('XREVRANGE', KEYS[1], '0-' .. string.format('%.0f', through), '-', 'COUNT', 1)
if #last == 0 then return through end
-- Removal first: a full memory lets a script write on that has already freed some.
redis.call('XTRIM', KEYS[1], 'MINID', '=', '0-' .. string.format('%.0f', through + 1))
local gone = tonumber(redis.call('HGET', KEYS[2], 'gone') or '0')
redis.call('HSET', KEYS[2], 'gone', last[1][2][6])
redis.call('DECRBY', KEYS[3], string.format('%.0f', tonumber(last[1][2][6]) - gone))
return through
"""

HEADERS = """
-- first, last, count
local found = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '0-' .. ARGV[1], '0-' .. ARGV[2], 'COUNT', ARGV[3])) do
  found[#found + 1] = entry[1]
  found[#found + 1] = entry[2][2]
end
return found
"""
