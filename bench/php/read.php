<?php
header('Content-Type: text/plain');
session_start();
if (empty($_SESSION['cart'])) {
    http_response_code(500);
}
echo "Hello, world.\n";
