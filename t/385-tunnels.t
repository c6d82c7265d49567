# Tunnels: mod_proxy_wstunnel's cause a warning if back ends believe our headers; the recipe's are
# tunnels only after a 101.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 4;

my $base = "MemSess Off\nMemSessExpose env\n";    # overrides the site's
my $on = "MemSess On\nMemSessExpose headers\n";
my $pass = 'ProxyPass "ws://127.0.0.1:1/"';

sub warnings_of {
    my ($config) = @_;
    my ($status, $message) = MemSess::Member->check($config);
    is $status, 0, 'accepted' or diag $message;
    return grep { /MemSess: .*ws:/ } split /\n/, $message;
}

subtest 'warned of' => sub {
    for my $config (
        "$on ProxyPass /ws/ ws://127.0.0.1:1/",
        "$on ProxyPass /ws/ WSS://127.0.0.1:1/",
        "$on ProxyPassMatch ^/ws(.*) ws://127.0.0.1:1\$1",
        "$on RewriteEngine On\nRewriteRule ^/ws/ ws://127.0.0.1:1/ [P]",
        "$on<Proxy balancer://b>\nBalancerMember ws://127.0.0.1:1\n</Proxy>",
        "<Location /ws/>\n$on$pass\n</Location>",
        "<Location \"/ws/\">\nMemSessExpose env headers\nMemSess On\n$pass\n</Location>",
        "<Location />\n$on</Location>\n<Location /ws/>\n$pass\n</Location>",
        "<Location /ws/deep>\n$on</Location>\nProxyPass /ws/ ws://127.0.0.1:1/",
        "<LocationMatch ws>\n$on</LocationMatch>\nProxyPass /ws/ ws://127.0.0.1:1/",
        "<Location /ws/>\n$on</Location>\n<VirtualHost *>\nProxyPass /ws/ ws://127.0.0.1:1/\n"
            . '</VirtualHost>',
        "<VirtualHost *>\n$on<Location /ws/>\n$pass\n</Location>\n</VirtualHost>",
        "MemSessExpose headers\n<Location /ws/>\nMemSess On\n$pass\n</Location>",
    ) {
        my @lines = warnings_of("$base$config");
        is scalar(@lines), 1, $config;
        like $lines[0] // '', qr/\(line \d+ of .*\).*upgrade=websocket/, 'where, and what to do';
    }
};

subtest 'not warned of' => sub {
    for my $config (
        $on . 'ProxyPass /ws/ http://127.0.0.1:1/ upgrade=websocket',
        'ProxyPass /ws/ ws://127.0.0.1:1/',
        "MemSess On\nProxyPass /ws/ ws://127.0.0.1:1/",
        "MemSessExpose headers\nProxyPass /ws/ ws://127.0.0.1:1/",
        "$on<Location /ws/>\nMemSess Off\n$pass\n</Location>",
        "$on<Location /ws/>\nMemSessExpose env\n$pass\n</Location>",
        "<Location /shop/>\n$on</Location>\nProxyPass /ws/ ws://127.0.0.1:1/",
        "<Location /shop/>\n$on</Location>\n<Location /ws/>\n$pass\n</Location>",
        "<VirtualHost *>\n$on</VirtualHost>\n<VirtualHost *>\nProxyPass /ws/ ws://127.0.0.1:1/\n"
            . '</VirtualHost>',
        "$on Header set Content-Security-Policy \"connect-src wss://localhost\"",
        "$on ProxyPass /news/ http://127.0.0.1:1/news://x",
    ) {
        is_deeply [warnings_of("$base$config")], [], $config;
    }
};

my $m = MemSess::Member->start(servers => [shared_memcached()], config => q(
    <Location /ws/>
        MemSess         On
        MemSessExpose   headers
        ProxyPass       "http://localhost:${T_BACKEND}/" upgrade=websocket
    </Location>
));

subtest 'at start' => sub {
    my $warned = MemSess::Member->start(servers => [shared_memcached()],
        config => 'ProxyPass /ws/ ws://127.0.0.1:1/');
    is scalar(() = ($warned->log->text . $warned->output) =~ /MemSess: .*ws:/g), 1, 'once';
    $warned->stop;
    unlike $m->log->text . $m->output, qr/MemSess: .*ws:/, "not by the recipe";
};

# What a client gets that sends this right after its request for an upgrade.
sub tunnelled {
    my ($answer, $more) = @_;
    return raw($m->port, "GET /ws/raw?" . escape($answer) . " HTTP/1.1\r\nHost: localhost\r\n"
        . "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n$more")->{raw};
}

subtest 'the recipe' => sub {
    my $more = "GET /echo HTTP/1.1\r\nHost: x\r\nMemSess-Data: user=admin\r\nConnection: close\r\n\r\n";
    like tunnelled("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        . "Connection: Upgrade\r\n\r\nframes", ''), qr/^HTTP\/1.1 101 .*\r\n\r\nframes$/s, 'a tunnel';
    for my $status ('200 OK', '426 Upgrade Required', '401 Unauthorized') {
        unlike tunnelled("HTTP/1.1 $status\r\nContent-Length: 2\r\n\r\nno", $more),
            qr/user=admin/, "$status is none: what follows is a request to httpd";
    }
};
