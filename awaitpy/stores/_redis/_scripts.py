"""What has to happen at once, in Lua: Redis runs a script while nobody else does anything."""

from __future__ import annotations

import hashlib
from typing import Final

from awaitpy.stores._redis._library import LIBRARY

CREATE: Final = """
local id, mark, now, metadata, owner, until_ = unpack(ARGV, 1, 6)
local hooks = list(7 + #HEAD)
local run = run_key(id)
if call('EXISTS', run) == 1 then
    if field(id, 'mark') == mark then return {'ok', field(id, 'token')} end
    return {'no'}
end
local taken = taken_hook(id, hooks)
if taken then return {'taken', taken} end
put_head(id, 7)
call('HSET', run, 'revision', 1, 'metadata', metadata, 'created', now, 'updated', now, 'mark', mark,
    'owner', '', 'token', '0', 'until', '')
learn(id, hooks)
join(id)
local token = '0'
if until_ ~= '' then token = hold(id, owner, until_) end
ring(id)
return {'ok', token}
"""

# `window` is how many of the last lines may be from a first try of this append; 0 means all.
APPEND: Final = """
local id, mark, owner, token, window = unpack(ARGV, 1, 5)
local lines, at = list(6)
local hooks = list(at)
if not is_held(id, owner, token) then return {'lost'} end
for _, line in ipairs(call('LRANGE', P .. 'lines:' .. id, -tonumber(window), -1)) do
    if string.sub(line, 1, #mark) == mark then return {'ok'} end
end
local taken = taken_hook(id, hooks)
if taken then return {'taken', taken} end
learn(id, hooks)
push(id, mark, lines)
return {'ok'}
"""

SAVE: Final = """
local id, mark, now, revision, owner, token, release = unpack(ARGV, 1, 7)
local hooks = list(8 + #HEAD)
if field(id, 'mark') == mark then return {'ok'} end
if token ~= '' and not is_held(id, owner, token) then return {'lost'} end
if field(id, 'revision') ~= revision then return {'no'} end
local taken = taken_hook(id, hooks)
if taken then return {'taken', taken} end
learn(id, hooks)
if release == '1' then
    leave_queue(id)
    call('HSET', run_key(id), 'owner', '', 'until', '')
end
save(id, 8, now, mark)
return {'ok'}
"""

REWRITE: Final = """
local id, mark, now, revision = unpack(ARGV, 1, 4)
local lines, at = list(5 + #HEAD)
local hooks = list(at)
if field(id, 'mark') == mark then return {'ok'} end
if field(id, 'revision') ~= revision then return {'no'} end
local until_ = field(id, 'until')
if until_ ~= '' and tonumber(until_) > tonumber(now) then return {'no'} end
local taken = taken_hook(id, hooks)
if taken then return {'taken', taken} end
learn(id, hooks)
leave_queue(id)
call('HSET', run_key(id), 'owner', '', 'until', '')
save(id, 5, now, mark)
call('DEL', P .. 'lines:' .. id)
push(id, mark, lines)
return {'ok'}
"""

HOLD: Final = """
local id, owner, token, until_ = unpack(ARGV, 1, 4)
if not is_held(id, owner, token) then return {'no'} end
leave_queue(id)
call('HSET', run_key(id), 'until', until_)
if until_ == '' then call('HSET', run_key(id), 'owner', '') end
join_queue(id)
if until_ == '' then ring(id) end
return {'ok'}
"""

# What a claim gave is kept for a minute, for a second try of the same.
CLAIM: Final = """
local mark, owner, now, until_, limit, all = unpack(ARGV, 1, 6)
local workflows, at = list(7)
local one = ARGV[at]
local kept = P .. 'claim:' .. mark
local before = call('LRANGE', kept, 0, -1)
if #before > 0 then return before end

local function is_free(id)
    local ends = field(id, 'until')
    return ends and (ends == '' or tonumber(ends) <= tonumber(now))
end

local ids = {}
if one then
    ids = {{one, 0}}
    limit = 1
else
    if all == '1' then workflows = call('SMEMBERS', P .. 'workflows') end
    for _, workflow in ipairs(workflows) do
        local due = P .. 'due:' .. workflow
        for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'leased:' .. workflow, '-inf', now)) do
            call('ZREM', P .. 'leased:' .. workflow, id)
            call('ZADD', due, field(id, 'due'), id)
        end
        local found = call('ZRANGEBYSCORE', due, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
        for at = 1, #found, 2 do ids[#ids + 1] = {found[at], tonumber(found[at + 1])} end
    end
    table.sort(ids, function(a, b) return a[2] < b[2] end)
end
local claimed = {}
for at = 1, math.min(#ids, tonumber(limit)) do
    local id = ids[at][1]
    if is_free(id) then
        claimed[#claimed + 1] = id
        claimed[#claimed + 1] = hold(id, owner, until_)
    elseif not one then  -- by the clock of another process its lease had run out
        leave_queue(id)
        join_queue(id)
    end
end
if #claimed > 0 then
    for _, word in ipairs(claimed) do call('RPUSH', kept, word) end
    call('EXPIRE', kept, 60)
end
return claimed
"""

NEXT_DUE: Final = """
local workflows = list(2)
if ARGV[1] == '1' then workflows = call('SMEMBERS', P .. 'workflows') end
local soonest = false
local function consider(time)
    if not soonest or tonumber(time) < tonumber(soonest) then soonest = time end
end
for _, workflow in ipairs(workflows) do
    local first = call('ZRANGE', P .. 'due:' .. workflow, 0, 0)
    if first[1] then consider(field(first[1], 'due')) end
    for _, id in ipairs(call('ZRANGE', P .. 'leased:' .. workflow, 0, -1)) do
        local due, ends = field(id, 'due'), field(id, 'until')
        consider(tonumber(ends) > tonumber(due) and ends or due)
    end
end
return soonest
"""

LOAD: Final = """
local id, tail = ARGV[1], ARGV[2]
if call('EXISTS', run_key(id)) == 0 then return false end
local from = tail == '1' and field(id, 'settled') or 0
return {row(id), call('LRANGE', P .. 'lines:' .. id, from, -1)}
"""

# The runs behind one that may be gone: it is put where it would be, for as long as nobody looks.
PAGE: Final = """
local set, count, created, after = P .. ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local from = 0
if created ~= '' then
    local score = call('ZSCORE', set, after)
    call('ZADD', set, created, after)
    from = call('ZREVRANK', set, after) + 1
    if score then call('ZADD', set, score, after) else call('ZREM', set, after) from = from - 1 end
end
local rows = {}
for _, id in ipairs(call('ZREVRANGE', set, from, from + count - 1)) do rows[#rows + 1] = row(id) end
return rows
"""

FIND: Final = """
return call('HGET', P .. 'hooks', ARGV[1])
"""

DELETE: Final = """
if call('EXISTS', run_key(ARGV[1])) == 0 then return 0 end
remove(ARGV[1])
return 1
"""

PURGE: Final = """
local set, from, count, before = P .. 'status:' .. ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local ids = call('ZRANGE', set, from, from + count - 1)
local removed = 0
for _, id in ipairs(ids) do
    if tonumber(field(id, 'updated')) < before then
        remove(id)
        removed = removed + 1
    end
end
return {#ids, removed}
"""


class Script:
    """A script with the library in front, and the digest that Redis knows it by."""

    def __init__(self, body: str) -> None:
        self.text: Final = LIBRARY + body
        self.sha: Final = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


create, append, save, rewrite, hold = map(Script, (CREATE, APPEND, SAVE, REWRITE, HOLD))
claim, next_due, load, find = map(Script, (CLAIM, NEXT_DUE, LOAD, FIND))
page, delete, purge = map(Script, (PAGE, DELETE, PURGE))
ALL: Final = (create, append, save, rewrite, hold, claim, next_due, load, find, page, delete, purge)
