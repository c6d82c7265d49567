<?php
// Licensed under the Apache License, Version 2.0; see LICENSE.

// The application of t/403-php.t: /app/NAME?ARGUMENT, the same in all languages, and what PHP has besides.

const JSON = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;

class Cart
{
    public array $items = [];
    private DateTimeImmutable $since;
    public ?Cart $self = null;
    public function __construct() { $this->since = new DateTimeImmutable('2024-01-02 03:04:05.678'); $this->self = $this; }
    public function describe(): string
    {
        return implode(',', $this->items) . $this->since->format(' Y-m-d H:i:s.v') . ($this->self === $this ? ' same' : ' other');
    }
}

$bytes = implode('', array_map('chr', range(0, 255)));
$command = basename(strtok($_SERVER['REQUEST_URI'], '?'));
$argument = urldecode($_SERVER['QUERY_STRING']);
header('Content-Type: text/plain');
MemSess\Session::$codec->plain = ['user'];

if ($command === 'expire') {
    ini_set('session.cookie_lifetime', $argument);
}
if ($command === 'foreign') {
    session_id('anothersid');
}
if ($command === 'caught') {
    try {
        session_start();
    } catch (MemSess\Unavailable $e) {
        exit('please come again');
    }
}
$read_only = $command === 'read-only' ? ['read_and_close' => true] : [];
session_start($read_only);
switch ($command) {
    case 'get': echo json_encode($_SESSION[$argument] ?? null, JSON); break;
    case 'dump': echo json_encode((object)$_SESSION, JSON); break;
    case 'id': echo session_id(); break;
    case 'put': $_SESSION = array_merge($_SESSION, json_decode(file_get_contents('php://input'), true)); break;
    case 'delete': unset($_SESSION[$argument]); break;
    case 'add': usleep(2000); $_SESSION[$argument] = ($_SESSION[$argument] ?? 0) + 1; break;
    case 'nested': $_SESSION['cart']['n'] = ($_SESSION['cart']['n'] ?? 0) + 1; break;
    case 'bytes': $_SESSION['bytes'] = $bytes; break;
    case 'is-bytes': echo $_SESSION['bytes'] === $bytes ? 'same' : 'other'; break;
    case 'object': $_SESSION['object'] = fn() => 1; break;
    case 'login': session_regenerate_id(true); $_SESSION['user'] = $argument; break;
    case 'renew': session_regenerate_id(); break;
    case 'switch': session_destroy(); session_start(); $_SESSION['user'] = $argument; break;
    case 'logout': $_SESSION = []; session_destroy(); break;
    case 'expire': session_regenerate_id(); $_SESSION['kept'] = 1; break;
    case 'untouched': break;
    // Of PHP's own.
    case 'late':
        echo "begun\n";
        while (ob_get_level()) {
            ob_end_flush();
        }
        flush();
        $argument === 'nested' ? $_SESSION['cart']['n'] = 1000 : $_SESSION['late'] = 1;
        $argument === 'renew' && session_regenerate_id();
        break;
    case 'before':
        $_SESSION['before'] = 1;
        while (ob_get_level()) {
            ob_end_flush();
        }
        flush();
        echo 'streamed';
        break;
    case 'buffered': echo str_repeat('x', 50000); $_SESSION['buffered'] = 1; break;
    case 'cart': $_SESSION['object'] ??= new Cart(); $_SESSION['object']->items[] = $argument; break;
    case 'describe': echo $_SESSION['object']->describe(); break;
    case 'reopen':
        $_SESSION['a'] = 1;
        session_write_close();
        session_start();
        echo json_encode($_SESSION, JSON);
        $_SESSION['b'] = 2;
        break;
    case 'abort': $_SESSION['a'] = 'changed'; session_abort(); break;
    case 'reset': $_SESSION['a'] = 'changed'; session_reset(); echo $_SESSION['a']; break;
    case 'shutdown': register_shutdown_function(function () { $_SESSION['shutdown'] = 1; }); break;
    case 'fatal': $_SESSION['fatal'] = 1; throw new Exception('of the application');
    case 'foreign': echo session_id(); break;
    case 'create-id': echo session_create_id('x-') === session_id() ? 'same' : 'other'; break;
    case 'encode': echo session_encode(); break;
    case 'long': $_SESSION['long'] = str_repeat('x', (int)$argument); break;
    case 'sapi': echo PHP_SAPI; break;
    case 'strict': echo ini_get('session.use_strict_mode'), ini_get('session.use_cookies'); break;
}
