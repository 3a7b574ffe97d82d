"""What the scripts have in common, in Lua: how a run and its indexes are kept.

All keys begin with the prefix of the store. A run is a hash, `run:ID`; its journal is a list,
`lines:ID`, each line after the mark of its append; its hooks are a set, `hooks-of:ID`, and a hash,
`hooks`, from each id to its run. `due:WORKFLOW` and `leased:WORKFLOW` are sorted by time, and have a
run that is due some time in one of them; `runs`, `status:STATUS` and `workflow:WORKFLOW` are sorted by
creation. Times stay the strings that Python made: Lua would round them.
"""

from __future__ import annotations

from typing import Final

LIBRARY: Final = """
local P = KEYS[1]
local call = redis.call

local function run_key(id) return P .. 'run:' .. id end

local function field(id, name) return call('HGET', run_key(id), name) end

local function is_held(id, lease_owner, lease_token)
    local run = call('HMGET', run_key(id), 'owner', 'token', 'until')
    return run[3] and run[3] ~= '' and run[1] == lease_owner and run[2] == lease_token
end

local function leave_queue(id)
    local workflow = field(id, 'workflow')
    call('ZREM', P .. 'due:' .. workflow, id)
    call('ZREM', P .. 'leased:' .. workflow, id)
end

local function join_queue(id)
    local run = call('HMGET', run_key(id), 'workflow', 'due', 'until')
    if run[2] == '' then return end
    call('SADD', P .. 'workflows', run[1])
    if run[3] == '' then
        call('ZADD', P .. 'due:' .. run[1], run[2], id)
    else
        call('ZADD', P .. 'leased:' .. run[1], run[3], id)
    end
end

local function leave(id)
    leave_queue(id)
    call('ZREM', P .. 'status:' .. field(id, 'status'), id)
    call('ZREM', P .. 'workflow:' .. field(id, 'workflow'), id)
    call('ZREM', P .. 'runs', id)
end

local function join(id)
    local run = call('HMGET', run_key(id), 'status', 'workflow', 'created')
    call('ZADD', P .. 'status:' .. run[1], run[3], id)
    call('ZADD', P .. 'workflow:' .. run[2], run[3], id)
    call('ZADD', P .. 'runs', run[3], id)
    join_queue(id)
end

local function ring(id)
    if field(id, 'due') ~= '' then call('PUBLISH', P .. 'changed', '') end
end

-- Larger than all before, also where a crash has lost the last of them.
local function next_token()
    local time = call('TIME')
    local token = tonumber(time[1]) * 1000000 + tonumber(time[2])
    local last = tonumber(call('GET', P .. 'token') or '0')
    if token <= last then token = last + 1 end
    token = string.format('%.0f', token)
    call('SET', P .. 'token', token)
    return token
end

local function hold(id, owner, until_)
    local token = next_token()
    leave_queue(id)
    call('HSET', run_key(id), 'owner', owner, 'token', token, 'until', until_)
    join_queue(id)
    return token
end

-- Hooks are known all of them, or none: the one that belongs to another run is given.
local function taken_hook(id, hooks)
    for _, hook in ipairs(hooks) do
        local owner = call('HGET', P .. 'hooks', hook)
        if owner and owner ~= id then return hook end
    end
end

local function learn(id, hooks)
    for _, hook in ipairs(hooks) do
        call('HSET', P .. 'hooks', hook, id)
        call('SADD', P .. 'hooks-of:' .. id, hook)
    end
end

local function push(id, mark, lines)
    for _, line in ipairs(lines) do call('RPUSH', P .. 'lines:' .. id, mark .. line) end
end

-- A list among the arguments: its length, then its items. Gives it, and where the next argument is.
local function list(at)
    local items = {}
    local count = tonumber(ARGV[at])
    for number = 1, count do items[number] = ARGV[at + number] end
    return items, at + count + 1
end

local HEAD = {'workflow', 'version', 'status', 'state', 'settled', 'due', 'tries', 'trouble'}

local function put_head(id, at)
    for number, name in ipairs(HEAD) do call('HSET', run_key(id), name, ARGV[at + number - 1]) end
    return at + #HEAD
end

local function save(id, at, now, mark)
    leave(id)
    local run = run_key(id)
    at = put_head(id, at)
    call('HSET', run, 'updated', now, 'mark', mark)
    call('HINCRBY', run, 'revision', 1)
    join(id)
    ring(id)
end

local FIELDS = {
    'revision', 'workflow', 'version', 'status', 'state', 'settled', 'due', 'tries', 'trouble',
    'metadata', 'created', 'updated', 'owner', 'token', 'until'
}

local function row(id)
    local found = call('HMGET', run_key(id), unpack(FIELDS))
    found[#found + 1] = id
    return found
end

local function remove(id)
    leave(id)
    local hooks = P .. 'hooks-of:' .. id
    for _, hook in ipairs(call('SMEMBERS', hooks)) do call('HDEL', P .. 'hooks', hook) end
    call('DEL', run_key(id), P .. 'lines:' .. id, hooks)
end
"""
