/** What happens to the meters inside Redis, each step whole or not at all. */
import { script } from './client.ts';

/** Times remembered for one key; where there are more takes, neighbours are counted together. */
const MOST_MARKS = 32;

/** What is held is forgotten a day after it was counted, and counted again: whatever was missed meanwhile is mended. */
const HELD_FOR = 86_400_000;

/**
 * KEYS: the meter, JSON of `[first, last, count]` for takes counted together. ARGV: now, limit, period, and for how
 * long the meter is kept. Gives 1 when there was one left.
 */
export const TAKE = script(`
local now, limit, period = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local raw = redis.call('GET', KEYS[1])
local marks, taken = {}, 0
for _, mark in ipairs(raw and cjson.decode(raw) or {}) do
  if mark[2] > now - period then
    marks[#marks + 1] = mark
    taken = taken + mark[3]
  end
end
if taken >= limit then return 0 end
local newest = marks[#marks]
if newest and limit > ${MOST_MARKS} and now - newest[1] < period / ${MOST_MARKS} then
  newest[2] = math.max(newest[2], now)
  newest[3] = newest[3] + 1
else
  marks[#marks + 1] = {now, now, 1}
end
redis.call('SET', KEYS[1], cjson.encode(marks), 'PX', ARGV[4])
return 1
`);

/** KEYS: what is held. ARGV: count and octets to add, and the quota's. Gives 1, 0 when it is full, -1 when unknown. */
export const RESERVE = script(`
local held = redis.call('HMGET', KEYS[1], 'count', 'octets')
if not held[1] then return -1 end
local count, octets = tonumber(held[1]) + tonumber(ARGV[1]), tonumber(held[2]) + tonumber(ARGV[2])
if count > tonumber(ARGV[3]) or octets > tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], 'count', count, 'octets', octets)
return 1
`);

/** KEYS: what is held. ARGV: count and octets to take away. */
export const RELEASE = script(`
local held = redis.call('HMGET', KEYS[1], 'count', 'octets')
if held[1] then
  local count, octets = tonumber(held[1]) - tonumber(ARGV[1]), tonumber(held[2]) - tonumber(ARGV[2])
  redis.call('HSET', KEYS[1], 'count', math.max(0, count), 'octets', math.max(0, octets))
end
return 0
`);

/** KEYS: what is held. ARGV: its count and octets. */
export const RECOUNT = script(`
redis.call('HSET', KEYS[1], 'count', ARGV[1], 'octets', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ${HELD_FOR})
return 0
`);

/** KEYS: what is to be counted again. */
export const FORGET = script(`return redis.call('DEL', KEYS[1])`);
