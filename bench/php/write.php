<?php
// With a query string: sets what it says, which is how a session is made.
header('Content-Type: text/plain');
session_start();
if ($_GET) {
    $_SESSION = $_GET;
} elseif (empty($_SESSION['cart'])) {
    http_response_code(500);
} else {
    $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
}
echo "Hello, world.\n";
