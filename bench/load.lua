-- wrk's requests: one for each session in a file of cookies in turn; an empty line
-- is a request without a cookie. So no two requests under way have the same session.
-- With "follows", a session's next request has the cookie that was last set; the
-- header X-Session says which session that is.

local requests, at = {}, 0

local function request_with(cookie)
    local headers = { Host = wrk.headers["Host"] }
    if cookie ~= "" then headers["Cookie"] = cookie end
    return wrk.format(nil, nil, headers)
end

local function follow(status, headers)
    local cookie, name = headers["Set-Cookie"], headers["X-Session"]
    if cookie and name then
        requests[tonumber(name) + 1] = request_with(cookie:match("^[^;]+"))
    end
end

function init(arguments)
    for line in io.lines(arguments[1]) do
        requests[#requests + 1] = request_with(line)
    end
    if arguments[2] == "follows" then response = follow end
end

function request()
    at = at % #requests + 1
    return requests[at]
end
