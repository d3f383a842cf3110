/**
 * What happens to the work queue inside Redis, each step whole or not at all.
 *
 * Of one queue, all under one hash tag, so that a cluster keeps them together:
 *
 * - `items`: by key, JSON `[group, size, expiry, attempts, additions]`
 * - `group:NAME`: the group's keys by when they are to be taken; what is in hand is to be taken when its lease has run
 *   out, so that a dead worker's items come back by themselves
 * - `hands`: by key, JSON `[lease, additions, due]` of who took it last, until that one is heard from
 * - `ready`: groups with something to be taken, by whose turn it is; `waiting`: the others, by when they are due
 * - `rests`: until when a group rests
 * - `expiries`: keys by their expiry
 * - `given-up`: what expired before it was done, newest first, JSON `[key, group, attempts, expiry]`
 */
import { type Script, script } from './client.ts';

/** Items that are remembered as given up. */
const MOST_GIVEN_UP = 10_000;

const COMMON = `
local base = KEYS[1]
local items, hands, ready, waiting = base .. ':items', base .. ':hands', base .. ':ready', base .. ':waiting'
local rests, expiries, givenUp = base .. ':rests', base .. ':expiries', base .. ':given-up'
local now = tonumber(ARGV[1])

local function groupKey(group) return base .. ':group:' .. group end

local function makeReady(group)
  if redis.call('ZSCORE', ready, group) then return 0 end
  redis.call('ZADD', ready, redis.call('INCR', base .. ':turn'), group)
  return 1
end

-- Puts a group where it belongs after a change of its items or its rest. Gives 1 when it became ready.
local function place(group)
  local first = redis.call('ZRANGE', groupKey(group), 0, 0, 'WITHSCORES')
  if not first[1] then
    redis.call('ZREM', ready, group)
    redis.call('ZREM', waiting, group)
    redis.call('HDEL', rests, group)
    return 0
  end
  local at = math.max(tonumber(first[2]), tonumber(redis.call('HGET', rests, group) or '0'))
  if at <= now then
    redis.call('ZREM', waiting, group)
    return makeReady(group)
  end
  redis.call('ZREM', ready, group)
  redis.call('ZADD', waiting, at, group)
  return 0
end

local function drop(key, group)
  redis.call('HDEL', items, key)
  redis.call('HDEL', hands, key)
  redis.call('ZREM', expiries, key)
  redis.call('ZREM', groupKey(group), key)
end

local function giveUp(key, item)
  drop(key, item[1])
  redis.call('LPUSH', givenUp, cjson.encode({key, item[1], item[4], item[3]}))
  redis.call('LTRIM', givenUp, 0, ${MOST_GIVEN_UP - 1})
end
`;

function queueScript(lua: string): Script {
  return script(COMMON + lua);
}

/**
 * ARGV: now, `1` to leave those alone that are there, then key, group, size and expiry of each item.
 * Gives how many were added, and how many groups became ready.
 */
export const ADD = queueScript(`
local added, woken = 0, 0
for index = 3, #ARGV, 4 do
  local key, group, size, expiry = ARGV[index], ARGV[index + 1], tonumber(ARGV[index + 2]), tonumber(ARGV[index + 3])
  local old = redis.call('HGET', items, key)
  if not old then
    redis.call('HSET', items, key, cjson.encode({group, size, expiry, 0, 1}))
    redis.call('ZADD', expiries, expiry, key)
    redis.call('ZADD', groupKey(group), now, key)
    added = added + 1
    woken = woken + place(group)
  elseif ARGV[2] ~= '1' then
    local item = cjson.decode(old)
    redis.call('HSET', items, key, cjson.encode({group, size, expiry, item[4], item[5] + 1}))
    redis.call('ZADD', expiries, expiry, key)
    if item[1] ~= group then
      local at = redis.call('ZSCORE', groupKey(item[1]), key)
      redis.call('ZREM', groupKey(item[1]), key)
      redis.call('ZADD', groupKey(group), at or now, key)
      place(item[1])
      woken = woken + place(group)
    end
  end
end
return {added, woken}
`);

/**
 * Shows what could be taken, in the order of turns. ARGV: now, how many ready groups to pass over, how many to show, how
 * many items of each, how many in all.
 *
 * Gives where to go on, whether there is more, when the next group is due (or ''), then of each group its name and a
 * list of key, item and due.
 */
export const PEEK = queueScript(`
for _, group in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, 500)) do
  redis.call('ZREM', waiting, group)
  makeReady(group)
end
local offset, most, left = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local more, shown = 0, {}
for _, group in ipairs(redis.call('ZRANGE', ready, offset, offset + tonumber(ARGV[3]) - 1)) do
  if left <= 0 then break end
  local limit = math.min(most, left)
  local found = redis.call('ZRANGEBYSCORE', groupKey(group), '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
  local live, expired = {}, false
  for index = 1, #found, 2 do
    local raw = redis.call('HGET', items, found[index])
    local item = raw and cjson.decode(raw)
    if item and item[3] >= now then
      live[#live + 1] = found[index]
      live[#live + 1] = raw
      live[#live + 1] = found[index + 1]
      left = left - 1
    else
      expired = true
      if item then giveUp(found[index], item) else redis.call('ZREM', groupKey(group), found[index]) end
    end
  end
  if #found == limit * 2 then more = 1 end
  if expired or #live == 0 then place(group) end
  if redis.call('ZSCORE', ready, group) then offset = offset + 1 end
  if #live > 0 then
    shown[#shown + 1] = group
    shown[#shown + 1] = live
  end
end
if redis.call('ZCARD', ready) > offset then more = 1 end
local next = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
return {offset, more, next[2] or '', shown}
`);

/**
 * Takes items, unless somebody was faster. ARGV: now, the end of the lease, its name, then keys. Gives the keys that
 * were taken; their groups go to the end of the line.
 */
export const CLAIM = queueScript(`
local taken, groups = {}, {}
for index = 4, #ARGV do
  local key = ARGV[index]
  local raw = redis.call('HGET', items, key)
  if raw then
    local item = cjson.decode(raw)
    local at = tonumber(redis.call('ZSCORE', groupKey(item[1]), key) or '')
    if at and at <= now then
      redis.call('HSET', hands, key, cjson.encode({ARGV[3], item[5], at}))
      redis.call('ZADD', groupKey(item[1]), tonumber(ARGV[2]) + 1, key)
      taken[#taken + 1] = key
      if groups[#groups] ~= item[1] then groups[#groups + 1] = item[1] end
    end
  end
end
for _, group in ipairs(groups) do
  redis.call('ZREM', ready, group)
  place(group)
end
return taken
`);

/**
 * Renews leases. ARGV: now, their new end, then key and lease of each item. Gives the places, from 0 on, of those that are
 * in this hand no longer.
 */
export const RENEW = queueScript(`
local lost, groups = {}, {}
for index = 3, #ARGV, 2 do
  local key = ARGV[index]
  local raw, rawItem = redis.call('HGET', hands, key), redis.call('HGET', items, key)
  if raw and rawItem and cjson.decode(raw)[1] == ARGV[index + 1] then
    local group = cjson.decode(rawItem)[1]
    redis.call('ZADD', groupKey(group), tonumber(ARGV[2]) + 1, key)
    groups[group] = true
  else
    lost[#lost + 1] = (index - 3) / 2
  end
end
for group in pairs(groups) do place(group) end
return lost
`);

/**
 * Ends a lease. ARGV: now, key, lease, `finish`, `postpone` or `release`, when a postponed item is due. Gives 1 when it
 * was as asked, and 1 when its group became ready.
 */
export const END = queueScript(`
local key, how = ARGV[2], ARGV[4]
local raw, rawItem = redis.call('HGET', hands, key), redis.call('HGET', items, key)
local hand = raw and cjson.decode(raw)
if not rawItem or not hand or hand[1] ~= ARGV[3] then return {0, 0} end
local item = cjson.decode(rawItem)
redis.call('HDEL', hands, key)
local done = 1
if how == 'finish' and item[5] == hand[2] then
  drop(key, item[1])
elseif how == 'postpone' then
  item[4] = item[4] + 1
  redis.call('HSET', items, key, cjson.encode(item))
  redis.call('ZADD', groupKey(item[1]), tonumber(ARGV[5]), key)
else
  redis.call('ZADD', groupKey(item[1]), hand[3], key)
  done = 0
end
return {done, place(item[1])}
`);

/** ARGV: now, group, until when it rests. */
export const REST = queueScript(`
if redis.call('EXISTS', groupKey(ARGV[2])) == 1 then
  redis.call('HSET', rests, ARGV[2], ARGV[3])
  place(ARGV[2])
end
return 0
`);

/**
 * ARGV: now, group, how many later items to pass over, how many to look at. Gives how many to pass over next time,
 * whether there is more, and 1 when the group became ready.
 */
export const HASTEN = queueScript(`
local group, offset, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('HDEL', rests, group)
local later = redis.call('ZRANGEBYSCORE', groupKey(group), '(' .. ARGV[1], '+inf', 'LIMIT', offset, most)
for _, key in ipairs(later) do
  if redis.call('HEXISTS', hands, key) == 1 then
    offset = offset + 1
  else
    redis.call('ZADD', groupKey(group), now, key)
  end
end
return {offset, #later == most and 1 or 0, place(group)}
`);

/** ARGV: now, key. */
export const REMOVE = queueScript(`
local raw = redis.call('HGET', items, ARGV[2])
if raw then
  local group = cjson.decode(raw)[1]
  drop(ARGV[2], group)
  place(group)
end
return 0
`);

/** Gives up what expired. ARGV: now, how many at most. Gives how many they were. */
export const TRIM = queueScript(`
local expired = redis.call('ZRANGEBYSCORE', expiries, '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
for _, key in ipairs(expired) do
  local raw = redis.call('HGET', items, key)
  if raw then
    local item = cjson.decode(raw)
    giveUp(key, item)
    place(item[1])
  else
    redis.call('ZREM', expiries, key)
  end
end
return #expired
`);

/** ARGV: now, cursor (`0` at first), group or '' for all. Gives the next cursor, and a list of key, item and due. */
export const LIST = queueScript(`
local page
if ARGV[3] == '' then
  page = redis.call('HSCAN', items, ARGV[2], 'COUNT', 256)
else
  page = redis.call('ZSCAN', groupKey(ARGV[3]), ARGV[2], 'COUNT', 256)
end
local found = {}
for index = 1, #page[2], 2 do
  local key = page[2][index]
  local raw, hand = redis.call('HGET', items, key), redis.call('HGET', hands, key)
  if raw then
    found[#found + 1] = key
    found[#found + 1] = raw
    found[#found + 1] = hand and string.format('%.0f', cjson.decode(hand)[3])
      or redis.call('ZSCORE', groupKey(cjson.decode(raw)[1]), key)
  end
end
return {page[1], found}
`);

/** Gives the names of all groups. ARGV: now. */
export const GROUP_NAMES = queueScript(`
local names = redis.call('ZRANGE', ready, 0, -1)
for _, group in ipairs(redis.call('ZRANGE', waiting, 0, -1)) do names[#names + 1] = group end
return names
`);

/** ARGV: now, then groups. Gives of each how many items it has, when the first is due (or ''), until when it rests. */
export const GROUPS = queueScript(`
local told = {}
for index = 2, #ARGV do
  local group = ARGV[index]
  local first = redis.call('ZRANGE', groupKey(group), 0, 0, 'WITHSCORES')
  told[#told + 1] = redis.call('ZCARD', groupKey(group))
  told[#told + 1] = first[2] or ''
  told[#told + 1] = redis.call('HGET', rests, group) or '0'
end
return told
`);

/** Groups that one look at the oldest reads. */
const MOST_LOOKED_AT = 64;

/**
 * Gives since when the item has been due that has waited for longest, or ''. Of the groups whose turn is next; what is
 * in hand is due when its lease has run out. ARGV: now.
 */
export const OLDEST_DUE = queueScript(`
local groups = redis.call('ZRANGE', ready, 0, ${MOST_LOOKED_AT - 1})
for _, group in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, ${MOST_LOOKED_AT})) do
  groups[#groups + 1] = group
end
local oldest
for _, group in ipairs(groups) do
  local first = redis.call('ZRANGE', groupKey(group), 0, 0, 'WITHSCORES')
  local at = first[2] and math.max(tonumber(first[2]), tonumber(redis.call('HGET', rests, group) or '0'))
  if at and at <= now and (not oldest or at < oldest) then oldest = at end
end
return oldest and string.format('%.0f', oldest) or ''
`);

/** Gives what was given up, newest first. ARGV: now, how many at most. */
export const GIVEN_UP = queueScript(`return redis.call('LRANGE', givenUp, 0, tonumber(ARGV[2]) - 1)`);
