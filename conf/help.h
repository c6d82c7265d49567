/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What httpd -L says of each directive: made by docs/make from docs/directives.md. */

#ifndef MEMSESS_HELP_H
#define MEMSESS_HELP_H

#define MEMSESS_HELP_MemSessServers \
    "SERVER...: the pool: host, host:port, [v6]:port or unix:/path, each with optional " \
    "?weight=N&name=NAME (weight: 1 to 1000). May be repeated; a virtual host's own list " \
    "replaces the inherited one. The order does not matter, names and weights do: write " \
    "them alike on all members, or give each server a name=. See Names for host names"
#define MEMSESS_HELP_MemSessRedundancy \
    "N: how many copies every session has, each on another server. 2 means exactly 2. At " \
    "most 16"
#define MEMSESS_HELP_MemSessFailover \
    "On|Off: while a server is down, the next one in a session's own order stands in"
#define MEMSESS_HELP_MemSessTimeout \
    "T: the longest that one store operation waits for one server"
#define MEMSESS_HELP_MemSessRetry \
    "T: how soon a server that failed is tried again"
#define MEMSESS_HELP_MemSessConnections \
    "MAX [idle=T]: how many connections each child process has to each server, and how " \
    "long an unused one is kept. Requests that find all of them in use wait for their " \
    "turn: see When the store fails"
#define MEMSESS_HELP_MemSessServerAuth \
    "FILE: a file with one line user:password, without spaces, for memcached's " \
    "text-protocol authentication (memcached -Y). A file that all can read or write is " \
    "refused; at a restart, httpd then goes on with the user and password that it had"
#define MEMSESS_HELP_MemSessNamespace \
    "NAME: sessions of two namespaces never meet, though they share a pool. Virtual hosts " \
    "with different names that share pool and secret share their users, too: httpd and " \
    "apachectl -t warn of such hosts where no namespace is named"
#define MEMSESS_HELP_MemSessUserSessions \
    "N|Off: keeps a list of each user's sessions, N at most (1 to 100): one log-in more " \
    "ends the session that was unused for longest. MemSessExpose user-sessions, " \
    "MemSess-Destroy: id=PUBLIC_ID and memsess-admin need the list"
#define MEMSESS_HELP_MemSessSecret \
    "SOURCE...: file:/path, or exec:/path of a program that prints the secret within 10 s " \
    "(with arguments: in quotes). The first secret signs and seals, the others are still " \
    "accepted: see Secrets. At least 32 bytes; a file that all can read or write is " \
    "refused"
#define MEMSESS_HELP_MemSessSeal \
    "On|Off: records are encrypted and authenticated in memcached; a record that is not " \
    "sealed is then refused, so switching this on or off ends all sessions. On without a " \
    "secret is refused"
#define MEMSESS_HELP_MemSessCompress \
    "BYTES|Off: records above this size are compressed; K, M and G may follow. Sealed " \
    "records are compressed only if this is set, since the length of a compressed record " \
    "tells of its content"
#define MEMSESS_HELP_MemSessLocalCache \
    "SIZE [max-age=T]: how much shared memory this member has for its own copies of " \
    "sessions that it has seen (bytes; K, M or G may follow): see Local cache. It needs " \
    "MemSessSecret"
#define MEMSESS_HELP_MemSessCookie \
    "NAME [ATTR...]: the cookie: Path=, Domain=, SameSite=Lax|Strict|None, " \
    "Secure=auto|on|off, HttpOnly=on|off, Partitioned, Max-Age=SECONDS. An attribute that " \
    "is not named keeps its default. auto: Secure where the request came by https. With " \
    "Max-Age the cookie is sent again whenever the session is re-dated"
#define MEMSESS_HELP_MemSessCookieForward \
    "On|Off: Off: neither back ends nor CGI programs see the session cookies of any " \
    "section, also where MemSess is Off"
#define MEMSESS_HELP_MemSessIdleTimeout \
    "T: a session that is unused for this long is over"
#define MEMSESS_HELP_MemSessAbsoluteTimeout \
    "T: a session this old is over, however busy it is; 0: never"
#define MEMSESS_HELP_MemSessRefresh \
    "T: a session that is only read is re-dated in the store at most this often. Never " \
    "above half the idle time-out"
#define MEMSESS_HELP_MemSessRenew \
    "T: the id changes this often. The old id leads to the session, and each answer to it " \
    "brings the new cookie again, until 10 s after the new id was first used: see Late " \
    "answers"
#define MEMSESS_HELP_MemSess \
    "On|Off: whether requests here have a session"
#define MEMSESS_HELP_MemSessExpose \
    "WHAT...: how handlers see the session: env for variables, headers for request " \
    "headers, or none. user-sessions adds the list of the user's sessions " \
    "(MemSessUserSessions), as a variable and a header of its own"
#define MEMSESS_HELP_MemSessExposeKeys \
    "NAME...: which attributes are exposed; * at the end of a name matches the rest"
#define MEMSESS_HELP_MemSessWriteback \
    "On|Off: whether responses of handlers and back ends may change the session"
#define MEMSESS_HELP_MemSessWritebackKeys \
    "NAME...: which attributes responses may change"
#define MEMSESS_HELP_MemSessWritebackVerbs \
    "VERB...: which of set unset incr renew destroy expire admin responses may use: a " \
    "header of another verb is ignored, with a warning in the log. So a back end that may " \
    "write cart* cannot end the session, and with it other attributes"
#define MEMSESS_HELP_MemSessLock \
    "none|commit|request: commit: parallel requests run side by side; their changes are " \
    "merged attribute by attribute, no update is lost. request: one request of a session " \
    "at a time, until its response begins (a 101 is such a beginning). none: the last " \
    "writer wins, and attributes are as its request left them"
#define MEMSESS_HELP_MemSessLockWait \
    "T: the longest wait for other requests that change or lock the same session; after " \
    "it the request gets what MemSessOnError says, never an empty session"
#define MEMSESS_HELP_MemSessOnError \
    "deny|anonymous: what happens when the store cannot answer: deny answers 503 with " \
    "Retry-After, anonymous goes on without a session"
#define MEMSESS_HELP_MemSessMaxSize \
    "BYTES: a session whose attributes take more is refused; the stored one stays as it " \
    "was. K, M and G may follow. Names and values count, and 7 bytes for each attribute"
#define MEMSESS_HELP_MemSessBind \
    "off|WORD...: a session belongs to the client that began it: ua by its User-Agent, ip " \
    "by its address, tls by its certificate. Another client with the cookie sees no " \
    "session (invalid) and cannot change it; the session and the cookie stay"
#define MEMSESS_HELP_MemSessUserAttr \
    "NAME: the attribute that holds the user's name. An empty name, or one with control " \
    "characters, is no user"
#define MEMSESS_HELP_MemSessLoginURL \
    "URL: where a visitor who is not logged in is sent: a path on this site; %s in it is " \
    "the path and query to come back to, escaped"

#endif
