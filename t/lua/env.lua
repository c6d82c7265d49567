-- What a script sees of the session, a variable a line.
function handle(r)
    r.content_type = "text/plain"
    for _, name in ipairs({"MEMSESS_STATE", "MEMSESS_ID", "MEMSESS_DATA", "MEMSESS_ATTR_a",
                           "MEMSESS_ATTR_n", "MEMSESS_LOGIN_AGE", "MEMSESS_USER_SESSIONS"}) do
        local value = r.subprocess_env[name]
        if value then r:puts(name, "=", value:gsub("%%", "%%25"), "\n") end
    end
    return apache2.OK
end
