<?php
// A page that counts, POST /app/login with user=NAME, and POST /app/logout. No session extension,
// no session_start(): the session comes from $_SERVER, the changes go into response headers.

// header() replaces a header of the same name unless told otherwise.
function memsess(string $what, array $values): void
{
    header("MemSess-$what: " . http_build_query($values), false);
}

$what = $_SERVER['REQUEST_METHOD'] . ' ' . strtok($_SERVER['REQUEST_URI'], '?');

if ($what === 'POST /app/login' && !is_string($_POST['user'] ?? null)) {
    http_response_code(422);
} elseif ($what === 'POST /app/login') {
    memsess('Set', ['user' => $_POST['user']]);
    header('MemSess-Renew: 1');
    header('Location: /app', true, 303);
} elseif ($what === 'POST /app/logout') {
    header('MemSess-Destroy: 1');
    header('Location: /app', true, 303);
} else {
    memsess('Incr', ['hits' => 1]);
    header('Content-Type: text/plain; charset=utf-8');
    echo 'earlier visits: ', $_SERVER['MEMSESS_ATTR_hits'] ?? 0, "\n";
    echo 'user: ', $_SERVER['MEMSESS_ATTR_user'] ?? 'nobody', "\n";
}
