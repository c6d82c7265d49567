-- A WebSocket that says what it is told.
function handle(r)
    if r:wsupgrade() then
        while true do
            local text = r:wsread()
            if not text or #text == 0 then break end
            r:wswrite(text)
        end
        r:wsclose()
    end
    return apache2.OK
end
