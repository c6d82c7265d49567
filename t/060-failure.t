# The store cannot answer: the wait is bounded, the error is not taken for a miss, and it ends with
# its cause.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;
use MemSess::Faulty;
use Time::HiRes qw(time);

plan tests => 14;

my $config = q(
    MemSessTimeout 2s
    MemSessRetry 300ms
    <LocationMatch /anonymous>
        MemSessOnError anonymous
    </LocationMatch>
);

# The answer is our error page: it says when to come back, and leaves the cookie.
sub is_denied {
    my ($r, $what) = @_;
    is $r->status, 503, "$what: 503" or diag $r->{raw};
    like scalar($r->header('Retry-After')), qr/^[1-9]\d*$/, "$what: Retry-After";
    is scalar($r->header('Set-Cookie')), '', "$what: the cookie stays as it is";
}

sub seconds { my ($code) = @_; my $start = time; $code->(); return time - $start }

# Sends several requests at once; returns their responses.
sub together {
    my ($m, @requests) = @_;
    my @sockets = map {
        my $s = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $m->port) or die $@;
        my ($target, $c) = @$_;
        my $cookie = defined $c->cookie ? 'Cookie: memsess=' . $c->cookie . "\r\n" : '';
        print $s "GET $target HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n$cookie\r\n";
        [$s, $c];
    } @requests;
    return map {
        my ($s, $c) = @$_;
        my $answer = do { local $/; <$s> };
        my $r = MemSess::HTTP::Response->parse($answer // '');
        $c->keep($_) for $r->header('Set-Cookie');
        $r;
    } @sockets;
}

my $memcached = MemSess::Memcached->start;
my $m = MemSess::Member->start(servers => [$memcached], config => $config);

# Whether the store answers this client.
sub answers { my ($c) = @_; return sub { $c->copy->get('/cgi/env')->status == 200 } }

subtest 'a killed memcached' => sub {
    my $c = started($m, 'a=1');
    my $cookie = $c->cookie;
    $memcached->kill9;
    is_denied($c->get('/cgi/env'), 'a read');
    is_denied($c->get(say_via('cgi', 'MemSess-Set: a=2')), 'a write');
    is_denied($c->get('/plain.txt'), 'a file');
    is_denied($c->get('/proxy/echo'), 'a proxied request');

    my $new = client($m);
    my $r = $new->get('/cgi/env');
    is $r->status, 200, 'who has no cookie needs no store';
    is $r->env('MEMSESS_STATE'), 'none', 'and is told so';
    is_denied($new->get(say_via('cgi', 'MemSess-Set: a=1')), 'but cannot begin a session');

    $r = $c->get('/cgi/env/anonymous');
    is $r->status, 200, 'anonymous: the request goes on';
    is $r->env('MEMSESS_STATE'), 'unavailable', 'anonymous: state';
    is $r->env($_), undef, "anonymous: no $_" for qw(MEMSESS_ID MEMSESS_ATTR_a);
    is scalar($r->header('Set-Cookie')), '', 'anonymous: the cookie stays as it is';
    $r = $c->get('/proxy/echo/anonymous');
    is_deeply [$r->body =~ /^(memsess.*?)\r?$/mig], ['MemSess-State: unavailable'],
        'anonymous: headers';
    $r = $c->get(say_via('cgi/anonymous', 'MemSess-Set: a=2'));
    is scalar($r->header('Set-Cookie')), '', 'anonymous: a write makes no cookie either';
    is $c->cookie, $cookie, 'after all that the browser still has its cookie';

    my $mark = $m->log->mark;
    $c->get('/cgi/env') for 1 .. 20;
    my $failure = qr/memsess:(?:error|warn).*\Q@{[ $memcached->address ]}\E.*/;
    like $m->log->text, $failure, 'a dead server is logged, by name';
    cmp_ok scalar(my @lines = $m->log->text($mark) =~ /$failure/g), '<', 10,
        'but not for every request';

    $memcached->restart;
    ok back_again(answers($c)), 'once it is back it is asked again';
    $r = $c->get('/cgi/env');
    is $r->env('MEMSESS_STATE'), 'unknown', 'an empty one does not know the session';
    ok leaves_cookie($r), 'its cookie stays until the next one begins';
    set_via($c, 'a=3');
    is data($c), 'a=3', 'sessions begin again';
};

subtest 'a stopped memcached' => sub {
    my %c = map { $_ => started($m, "a=$_&who=$_") } 1 .. 4;
    $memcached->pause;
    my $r;
    cmp_ok seconds(sub { $r = $c{1}->get('/cgi/env') }), '<', 20,
        'delays a request by MemSessTimeout, not for ever';
    is_denied($r, 'it');
    cmp_ok seconds(sub { $c{ 1 + $_ % 4 }->get('/cgi/env') for 1 .. 20 }), '<', 25,
        'and not every one that follows';
    is $c{2}->get('/cgi/env/anonymous')->env('MEMSESS_STATE'), 'unavailable', 'anonymous: state';
    $memcached->resume;
    ok back_again(answers($c{1})), 'when it goes on, so do we';
    for (1 .. 5) {
        is data($c{$_}), "a=$_&who=$_", "session $_ is still there, and nobody else's" for 1 .. 4;
    }
};

subtest 'stopped while many ask' => sub {
    my @c = map { started($m, "who=$_") } 0 .. 7;
    $memcached->pause;
    my @r;
    cmp_ok seconds(sub { @r = together($m, map { ['/cgi/env', $_] } @c, @c) }), '<', 25,
        'all are answered';
    is_deeply [grep { $_->status != 503 } @r], [], 'with 503';
    $memcached->resume;
    ok back_again(answers($c[0])), 'it goes on';
    is_deeply [map { $_->env('MEMSESS_DATA') } together($m, map { ['/cgi/env', $_] } @c, @c)],
        [map { "who=$_" } 0 .. 7, 0 .. 7], 'everybody has his own session' for 1 .. 3;
};

subtest 'connections that a restart has closed cost nothing' => sub {
    my @c = map { client($m) } 1 .. 8;
    for my $round (1 .. 2) {
        my @r = together($m, map { [say_via('cgi', "MemSess-Set: round=$round"), $_] } @c);
        is_deeply [map { $_->status } @r], [(200) x 8], "round $round: every write";
        @r = together($m, map { ['/cgi/env', $_] } @c);
        is_deeply [map { $_->env('MEMSESS_DATA') } @r], [("round=$round") x 8],
            "round $round: is there";
        $memcached->restart;
        $_->set_cookie(undef) for @c;
    }
    my $unknown = client($m)->set_cookie('A' x 24);
    is state($unknown), 'unknown', 'and a read on such a connection is no error';
};

subtest 'answers that are spoilt' => sub {
    my $faulty = MemSess::Faulty->start($memcached);
    my $m = MemSess::Member->start(servers => [$faulty], config => "$config MemSessTimeout 500ms");
    my ($c, $other) = map { started($m, "who=$_&a=1") } qw(me other);
    for my $mode (qw(garbage error cut hang late closed)) {
        $faulty->mode($mode);
        cmp_ok seconds(sub { is_denied($c->get('/cgi/env'), "$mode: a read") }), '<', 20,
            "$mode: bounded";
        is_denied($c->get(say_via('cgi', 'MemSess-Set: b=2')), "$mode: a write");
        is $other->get('/cgi/env/anonymous')->env('MEMSESS_STATE'), 'unavailable',
            "$mode: anonymous";
        $faulty->mode('pass');
        ok back_again(answers($c)), "$mode: over";
        for (1 .. 3) {
            is $_->[0]->get('/cgi/env')->env('MEMSESS_ATTR_who'), $_->[1],
                "$mode: $_->[1] has his own session"
                for [$c, 'me'], [$other, 'other'];
        }
    }
    $m->stop;
    $faulty->stop;
};

my @two  = ($memcached, MemSess::Memcached->start);
my $pair = MemSess::Member->start(servers => \@two, config => $config);

subtest 'two copies: one server may go' => sub {
    for my $victim (@two) {
        in_use($pair, @two);
        my @c = map { started($pair, "who=$_") } 1 .. 5;
        $victim->kill9;
        is data($c[$_ - 1]), "who=$_", "session $_ is still there" for 1 .. 5;
        set_via($_, 'more=1') for @c;
        is data($c[$_ - 1]), "more=1&who=$_", "session $_ can be changed" for 1 .. 5;
        set_via(client($pair), 'new=1');
        $victim->restart;
        is data($c[$_ - 1]), "more=1&who=$_", "session $_ is there when the server is back, empty"
            for 1 .. 5;
    }
};

subtest 'two copies: one server stands still' => sub {
    for my $victim (@two) {
        in_use($pair, @two);
        my $c = started($pair, 'a=1');
        $victim->pause;
        my @r;
        cmp_ok seconds(sub { @r = map { $c->get('/cgi/env') } 1 .. 30 }), '<', 30,
            'not every request waits for it';
        is_deeply [grep { ($_->env('MEMSESS_DATA') // '') ne 'a=1' } @r], [],
            'and none misses its session';
        is $c->get(say_via('cgi', 'MemSess-Incr: a=1'))->status, 200, 'writes are possible';
        $victim->resume;
        is data($c), 'a=2', 'the newer copy counts when the server is back' for 1 .. 3;
        ok back_again(answers($c)), 'and is asked';
        is data($c), 'a=2', 'now and later';
    }
};

subtest 'two copies: both servers gone' => sub {
    in_use($pair, @two);
    my $c = started($pair, 'a=1');
    $_->pause for @two;
    my $r;
    cmp_ok seconds(sub { $r = $c->get('/cgi/env') }), '<', 20, 'bounded';
    is_denied($r, 'a read');
    $_->resume for @two;
    ok back_again(answers($c)), 'back';
    is data($c), 'a=1', 'with the session';
};

subtest 'two copies: what one server alone may have is not there while it is away' => sub {
    my $c = client($pair)->set_cookie('Unknown_to_all_servers-0');
    in_use($pair, @two);
    is state($c->copy), 'unknown', 'all answered';
    $two[1]->kill9;
    is state($c->copy), 'unknown', 'one did not' for 1, 2;
    $two[0]->pause;
    is_denied($c->get('/cgi/env'), 'nobody did');
    is $c->get('/cgi/env/anonymous')->env('MEMSESS_STATE'), 'unavailable', 'which is no miss';
    $two[0]->resume;
    $two[1]->restart;
    ok back_again(sub { (state($c->copy) // '') eq 'unknown' }), 'and is one again';
};

subtest 'MemSessFailover' => sub {
    for my $setting (qw(On Off)) {
        my $m = MemSess::Member->start(servers => \@two, config => "$config
            MemSessRedundancy 1
            MemSessFailover $setting");
        $two[1]->kill9;
        my @c = map { client($m) } 1 .. 24;
        my @refused = grep { $_->get(say_via('cgi', 'MemSess-Set: a=1'))->status != 200 } @c;
        is scalar @refused, 0, "$setting: " . ($setting eq 'On' ? 'another server stands in'
            : 'an id is drawn whose server is there');
        is_deeply [grep { data($_) ne 'a=1' } @c], [], "$setting: which has the sessions";
        $two[1]->restart;
        $m->stop;
    }
};

subtest 'a server that refuses large items' => sub {
    my $small = MemSess::Memcached->start(args => ['-I', '512k']);
    my $m = MemSess::Member->start(servers => [$small], config => "$config MemSessCompress Off");
    my $c = started($m, 'n=0');
    my ($n, $r) = (0);
    while ($n < 20) {
        $r = $c->get(say_via('lua', "MemSess-Set: n=@{[ $n + 1 ]}&v$n=" . join '',
            map { chr(65 + rand 26) } 1 .. 50000));
        last if $r->status != 200;
        $n++;
    }
    cmp_ok $n, '>', 5, 'some fit';
    like $r->status, qr/^50[03]$/, 'what does not is an error';
    is_deeply [$r->leaks], [], 'without our headers';
    like $m->log->text, qr/memsess:(?:error|warn).*(?:large|refuse)/, 'that the log explains';
    is $c->get('/lua/env')->env('MEMSESS_ATTR_n'), $n, 'the stored session stays';
    $c->get(say_via('lua', 'MemSess-Incr: n=1'));
    is $c->get('/lua/env')->env('MEMSESS_ATTR_n'), $n + 1, 'and the server is in use as before';
    $m->stop;
    $small->stop;
};

subtest 'MemSessServerAuth' => sub {
    my $dir = "$ENV{MEMSESS_T_ROOT}/logs";
    for (['users', "anna:xyzzy17\n"], ['right', "anna:xyzzy17\n"], ['wrong', "anna:guessed\n"]) {
        my ($name, $text) = @$_;
        open my $out, '>', "$dir/$name" or die $!;
        print $out $text;
        close $out;
        chmod 0600, "$dir/$name";
    }
    my $guarded = MemSess::Memcached->start(args => ['-Y', "$dir/users"], auth => 'anna xyzzy17');
    my $m = MemSess::Member->start(servers => [$guarded],
        config => "$config MemSessServerAuth $dir/right");
    my $c = started($m, 'a=1');
    is data($c), 'a=1', 'the right password';
    $guarded->restart;
    set_via(client($m), 'a=2');
    for my $auth ('', "MemSessServerAuth $dir/wrong") {
        my $other = MemSess::Member->start(servers => [$guarded], config => "$config $auth");
        is_denied($c->copy(server => $other)->get('/cgi/env'), $auth ? 'a wrong one' : 'none');
        unlike $other->log->text, qr/xyzzy17|guessed/, 'no password in the log';
        $other->stop;
    }
    $m->stop;
    $guarded->stop;
};

subtest 'pools of one virtual host do not fail with those of another' => sub {
    my $m = MemSess::Member->start(servers => [$memcached], config => "$config
        <VirtualHost *>
            ServerName alive.test
            ScriptAlias /cgi/ \"\${T_ROOT}/cgi-bin/\"
        </VirtualHost>
        <VirtualHost *>
            ServerName dead.test
            ScriptAlias /cgi/ \"\${T_ROOT}/cgi-bin/\"
            MemSessServers unix:$ENV{MEMSESS_T_ROOT}/logs/no-such-socket
        </VirtualHost>");
    my $c = started($m, 'a=1', host => 'alive.test');
    is_denied($c->copy(host => 'dead.test')->get('/cgi/env'), 'the dead one');
    is_denied(client($m, host => 'dead.test')->get(say_via('cgi', 'MemSess-Set: a=1')),
        'which cannot begin a session');
    is data($c), 'a=1', 'the other is well';
    $m->stop;
};

subtest 'a memcached that is not there at the start' => sub {
    my $late = MemSess::Memcached->start;
    $late->kill9;
    my $m = MemSess::Member->start(servers => [$late], config => $config);
    is client($m)->get('/cgi/env')->status, 200, 'httpd starts and serves';
    is_denied(client($m)->get(say_via('cgi', 'MemSess-Set: a=1')), 'a write');
    $late->restart;
    my $c = client($m);
    ok back_again(sub { $c->get(say_via('cgi', 'MemSess-Set: a=1'))->status == 200 }),
        'until it comes';
    is data($c), 'a=1', 'and then all is well';
    $m->stop;
    $late->stop;
};
