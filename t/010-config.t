# What is refused at configuration time, with which words, and what is accepted.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 9;

my $dir = "$ENV{MEMSESS_T_ROOT}/logs";
my %file = (open => "a:b\n", colonless => "nothing\n", empty => '', good => "anna:secret\n",
    secret => 's' x 32);
for my $name (keys %file) {
    open my $out, '>', "$dir/$name" or die $!;
    print $out $file{$name};
    close $out;
    chmod $name eq 'open' ? 0644 : 0600, "$dir/$name";
}
my $long_socket = 'unix:/' . 'x' x 120;

# Each refused configuration, the value that is at fault, and what the fix must name if
# there is one right way.
my @refused = (
    ['MemSess maybe', 'maybe', qr/On.*Off/i],

    map({ ["MemSessServers $_", $_] } qw(
        127.0.0.1: 127.0.0.1:0 127.0.0.1:65536 127.0.0.1:-1 127.0.0.1:port 127.0.0.1:11211x :11211
        300.1.1.1:11211 [::1 [::1]11211 [::1]: [zz]:11211 [] ::1 unix: unix:relative/path host/path
        http://host bad!host host?nonsense=1 host?nonsense host?name= host?weight= host?weight=0
        host?weight=-1 host?weight=many host?weight=1.5 host?weight=99999999999999999999
        host?weight=1&weight=2 host?name=a&name=b host?
    ), $long_socket),
    ['MemSessServers host,other', 'host,other'],
    ['MemSessServers "host name:11211"', 'host name:11211'],
    ['MemSessServers "host?name=a b"', 'host?name=a b'],
    ['MemSessServers "h' . "\x01" . 'st"', 'h'],
    # Written as in php.ini and elsewhere: the message gives our spelling.
    ['MemSessServers tcp://10.0.0.21:11211', 'tcp://10.0.0.21:11211', qr/write 10\.0\.0\.21:11211$/m],
    ['MemSessServers tcp://10.0.0.21:11211?persistent=1&weight=2&timeout=1', 'tcp:',
     qr/write 10\.0\.0\.21:11211\?weight=2$/m],
    ['MemSessServers 10.0.0.21:11211:2', '10.0.0.21:11211:2', qr/write 10\.0\.0\.21:11211\?weight=2$/m],
    ['MemSessServers unix:///run/m.sock:0', 'unix:', qr{write unix:/run/m\.sock$}m],
    ['MemSessServers a:11211,b:11211', 'a:11211,b:11211', qr/spaces between/],
    ['MemSessIdleTimeout 2d', '2d', qr/48h, if/], ['MemSessIdleTimeout 30m', '30m', qr/30min, if/],
    ['MemSessConnections 5 idle=5m', 'idle=5m', qr/5min, if/],
    ['MemSessServers', ''],
    ['MemSessServers 127.0.0.1:11211 127.0.0.1:11211', '127.0.0.1:11211', qr/twice/],
    ['MemSessServers 127.0.0.1 127.0.0.1:11211', '127.0.0.1', qr/twice/],
    ["MemSessServers 127.0.0.1:11211\nMemSessServers 127.0.0.1:11211", '127.0.0.1:11211',
     qr/twice/],
    ['MemSessServers Host.Example:11211 host.example:11211', 'host.example:11211', qr/twice/i],
    ['MemSessServers [::1]:11211 [0:0:0:0:0:0:0:1]:11211', '::1', qr/twice/],
    ['MemSessServers localhost 127.0.0.1:11211', '127.0.0.1:11211', qr/twice, first as localhost/],
    ['MemSessServers 127.0.0.1 [::ffff:127.0.0.1]', '::ffff:127.0.0.1', qr/twice/],
    ['MemSessServers host.example host.example.:11211', 'host.example.:11211', qr/twice/],
    ['MemSessServers unix:/a unix:/a', 'unix:/a', qr/twice/],
    ['MemSessServers 127.0.0.1:1?name=same 127.0.0.1:2?name=same', 'same', qr/twice/],
    ['MemSessServers 127.0.0.1:1?name=a 127.0.0.1:1?name=b', '127.0.0.1:1', qr/twice/],
    ['MemSessServers 127.0.0.1:1 127.0.0.1:2?name=127.0.0.1:1', '127.0.0.1:1', qr/twice/],

    map({ ["MemSessRedundancy $_", $_] } qw(0 -1 many 1.5 2x 99999999999)),
    ["MemSessServers 127.0.0.1:1 127.0.0.1:2\nMemSessRedundancy 3", '3', qr/MemSessServers|server/],
    ["MemSessServers 127.0.0.1:1\nMemSessRedundancy 2", '2', qr/MemSessServers|server/],
    ["MemSessRedundancy 2", '2', qr/MemSessServers|server/],
    ["MemSessServers 127.0.0.1:1 127.0.0.1:2\nMemSessRedundancy 2\n"
     . "<VirtualHost *>\nMemSessServers 127.0.0.1:3\n</VirtualHost>",
        '2', qr/MemSessServers|server/],

    ['MemSessFailover maybe', 'maybe', qr/On.*Off/i],
    map({ my $directive = $_; map { ["$directive $_", $_] } qw(soon -1s 5lightyears 5ss) }
        qw(MemSessTimeout MemSessRetry MemSessIdleTimeout MemSessAbsoluteTimeout MemSessRefresh)),
    ['MemSessTimeout 0', '0'],
    ['MemSessIdleTimeout 0', '0'],
    map({ ["MemSessConnections $_", (split)[-1]] } qw(0 -1 many 1.5), '10 idle=soon', '10 idle',
        '10 nonsense', '10 max=5', '10 idle=-1s'),

    map({ ["MemSessServerAuth $dir/$_", "$dir/$_"] } qw(missing colonless empty)),
    ["MemSessServerAuth $dir/open", "$dir/open", qr/chmod|readable|mode/],

    map({ ["MemSessCookie $_", (split)[-1]] } 'a=b', 'a;b', 'a,b', 'a/b'),
    ["MemSessCookie na\xc3\xafve", 'na'],
    ['MemSessCookie "two words"', 'two words'],
    ['MemSessCookie ""', ''],
    map({ ["MemSessCookie id $_", $_] } qw(Nonsense=1 Nonsense SameSite=Maybe SameSite= SameSite
        Secure=maybe HttpOnly=maybe Path=relative Path= Path=/a;b Domain= Domain=a;b Domain=a/b
        Max-Age=soon Max-Age=-1 Max-Age= Partitioned=maybe)),
    ['MemSessCookie id "Path=/a b' . "\x01" . '"', 'Path=/a b'],
    ['MemSessCookie id SameSite=None', 'SameSite=None', qr/Secure=on/],
    ['MemSessCookie id SameSite=None Secure=auto', 'SameSite=None', qr/Secure=on/],
    ['MemSessCookie id SameSite=None Secure=off', 'SameSite=None', qr/Secure=on/],
    ['MemSessCookie id Partitioned', 'Partitioned', qr/Secure=on/],
    ['MemSessCookie __Host-id', '__Host-id', qr/Secure=on/],
    ['MemSessCookie __Host-id Secure=auto', '__Host-id', qr/Secure=on/],
    ['MemSessCookie __host-id', '__host-id', qr/Secure=on/],
    ['MemSessCookie __Host-id Secure=on Path=/app', '__Host-id', qr{Path=/}],
    ['MemSessCookie __Host-id Secure=on Domain=example.com', '__Host-id', qr/Domain/],
    ['MemSessCookie __Secure-id', '__Secure-id', qr/Secure=on/],
    ['MemSessCookie __Http-id', '__Http-id', qr/Secure=on and HttpOnly=on/],
    ['MemSessCookie __Http-id Secure=on HttpOnly=off', '__Http-id', qr/HttpOnly=on/],
    ['MemSessCookie __HTTP-id Secure=auto', '__HTTP-id', qr/Secure=on/],
    ['MemSessCookie __Host-Http-id', '__Host-Http-id', qr/Secure=on/],
    ['MemSessCookie __Host-Http-id Secure=on HttpOnly=off', '__Host-Http-id', qr/HttpOnly=on/],
    ['MemSessCookie __Host-Http-id Secure=on Path=/app', '__Host-Http-id', qr{Path=/}],
    ['MemSessCookie __host-http-id Secure=on Domain=example.com', '__host-http-id', qr/Domain/],
    ['MemSessCookieForward maybe', 'maybe', qr/On.*Off/i],

    ["MemSessIdleTimeout 2h\nMemSessAbsoluteTimeout 1h", '',
     qr/MemSessIdleTimeout.*MemSessAbsoluteTimeout|MemSessAbsoluteTimeout.*MemSessIdleTimeout/s],
    ["MemSessAbsoluteTimeout 1h\nMemSessIdleTimeout 2h", '', qr/MemSessIdleTimeout/],
    ['MemSessIdleTimeout 25h', '', qr/MemSessAbsoluteTimeout/],
    ['MemSessAbsoluteTimeout 20min', '', qr/MemSessIdleTimeout/],
    ["<Location /a>\nMemSessIdleTimeout 2h\nMemSessAbsoluteTimeout 1h\n</Location>", '',
     qr/MemSessIdleTimeout/],
    ["<VirtualHost *>\nMemSessIdleTimeout 25h\n</VirtualHost>", '', qr/MemSessIdleTimeout/],

    ['MemSessExpose nonsense', 'nonsense', qr/env.*headers.*none/i],
    ['MemSessExpose env nonsense', 'nonsense', qr/env.*headers.*none/i],
    ['MemSessExpose none env', 'none'],
    ['MemSessExpose', ''],
    map({ my $directive = $_; map { ["$directive $_", $_] } qw(a/b a*b ** *a a=b),
        'x' x 65 } qw(MemSessExposeKeys MemSessWritebackKeys)),
    ['MemSessExposeKeys', ''],
    ['MemSessWritebackKeys "two words"', 'two words'],
    ['MemSessWriteback maybe', 'maybe', qr/On.*Off/i],
    map({ ["MemSessWritebackVerbs $_", (split)[-1], qr/set, unset.*admin/] } 'all', 'none',
        'set nonsense', 'MemSess-Set', '*'),
    ['MemSessWritebackVerbs', ''],
    ['MemSessLock nonsense', 'nonsense', qr/none.*commit/i],
    ['MemSessBind cookie', 'cookie', qr/ua, ip and tls, or off/],
    ['MemSessOnError nonsense', 'nonsense', qr/deny.*anonymous/i],
    map({ ["MemSessMaxSize $_", $_] } qw(0 -1 large 10x 99999999999999999999)),
    map({ ["MemSessCompress $_", $_] } qw(-1 much 10x 99999999999999999999)),
    ['MemSessSeal maybe', 'maybe', qr/On.*Off/i],
    ['MemSessSeal On', 'On', qr/MemSessSecret/],
    ["<VirtualHost *>\nMemSessSeal On\n</VirtualHost>", 'On', qr/MemSessSecret/],
    ['MemSessNonsense 1', ''],
);

subtest 'refused, with directive, value and fix' => sub {
    for my $case (@refused) {
        my ($config, $value, $fix) = @$case;
        my ($status, $message) = MemSess::Member->check($config);
        my $shown = substr $config =~ s/\n/ | /gr =~ s/[^ -~]/?/gr, 0, 70;
        isnt $status, 0, "refused: $shown";
        $message =~ s/^.*?:\n//s;    # httpd names the place first
        ok scalar(grep { $message =~ /\b$_\b/ } $config =~ /MemSess\w*/g),
            "$shown: names the directive" or diag $message;
        ok index($message, $value) >= 0, "$shown: names the value" or diag $message;
        like $message, $fix, "$shown: says the fix" if $fix;
    }
};

# One valid line of every directive, by the places where it may stand.
my @vhost_only = (
    'MemSessServers 127.0.0.1:11211', 'MemSessRedundancy 1', 'MemSessFailover Off',
    'MemSessTimeout 1s', 'MemSessRetry 5s', 'MemSessConnections 10 idle=30s',
    "MemSessServerAuth $dir/good", 'MemSessNamespace shop', 'MemSessCompress 4096',
    "MemSessSecret file:$dir/secret", 'MemSessSeal Off',
);
my @everywhere = (
    'MemSess On', 'MemSessCookie id', 'MemSessCookieForward On', 'MemSessIdleTimeout 10min',
    'MemSessAbsoluteTimeout 12h', 'MemSessRefresh 10s', 'MemSessExpose headers',
    'MemSessExposeKeys a b*', 'MemSessWriteback On',
    'MemSessWritebackKeys a', 'MemSessWritebackVerbs set renew', 'MemSessLock commit', 'MemSessOnError anonymous',
    'MemSessMaxSize 2M', 'MemSessMaxSize 5000', 'MemSessUserAttr name', 'MemSessLoginURL /login?%s',
);

sub is_accepted {
    my ($config) = @_;
    my ($status, $message) = MemSess::Member->check($config);
    is $status, 0, 'accepted: ' . substr $config =~ s/\n/ | /gr, 0, 100 or diag $message;
}

subtest 'accepted' => sub {
    is_accepted($_) for (
        '', @vhost_only, @everywhere,
        'MemSessServers 127.0.0.1', 'MemSessServers [::1]',
        'MemSessServers [::1]:11212 127.0.0.1:11212 localhost:11213',
        'MemSessServers unix:/run/memcached.sock',
        'MemSessServers unix:/a?name=a&weight=3 127.0.0.1?weight=2',
        'MemSessServers mc-1.example.com:11211?name=one',
        "MemSessServers 127.0.0.1:1\nMemSessServers 127.0.0.1:2\nMemSessRedundancy 2",
        "MemSessServers 127.0.0.1:1\n<VirtualHost *>\nMemSessServers 127.0.0.1:1\n</VirtualHost>",
        "MemSessServers 127.0.0.1:1 127.0.0.1:2 127.0.0.1:3\nMemSessRedundancy 3",
        "<VirtualHost *>\nMemSessServers 127.0.0.1:1 127.0.0.1:2\nMemSessRedundancy 2\n"
        . "</VirtualHost>",
        'MemSessTimeout 50ms', 'MemSessRetry 1min', 'MemSessConnections 5', 'MemSessCompress Off',
        'MemSessCookie id Path=/app Domain=example.com SameSite=Strict Secure=on HttpOnly=off '
        . 'Max-Age=86400',
        'MemSessCookie id SameSite=None Secure=on', 'MemSessCookie id Partitioned Secure=on',
        'MemSessCookie id Secure=off', 'MemSessCookie __Host-id Secure=on',
        'MemSessCookie __Secure-id Secure=on Path=/app',
        'MemSessCookie __Http-id Secure=on Path=/app Domain=example.com',
        'MemSessCookie __Host-Http-id Secure=on', 'MemSessCookie __Host-id Secure=on HttpOnly=off',
        'MemSessCookie __HttpOnly-id',
        'MemSessCookie id samesite=lax secure=AUTO', 'MemSessAbsoluteTimeout 0',
        "MemSessAbsoluteTimeout 0\nMemSessIdleTimeout 100h", 'MemSessRefresh 0',
        "MemSessIdleTimeout 1h\nMemSessAbsoluteTimeout 1h",
        "MemSessIdleTimeout 1440h\nMemSessAbsoluteTimeout 2880h",
        'MemSessExpose env headers', "<Location /a>\nMemSessExpose none\n</Location>",
        'MemSessExposeKeys *', 'MemSessLock none', 'MemSessOnError deny',
        'MemSess Off', "MemSessSeal On\nMemSessSecret file:$dir/secret",
    );
};

subtest 'directives of a server do not stand in a directory' => sub {
    for my $line (@vhost_only) {
        my ($status, $message) = MemSess::Member->check("<Location /a>\n$line\n</Location>");
        isnt $status, 0, "refused in <Location>: $line";
        my ($directive) = $line =~ /^(\w+)/;
        like $message, qr/$directive.*(?:not allowed|cannot occur)/, 'and named';
        is_accepted("<VirtualHost *>\n$line\n</VirtualHost>");
    }
};

subtest 'directives of a directory stand in any section' => sub {
    my $all = join "\n", @everywhere;
    is_accepted("$_\n$all\n</" . (/<(\w+)/)[0] . '>')
        for '<VirtualHost *>', '<Location /a>', '<LocationMatch a>', '<Directory />',
        '<DirectoryMatch a>', '<If "true">', '<Proxy "http://x/">';
    is_accepted("<Directory />\n<Files x>\n$all\n</Files>\n</Directory>");
};

subtest 'nothing connects' => sub {
    my $memcached = MemSess::Memcached->start;
    is $memcached->during(sub {
        is_accepted('MemSessServers ' . $memcached->address);
    }, 'total_connections'), 1, 'to check a configuration';    # the test's own connection
};

subtest 'virtual hosts that share their users' => sub {
    open my $out, '>', "$dir/secret2" or die $!;
    print $out 't' x 32;
    close $out;
    chmod 0600, "$dir/secret2";
    # Virtual hosts: ServerName and further lines; then those that are named in the warning.
    my @cases = (
        [[['a.test'], ['b.test']], qw(a.test b.test)],
        [[['a.test'], ['b.test'], ['c.test']], qw(a.test b.test c.test)],
        [[map { ["$_.test"] } 'a' .. 'f'], 'others'],
        [[['a.test', 'MemSess On'], ['b.test', "<Location /x>\nMemSess On\n</Location>"]],
            qw(a.test b.test)],
        [[['a.test', "MemSessServers h1:1 h2:2"], ['b.test', "MemSessServers h2:2 h1:1"]],
            qw(a.test b.test)],
        [[['a.test', "MemSessSecret file:$dir/secret"],
          ['b.test', "MemSessSecret file:$dir/secret2 file:$dir/secret"]], qw(a.test b.test)],
        [[['a.test', 'ServerAlias www.a.test'], ['www.a.test'], ['b.test']], qw(a.test b.test)],
        [[['a.test']]],
        [[['a.test'], ['a.test'], ['A.test']]],
        [[['a.test', 'ServerAlias www.a.test'], ['www.a.test']]],
        [[['www.a.test'], ['a.test', 'ServerAlias *.a.test']]],
        [[['a.test', 'MemSess Off'], ['b.test', 'MemSess Off']]],
        [[['a.test', 'MemSess Off'], ['b.test']]],
        [[['a.test', 'MemSessNamespace a'], ['b.test', 'MemSessNamespace b']]],
        [[['a.test', 'MemSessNamespace all'], ['b.test', 'MemSessNamespace all']]],
        [[['a.test', 'MemSessNamespace a'], ['b.test']]],
        [[['a.test'], ['b.test', 'MemSessServers 127.0.0.1:1']]],
        [[['a.test', "MemSessSecret file:$dir/secret"],
          ['b.test', "MemSessSecret file:$dir/secret2"]]],
        [[['a.test', "MemSessSecret file:$dir/secret"], ['b.test']]],
    );
    my $said = qr/the virtual hosts (.*) share their sessions and users.*MemSessNamespace/;
    for (@cases) {
        my ($hosts, @named) = @$_;
        my $config = join '', map { my ($name, @lines) = @$_;
            join "\n", '<VirtualHost *>', "ServerName $name", @lines, "</VirtualHost>\n" } @$hosts;
        my ($status, $message) = MemSess::Member->check($config);
        is $status, 0, 'accepted: ' . $config =~ s/\n/ | /gr;
        my @lines = $message =~ /$said/g;
        is scalar(@lines), @named ? 1 : 0, @named ? 'said once' : 'not said' or diag $message;
        like $lines[0], qr/\b\Q$_\E\b/, "names $_" for @named;
    }
    my ($status, $message) = MemSess::Member->check("MemSessNamespace all\n"
        . join '', map { "<VirtualHost *>\nServerName $_.test\n</VirtualHost>\n" } 'a', 'b');
    is $status, 0, 'one namespace for all';
    unlike $message, $said, 'is meant';
};

my @pool = map { MemSess::Memcached->start } 1 .. 3;
my @address = map { $_->address } @pool;
my $m = MemSess::Member->start(servers => ["$address[0] $address[1]"], config => qq(
    <VirtualHost *>
        ServerName heir.test
        ScriptAlias /cgi/ "\${T_ROOT}/cgi-bin/"
    </VirtualHost>
    <VirtualHost *>
        ServerName own.test
        ScriptAlias /cgi/ "\${T_ROOT}/cgi-bin/"
        MemSessServers $address[2]
        MemSessCookie own
        <Location /cgi/env/renamed>
            MemSessCookie other
        </Location>
        MemSessIdleTimeout 10min
    </VirtualHost>
    <Directory "\${T_ROOT}/htdocs/htaccess">
        AllowOverride All
    </Directory>
));

subtest 'a pool for each virtual host' => sub {
    my ($heir, $own) = (client($m, host => 'heir.test'),
        client($m, host => 'own.test', name => 'own'));
    my $n = 0;
    my $written = sub {
        my ($c, $server) = @_;
        return growth(0, sub { set_via($c, 'a=' . ++$n) }, ['cmd_set'], $server) ? 1 : 0;
    };
    is_deeply [map { $written->($heir, $_) } @pool], [1, 1, 0], 'the inherited one';
    is_deeply [map { $written->($own, $_) } @pool], [0, 0, 1], "a list of one's own replaces it";
    set_via($heir, 'a=heir');
    set_via($own, 'a=own');
    is data($heir), 'a=heir', 'each has its sessions';
    is data($own), 'a=own', 'each has its sessions';
    is state(client($m, host => 'heir.test')->set_cookie($own->cookie)), 'unknown',
        'and not the other';
    is state(client($m, host => 'own.test', name => 'memsess')->set_cookie($own->cookie)), 'none',
        'nor another cookie';
    is client($m, host => 'own.test',
        name => 'other')->set_cookie($own->cookie)->get('/cgi/env/renamed')->env('MEMSESS_STATE'),
        'active', 'a location may name it otherwise';
};

subtest 'defaults' => sub {
    my $m = MemSess::Member->start(servers => \@pool,
        config => "MemSess Off\n<LocationMatch /on>\nMemSess On\n</LocationMatch>");
    my $r = client($m)->get('/cgi/env');
    unlike $r->body, qr/^MEMSESS_(?!T_)/m, 'MemSess Off';
    is client($m)->get('/cgi/env/on')->env('MEMSESS_STATE'), 'none', 'On in a location';
    $m->stop;
};

subtest 'never in .htaccess' => sub {
    for my $line (@vhost_only, @everywhere) {
        my ($directive) = $line =~ /^(\w+)/;
        my $dir = "$ENV{MEMSESS_T_ROOT}/htdocs/htaccess/$directive";
        mkdir $_ for "$ENV{MEMSESS_T_ROOT}/htdocs/htaccess", $dir;
        open my $out, '>', "$dir/.htaccess" or die $!;
        print $out "$line\n";
        close $out;
        my $mark = $m->log->mark;
        is client($m)->get("/htaccess/$directive/")->status, 500, $directive;
        like $m->log->text($mark), qr/\.htaccess: $directive not allowed here/, 'the log says why';
    }
};
