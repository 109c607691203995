-- The budgets of one token: its rate, and the users that it has deleted or deactivated lately. All times are
-- microseconds of this server's clock, so that the clocks of the replicas do not matter.

local RATE = KEYS[1]
local USERS = KEYS[2]     -- hash: user -> record
local LIMITED = KEYS[3]   -- sorted set: users that count against the limit, by the time from which they do
local ALLOWED = KEYS[4]   -- the same for users that count against an allowance
local INACTIVE = KEYS[5]  -- sorted set: users whose deactivation the client only repeats, by the last repetition
local SPENT = KEYS[6]     -- how many users count against the allowance

local MAX_INACTIVE = 65536
local SWEEP = 100
local MARGIN = 60000      -- milliseconds that keys are kept longer than needed

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local op = ARGV[1]

local function text(number)
  return string.format('%.0f', number)
end

-- Keeps a key for this long at least.
local function keep(key, microseconds)
  local milliseconds = math.ceil(microseconds / 1000) + MARGIN
  if redis.call('PTTL', key) < milliseconds then
    redis.call('PEXPIRE', key, text(milliseconds))
  end
end

-- Takes one request of the rate. Returns how long to wait for it.
local function take_rate(interval, tolerance)
  local state = tonumber(redis.call('GET', RATE) or '0')
  if state > now + tolerance + interval then
    -- No request leaves it so far ahead: the clock has been set back. All but one are used.
    state = now + tolerance
  end
  local wait = state - tolerance - now
  if wait > 0 then
    return wait
  end
  local after = math.max(state, now) + interval
  local left = math.ceil((after - now) / 1000)
  redis.call('SET', RATE, string.format('%.3f', after), 'PX', text(math.max(left, 1)))
  return 0
end

local function give_rate_back(interval)
  local state = tonumber(redis.call('GET', RATE) or '0') - interval
  if state > now then
    redis.call('SET', RATE, string.format('%.3f', state), 'PX', text(math.ceil((state - now) / 1000)))
  else
    redis.call('DEL', RATE)
  end
end

-- at: when it was last sent; born: when the record was made; flying: requests under way; kept: Wire has carried one
-- out, or may have; confirmed: what Wire has carried out; activated: the user was activated while a request was under
-- way; again: when what Wire had confirmed was last repeated; by: the allowance that it counts against.
local FIELDS = {'at', 'born', 'flying', 'kept', 'confirmed', 'activated', 'again'}

local function load(user)
  local found = redis.call('HGET', USERS, user)
  if not found then
    return nil
  end
  local record, place = {}, 0
  for word in string.gmatch(found, '%S+') do
    place = place + 1
    if FIELDS[place] then
      record[FIELDS[place]] = tonumber(word)
    else
      record.by = word
    end
  end
  return record
end

local function set_of(record)
  if record.by == '-' then
    return LIMITED
  end
  return ALLOWED
end

local function store(user, record)
  local words = {}
  for place, field in ipairs(FIELDS) do
    words[place] = text(record[field])
  end
  words[#words + 1] = record.by
  redis.call('HSET', USERS, user, table.concat(words, ' '))
end

-- While a request is under way, the user counts for as long as it may take, should that be longer than the interval.
local function save(user, record, within, hold)
  store(user, record)
  local score = record.at
  if record.flying > 0 then
    score = score + math.max(hold - within, 0)
  end
  redis.call('ZADD', set_of(record), text(score), user)
  keep(USERS, math.max(within, hold))
  keep(set_of(record), math.max(within, hold))
end

local function forget(user, record)
  redis.call('HDEL', USERS, user)
  redis.call('ZREM', set_of(record), user)
end

-- The user does not count any more. It goes on being free if the client goes on repeating its deactivation.
local function expire_user(user, record, edge, within)
  forget(user, record)
  if record.again >= edge and redis.call('ZCARD', INACTIVE) < MAX_INACTIVE then
    redis.call('ZADD', INACTIVE, text(record.again), user)
    keep(INACTIVE, within)
  end
end

local function expire(edge, within)
  for _, set in ipairs({LIMITED, ALLOWED}) do
    local over = redis.call('ZRANGEBYSCORE', set, '-inf', '(' .. text(edge), 'LIMIT', 0, SWEEP)
    for _, user in ipairs(over) do
      local record = load(user)
      if record then
        expire_user(user, record, edge, within)
      end
      redis.call('ZREM', set, user)
    end
  end
  redis.call('ZREMRANGEBYSCORE', INACTIVE, '-inf', '(' .. text(edge))
end

local function has_room(count, ends)
  return count > 0 and ends * 1000 > now and tonumber(redis.call('GET', SPENT) or '0') < count
end

local NEW, AGAIN, FREE, FULL = 1, 2, 3, 4

local function take_user(user, change, at_most, within, hold, by, count, ends)
  local edge = now - within
  expire(edge, within)
  local record = load(user)
  if record then
    local score = redis.call('ZSCORE', set_of(record), user)
    if not score or tonumber(score) < edge then
      expire_user(user, record, edge, within)
      record = nil
    end
  end
  if record then
    record.flying = record.flying + 1
    if record.confirmed >= change then
      record.again = now
    else
      record.at = now
    end
    save(user, record, within, hold)
    return AGAIN, record.born
  end
  if change == 1 and redis.call('ZSCORE', INACTIVE, user) then
    redis.call('ZADD', INACTIVE, text(now), user)
    keep(INACTIVE, within)
    return FREE, 0
  end
  local used = redis.call('ZCOUNT', LIMITED, text(edge), '+inf')
  if used < at_most then
    by = '-'
  elseif has_room(count, ends) then
    redis.call('INCR', SPENT)
    redis.call('PEXPIREAT', SPENT, text(ends + MARGIN))
  else
    local next = redis.call(
      'ZRANGEBYSCORE', LIMITED, text(edge), '+inf', 'WITHSCORES', 'LIMIT', used - at_most, 1)
    return FULL, math.max((tonumber(next[2]) or now) + within - now, 1)
  end
  redis.call('ZREM', INACTIVE, user)
  record = {at = now, born = now, flying = 1, kept = 0, confirmed = 0, activated = 0, again = 0, by = by}
  save(user, record, within, hold)
  return NEW, record.born
end

-- What became of a request. fate: 0, nothing has changed; 1, Wire may have carried it out; 2, it has.
local function settle(user, born, change, fate, within, hold)
  local record = load(user)
  if not record or record.born ~= born then
    return
  end
  record.flying = math.max(record.flying - 1, 0)
  if fate > 0 then
    record.kept = 1
  end
  if fate == 2 and record.activated == 0 then
    record.confirmed = math.max(record.confirmed, change)
  end
  if record.flying == 0 then
    record.activated = 0
    if record.kept == 0 then
      forget(user, record)
      if record.by == ARGV[8] and tonumber(redis.call('GET', SPENT) or '0') > 0 then
        redis.call('DECR', SPENT)
      end
      return
    end
  end
  save(user, record, within, hold)
end

-- The client activates the user: deactivating it again takes it away again.
local function activate(user)
  redis.call('ZREM', INACTIVE, user)
  local record = load(user)
  if record then
    record.confirmed = 0
    record.again = 0
    record.activated = record.flying > 0 and 1 or 0
    store(user, record)
  end
end

local function number(place)
  return tonumber(ARGV[place])
end

if op == 'take' then
  -- The replica that asks has given up waiting, and decided without this answer.
  if now > number(2) then
    return {1, now, 0, 0, 0}
  end
  local wait = 0
  if number(3) > 0 then
    wait = take_rate(number(3), number(4))
    if wait > 0 and ARGV[5] == '1' then
      return {0, now, math.ceil(wait), 0, 0}
    end
  end
  local taken, detail = 0, 0
  if ARGV[6] ~= '' then
    taken, detail = take_user(
      ARGV[6], number(7), number(8), number(9), number(10), ARGV[11], number(12), number(13))
  end
  return {0, now, math.ceil(wait), taken, detail}
elseif op == 'settle' then
  settle(ARGV[2], number(3), number(4), number(5), number(6), number(7))
elseif op == 'activate' then
  activate(ARGV[2])
elseif op == 'refund' then
  give_rate_back(number(2))
elseif op == 'probe' then
  redis.call('SET', KEYS[1], '1', 'PX', 60000)
end
return {0, now, 0, 0, 0}
