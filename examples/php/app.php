<?php
// A page that counts, POST /app/login with user=NAME, and POST /app/logout: $_SESSION as ever.
// auto_prepend_file in php.ini does what this line does, for applications that are not touched.
require __DIR__ . '/../../clients/php/memsess.php';
MemSess\Session::$codec->plain = ['user'];
session_start();

$what = $_SERVER['REQUEST_METHOD'] . ' ' . strtok($_SERVER['REQUEST_URI'], '?');

if ($what === 'POST /app/login' && !is_string($_POST['user'] ?? null)) {
    http_response_code(422);
} elseif ($what === 'POST /app/login') {
    $_SESSION['user'] = $_POST['user'];
    session_regenerate_id();
    header('Location: /app', true, 303);
} elseif ($what === 'POST /app/logout') {
    session_destroy();
    header('Location: /app', true, 303);
} else {
    $visits = $_SESSION['hits'] ?? 0;
    $_SESSION['hits'] = $visits + 1;
    header('Content-Type: text/plain; charset=utf-8');
    echo "earlier visits: $visits\n", 'user: ', $_SESSION['user'] ?? 'nobody', "\n";
}
