-- A page that counts, POST /app/login with user=NAME, and POST /app/logout.
require "apache2"

local function see_other(r)
    -- With another status than 200, httpd keeps these headers alone.
    r.err_headers_out["Location"] = "/app"
    return 303
end

function handle(r)
    if r.method == "POST" and r.uri == "/app/login" then
        local user = r:parsebody().user
        if not user then return 422 end
        r.err_headers_out["MemSess-Set"] = "user=" .. r:escape(user)
        r.err_headers_out["MemSess-Renew"] = "1"
        return see_other(r)
    elseif r.method == "POST" and r.uri == "/app/logout" then
        r.err_headers_out["MemSess-Destroy"] = "1"
        return see_other(r)
    end
    r.content_type = "text/plain; charset=utf-8"
    r.headers_out["MemSess-Incr"] = "hits=1"
    r:puts("earlier visits: ", r.subprocess_env["MEMSESS_ATTR_hits"] or "0", "\n",
           "user: ", r.subprocess_env["MEMSESS_ATTR_user"] or "nobody", "\n")
    return apache2.OK
end
