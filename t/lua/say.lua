-- Answers with the text that the query spells: header lines, an empty line, a body.
require "apache2"

function handle(r)
    local text = r.args:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    local head, body = text:match("^(.-)\n\n(.*)$")
    local status = 200
    for name, value in head:gmatch("([^\n:]+): *([^\n]*)") do
        if name == "Status" then
            status = tonumber(value:match("%d+"))
        elseif name == "Content-Type" then
            r.content_type = value
        else
            -- With an error status httpd answers in our stead, and keeps only these.
            local headers = status >= 400 and r.err_headers_out or r.headers_out
            headers[name] = value
        end
    end
    if status >= 400 then return status end
    r.status = status
    if status ~= 204 and status ~= 304 then r:puts(body) end
    return apache2.OK
end
