<?php
// With a query string it sets those attributes: so sessions are made.
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
