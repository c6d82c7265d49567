<?php
header('Content-Type: text/plain');
session_start(['read_and_close' => true]);
echo $_SESSION ? 'active' : 'none', "\n", http_build_query($_SESSION), "\n";
