# Answers that bypass the output filters: a 101 of a WebSocket or of HTTP/2 over cleartext, and the
# answers of nph- programs. Their head is the response's beginning: the session is committed and
# re-dated, its lock is freed, and whatever comes later is too late.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Site;
use MemSess::Test;
use MemSess::WebSocket;
use Time::HiRes qw(sleep);

my $backend = MemSess::WebSocket->backend;
my $port    = $backend->port;
my $modules = MemSess::Site::query('LIBEXECDIR');

# How httpd passes a WebSocket on: by mod_proxy_http, with both kinds of URL, and by
# mod_proxy_wstunnel.
my @kinds = qw(http ws tunnel);

my $config = timing() . <<"END";
LoadModule http2_module "$modules/mod_http2.so"
LoadModule apitest_module "\${T_ROOT}/modules/.build/mod_apitest.so"
Protocols h2c http/1.1
H2WebSockets On
ProxyPass /http/ "http://127.0.0.1:$port/" upgrade=websocket
ProxyPass /ws/ "ws://127.0.0.1:$port/"
# Workers are told apart by their URLs' beginnings.
ProxyPass /tunnel/ "ws://localhost:$port/"
<Location /tunnel/>
    ProxyWebsocketFallbackToProxyHttp Off
</Location>
MemSessLock request
MemSessLockWait 40s
<LocationMatch "\\?|/short">
    MemSessIdleTimeout 20s
    MemSessRefresh 500ms
</LocationMatch>
<LocationMatch /renewed>
    MemSessRenew 1ms
</LocationMatch>
<Location /status>
    MemSess Off
    SetHandler memsess-status
</Location>
LogFormat "%U %{late-set}n" late
CustomLog "\${T_DIR}/late_log" late
END

my @pool = pool(2);
my @m = map { MemSess::Member->start(servers => \@pool, config => $config) } 1, 2;

plan tests => 10 * @kinds + 9;

my $files = 0;
sub file { return sprintf '%s/logs/past-%d-%d', $ENV{MEMSESS_T_ROOT}, $$, ++$files }
sub touch { open my $out, '>', $_[0] or die $! }

# Waits until a back end, or a script, waits for this file.
sub begun { my ($file) = @_; wait_for(20, sub { -e "$file.begun" }) or die 'nobody waits for the file' }

sub cookie_of { my ($c) = @_; return defined $c->cookie ? 'Cookie: memsess=' . $c->cookie : () }

sub late_set { my ($m, $path) = @_;
    my $log = MemSess::Log->new("$m->{dir}/late_log");
    my $set;
    wait_for(20, sub { ($set) = $log->text(0) =~ /^\Q$path\E (\w+)$/m });
    return $set;
}

sub counted {
    my ($m, $what) = @_;
    return client($m)->get('/status?format=json')->body =~ /"locks":\s*\{[^}]*"$what":\s*(\d+)/ ? $1
        : die 'no status';
}

# The session's next request, on the other member, does not have to wait.
sub is_free {
    my ($c, $what) = @_;
    my $r;
    my $took = seconds(sub { $r = $c->copy(server => $m[1])->get(say_via('lua', 'MemSess-Incr: n=1')) });
    is $r->status, 200, "$what: the next request is answered";
    cmp_ok $took, '<', 20, 'at once';
}

# ---- WebSockets ----

for my $kind (@kinds) {
    subtest "$kind: an open socket holds nothing up" => sub {
        my $c = started($m[0], 'n=0');
        my $ws = MemSess::WebSocket->open($m[0], "/$kind/echo", cookie_of($c));
        is $ws->status, 101, 'switched' or diag $ws->{head};
        is $ws->say('hello'), 'hello', 'it works';
        is_free($c, 'while it is open');
        is $ws->say('again'), 'again', 'it still works';
        $ws->close;
        is data($c), 'n=1', 'and the session is well';
        like $ws->{head}, qr/^X-Said: yes\r$/m, 'the rest of its head came';
        unlike $ws->{head}, qr/memsess/i, 'and nothing of ours';
    };

    subtest "$kind: a module's changes" => sub {
        my $c = started($m[0], 'n=0');
        my $ws = MemSess::WebSocket->open($m[0], "/$kind/echo", cookie_of($c), 'X-Incr: n',
            'X-Late: 1');
        is $ws->say('hello'), 'hello', 'it works';
        is data($c->copy(server => $m[1])), 'n=1', 'are there while it is open';
        $ws->close;
        is late_set($m[0], "/$kind/echo"), 'late', 'what comes later is refused';
        is data($c), 'n=1', 'and they are made once';
    };

    subtest "$kind: a session that begins" => sub {
        my $ws = MemSess::WebSocket->open($m[0], "/$kind/echo", 'X-Incr: n');
        my ($cookie) = $ws->{head} =~ /^Set-Cookie: memsess=([^;]+);/m;
        ok $cookie, 'the 101 sets its cookie' or diag $ws->{head};
        is $ws->say('hello'), 'hello', 'it works';
        is data(client($m[1])->set_cookie($cookie)), 'n=1', 'it is there';
        $ws->close;
    };

    subtest "$kind: MemSessRenew" => sub {
        my $c = started($m[0], 'n=0');
        my $ws = MemSess::WebSocket->open($m[0], "/$kind/echo/renewed", cookie_of($c));
        my ($cookie) = $ws->{head} =~ /^Set-Cookie: memsess=([^;]+);/m;
        isnt $cookie // $c->cookie, $c->cookie, 'another id';
        is data(client($m[1])->set_cookie($cookie)), 'n=0', 'leads to the session';
        $ws->close;
    };

    subtest "$kind: a session that only opens sockets" => sub {
        my $c = started($m[0], 'n=0');
        $c->get('/lua/env/short');
        for (1 .. 4) {
            let_pass(8);
            my $ws = MemSess::WebSocket->open($m[0], "/$kind/echo/short", cookie_of($c));
            is $ws->say('hello'), 'hello', 'a socket';
            $ws->close;
        }
        is $c->get('/cgi/env/short')->env('MEMSESS_STATE'), 'active', 'it does not expire';
    };

    subtest "$kind: 103 is no beginning" => sub {
        my $c = started($m[0], 'n=0');
        my $until = file();
        my $ws = MemSess::WebSocket->begin($m[0], "/$kind/echo?early&wait=$until", cookie_of($c));
        $ws->take(sub { $_[0] =~ /103/ || undef }) if $kind ne 'tunnel';
        begun($until);
        my $waits = counted($m[1], 'waits');
        my $next = background($c->copy(server => $m[1]), say_via('lua', 'MemSess-Incr: n=1'));
        ok wait_for(20, sub { counted($m[1], 'waits') > $waits }), 'the next one waits';
        touch($until);
        $ws->answered;
        is $ws->status, 101, 'switched';
        is $next->wait->status, 200, 'which is the beginning';
        is data($c), 'n=1', 'and what 103 said is not obeyed';
        unlike $ws->{head}, qr/memsess/i, 'nor shown';
        $ws->close;
    };

    subtest "$kind: another answer than 101" => sub {
        my $c = started($m[0], 'n=0');
        my $ws = MemSess::WebSocket->open($m[0], "/$kind/echo?status=403", cookie_of($c),
            'X-Incr: n');
        is $ws->status, 403, 'it comes';
        is_free($c, 'while the connection is open');
        is data($c), $kind eq 'tunnel' ? 'n=2' : 'n=2&no=1', 'changes are made';
        $ws->close;
    };

    subtest "$kind: changes that cannot be stored" => sub {
        my @own = pool(1);
        my $m = MemSess::Member->start(servers => \@own, config => $config);
        my $c = started($m, 'n=0');
        my ($until, $mark) = (file(), $m->log->mark);
        my $ws = MemSess::WebSocket->begin($m, "/$kind/echo?wait=$until", cookie_of($c), 'X-Incr: n');
        begun($until);
        $own[0]->kill9;
        touch($until);
        $ws->answered;
        is $ws->status, 503, 'are no 101' or diag $ws->{head};
        like $ws->{head}, qr/^Retry-After: \d/m, 'but MemSessOnError';
        is $ws->say('hello'), undef, 'and no tunnel';
        like $m->log->text($mark), qr/changes are lost/, 'the log says so';
        # Otherwise mod_proxy's connections may still be in use, and a child that is told to stop
        # then may not end cleanly.
        $m->graceful_stop;
    };

    subtest "$kind: MemSess Off, and no session" => sub {
        my $off = MemSess::Member->start(config => "$config\nMemSess Off\n");
        my $ws = MemSess::WebSocket->open($off, "/$kind/echo", 'X-Incr: n');
        is $ws->say('hello'), 'hello', 'Off';
        unlike $ws->{head}, qr/memsess/i, 'nothing of ours';
        $ws = MemSess::WebSocket->open($m[0], "/$kind/echo");
        is $ws->say('hello'), 'hello', 'no session';
        unlike $ws->{head}, qr/memsess/i, 'nothing of ours';
        $ws->close;
        $off->graceful_stop;
    };

    subtest "$kind: over HTTP/2" => sub {
        my $c = started($m[0], 'n=0');
        my $ws = MemSess::WebSocket::H2->open($m[0], "/$kind/echo", cookie_of($c), 'X-Incr: n');
        is $ws->status, 200, 'a tunnel';
        is $ws->say('hello'), 'hello', 'it works';
        is_free($c, 'while it is open');
        is $ws->say('again'), 'again', 'it still works';
        is data($c), 'n=2', 'a change by a module is made too';
        $ws->close;
    };
}

subtest 'a WebSocket that mod_lua serves' => sub {
    my $c = started($m[0], 'n=0');
    my $ws = MemSess::WebSocket->open($m[0], '/lua/websocket', cookie_of($c), 'X-Incr: n');
    is $ws->status, 101, 'switched' or diag $ws->{head};
    is $ws->say('hello'), 'hello', 'it works';
    is_free($c, 'while it is open');
    is data($c), 'n=2', 'a change by a module is made';
    $ws->close;
};

# ---- HTTP/2 over cleartext ----

# curl itself hangs with the sanitizers' libraries.
sub h2c {
    my ($m, $target, @headers) = @_;
    delete local $ENV{LD_PRELOAD};
    open my $curl, '-|', qw(curl --disable --silent --include --http2 --max-time 50 --noproxy *),
        (map { ('--header', $_) } @headers), "http://127.0.0.1:" . $m->port . $target or die $!;
    local $/;
    return scalar(<$curl>) // '';
}

subtest 'a client that asks for HTTP/2' => sub {
    my $c = started($m[0], 'n=0');
    my $all;
    my $took = seconds(sub { $all = h2c($m[0], '/lua/env', cookie_of($c), 'X-Incr: n') });
    # mod_http2 is inactive under the prefork MPM.
    my $prefork = ($ENV{MPM} // '') eq 'prefork';
    like $all, $prefork ? qr{^HTTP/1\.1 200} : qr{^HTTP/1\.1 101 .*^HTTP/2 200}ms, 'has it';
    like $all, qr/^MEMSESS_STATE=active$/m, 'with its session';
    cmp_ok $took, '<', 30, 'without waiting for itself';
    is data($c), 'n=1', 'what a module changes is changed once';
    $all = h2c($m[0], say_via('cgi', 'MemSess-Incr: n=5'), cookie_of($c));
    like $all, qr{^HTTP/\S+ 200}m, 'an answer that writes';
    is data($c), 'n=6', 'is obeyed once';
    $all = h2c($m[0], '/lua/env', 'X-Incr: n');
    is scalar(() = $all =~ /^set-cookie:/mgi), 1, 'one session begins';
};

# ---- nph- ----

sub nph {
    my ($path, @lines) = @_;
    return "/cgi/nph-turn$path?" . escape(join("\r\n", 'HTTP/1.1 200 OK', 'Connection: close', @lines,
        '', '') . "begun\n");
}

# A program that has sent its head and still runs; also returns how it goes on.
sub nph_begun {
    my ($c, $path, @headers) = @_;
    my $until = file();
    my $request = background($c->copy, nph($path), "X-Until: $until", @headers);
    while ($request->{answer} !~ /begun/) {
        IO::Select->new($request->{socket})->can_read(10)
            && $request->{socket}->sysread($request->{answer}, 65536, length $request->{answer})
            or last;
    }
    return ($request, sub { touch($until); return $request->wait });
}

subtest 'nph-: the head is the beginning' => sub {
    my $c = started($m[0], 'n=0');
    my ($request, $end) = nph_begun($c, '', 'X-Incr: n', 'X-Late: 1');
    like $request->{answer}, qr/begun/, 'it has begun';
    is_free($c, 'while it runs');
    is data($c), 'n=2', "with a module's change";
    like $end->()->body, qr/^begun\nend\n\z/, 'all of it comes';
    is late_set($m[0], '/cgi/nph-turn'), 'late', 'what comes later is refused';
    is data($c), 'n=2', 'and nothing is made twice';
};

subtest 'nph-: a session that begins' => sub {
    my $r = client($m[0])->get(nph(''), 'X-Incr: n');
    my ($cookie) = ($r->header('Set-Cookie') // '') =~ /^memsess=([^;]+);/;
    ok $cookie, 'its cookie is set' or diag $r->{raw};
    is data(client($m[0])->set_cookie($cookie // '')), 'n=1', 'it is there';
    like scalar $r->header('Cache-Control'), qr/private/, 'and no cache keeps that';
};

subtest 'nph-: caches' => sub {
    my $c = started($m[0], 'n=0');
    my $r = $c->copy->get(nph(''));
    is $r->header('Cache-Control'), 'private', 'an active session: private';
    is $r->header('Vary'), 'Cookie', 'and Vary';
    $r = $c->copy->get(nph('', 'Cache-Control: public'));
    is $r->header('Cache-Control'), 'public', 'unless the program says otherwise';
};

subtest 'nph-: a session that is only read' => sub {
    my $c = started($m[0], 'n=0');
    $c->get('/lua/env/short');
    for (1 .. 4) {
        let_pass(8);
        is $c->copy->get(nph('/short'))->status, 200, 'a request';
    }
    is $c->get('/cgi/env/short')->env('MEMSESS_STATE'), 'active', 'it does not expire';
};

subtest 'nph-: changes that cannot be stored' => sub {
    my @own = pool(1);
    my $m = MemSess::Member->start(servers => \@own, config => "$config\nMemSessMaxSize 1000\n");
    my $c = started($m, 'n=9223372036854775806');
    my $other = background($c->copy, '/cgi/late/commit?' . escape("MemSess-Set: x=1\n\n"),
        'X-Until: ' . (my $until = file()), 'X-Incr: n');
    touch($until);
    is $other->wait->status, 200, 'one counts to the end';
    my $r = $c->copy->get(nph(''), 'X-Incr: n');
    is $r->status, 200, 'a change that is refused at once is no error of the answer';
    $own[0]->kill9;
    $r = $c->copy->get(nph(''), 'X-Incr: n');
    is $r->status, 503, 'nobody knows: 503';
    $m->graceful_stop;
};

subtest 'nph-: a head without an end, or none of HTTP' => sub {
    my $c = started($m[0], 'n=0');
    for my $text ("HTTP/1.1 200 OK\nX-Said: yes\n", "nonsense\n\nmore\n", '') {
        my $target = '/cgi/nph-say?' . escape($text);
        my $r = $c->copy->get($target, 'X-Incr: n');
        is $r->{raw}, $text =~ s/(200 OK\n)/$1/r, 'comes as it is'
            if $text !~ /^HTTP/;
    }
    is data($c), 'n=3', 'and what a module changed is stored';
};

subtest 'an answer that never comes' => sub {
    my $c = started($m[0], 'n=0');
    my $mark = $m[0]->log->mark;
    $c->copy->get(nph('', 'X-Pad: PAD'), 'X-Incr: n');
    ok $m[0]->log->wait_for(qr/changes are lost/, $mark), 'is told of in the log';
    is_free($c, 'and');
};
