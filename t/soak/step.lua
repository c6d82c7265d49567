-- Answers with what the session was when the request came (state, public id, data), and with the
-- header lines that the query spells.
require "apache2"

function handle(r)
    local text = (r.args or ""):gsub("%%(%x%x)", function(hex)
        return string.char(tonumber(hex, 16))
    end)
    r.content_type = "text/plain"
    for name, value in text:gmatch("([^\n:]+): *([^\n]*)") do
        r.headers_out[name] = value
    end
    for _, name in ipairs({"MEMSESS_STATE", "MEMSESS_ID", "MEMSESS_DATA"}) do
        r:puts(r.subprocess_env[name] or "", "\n")
    end
    return apache2.OK
end
