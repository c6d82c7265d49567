# The session itself: when it begins, what it costs, when it is over.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults qw(late);
use MemSess::Test;

plan tests => 16;

my $memcached = MemSess::Memcached->start;
my $m = MemSess::Member->start(servers => [$memcached], config => q(
    Action redirected /cgi/env virtual
    ErrorDocument 404 /cgi/env/error
    <Location /file-by-action>
        SetHandler redirected
    </Location>
    RewriteEngine On
    RewriteRule ^/rewritten$ /cgi/env [PT]

    <LocationMatch /idle>
        MemSessIdleTimeout 40s
    </LocationMatch>
    <LocationMatch /absolute>
        MemSessIdleTimeout 40s
        MemSessAbsoluteTimeout 60s
    </LocationMatch>
    <LocationMatch /forever>
        MemSessIdleTimeout 40s
        MemSessAbsoluteTimeout 0
    </LocationMatch>
    <LocationMatch /long>
        MemSessIdleTimeout 1440h
        MemSessAbsoluteTimeout 2400h
    </LocationMatch>
    <LocationMatch /refresh>
        MemSessRefresh 20s
    </LocationMatch>
    <LocationMatch /seldom>
        MemSessRefresh 5min
    </LocationMatch>
    <LocationMatch /none>
        MemSessExpose none
    </LocationMatch>
    <LocationMatch /off>
        MemSess Off
    </LocationMatch>
    <LocationMatch /nolock>
        MemSessLock none
    </LocationMatch>
));

sub env_at { my ($c, $where) = @_; return $c->get("/cgi/env/$where") }
sub state_at { env_at(@_)->env('MEMSESS_STATE') }

subtest 'nothing happens until something is written' => sub {
    my $c = client($m);
    is $memcached->traffic(sub {
        my $r = $c->get('/cgi/env');
        is $r->env('MEMSESS_STATE'), 'none', 'state';
        is $r->env('MEMSESS_ID'), undef, 'no id';
        is scalar($r->header('Set-Cookie')), '', 'no cookie';
        is scalar($c->get('/plain.txt')->header('Set-Cookie')), '', 'nor from a file';
        is scalar($c->get('/no/such/file')->header('Set-Cookie')), '', 'nor from an error';
    }), 0, 'no store traffic';
};

subtest 'the first attribute starts a session, the next request has it' => sub {
    my $c = client($m);
    my $r = set_via($c, 'b=two%20words&a=1');
    is scalar(my @cookies = $r->header('Set-Cookie')), 1, 'one cookie';
    $r = $c->get('/cgi/env');
    is $r->env('MEMSESS_STATE'), 'active', 'state';
    is $r->env('MEMSESS_ATTR_a'), '1', 'one attribute';
    is $r->env('MEMSESS_ATTR_b'), 'two words', 'the other';
    like $r->env('MEMSESS_DATA'), qr/^a=1&b=two(?:%20|\+)words$/, 'all, in name order';
    is scalar($r->header('Set-Cookie')), '', 'reading sets no cookie';
    my $id = $r->env('MEMSESS_ID');
    ok length $id, 'an id';
    isnt $id, $c->cookie, 'that is not the cookie';
    set_via($c, 'b=3');
    $r = $c->get('/cgi/env');
    is $r->env('MEMSESS_DATA'), 'a=1&b=3', 'changed';
    is $r->env('MEMSESS_ID'), $id, 'the same session';
    isnt started($m)->get('/cgi/env')->env('MEMSESS_ID'), $id, 'another one has another id';
};

subtest 'one load a request, whatever the request becomes' => sub {
    my $c = started($m, 'a=1');
    is growth(1, sub { $c->get('/cgi/env') }, ['cmd_get'], $memcached), 1, 'a request loads its session';
    my %shown = (
        'subrequests (SSI)'               => ['/session.shtml', 4],
        'an internal redirect (Action)'   => ['/file-by-action', 1],
        'an internal redirect (CGI)'      => [say_via('cgi', 'Location: /cgi/env'), 1],
        'an ErrorDocument'                => ['/no/such/file', 1],
        'a rewritten request'             => ['/rewritten', 1],
    );
    for my $what (sort keys %shown) {
        my ($target, $times) = @{ $shown{$what} };
        my $r;
        is growth(1, sub { $r = $c->get($target) }, ['cmd_get'], $memcached), 1, $what;
        my @values = $r->body =~ /^(?:MEMSESS_ATTR_)?a=1$/mg;
        is scalar @values, $times, "$what: shown there" or diag $r->{raw};
    }
};

subtest 'the change is stored before the first byte leaves' => sub {
    my $c = started($m, 'a=1');
    my $s = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $m->port) or die $@;
    (my $target = say_via('cgi', 'MemSess-Set: a=2')) =~ s{/say}{/linger};
    print $s "GET $target HTTP/1.1\r\nHost: localhost\r\nCookie: memsess=", $c->cookie, "\r\n\r\n";
    sysread $s, my $first, 1;
    is data($c), 'a=2', 'another request sees it while the response goes on';
    my $on = 1;
    $s->blocking(0);
    while (my $got = sysread $s, my $more, 65536) { $on = 0 if $more =~ /\r\n0\r\n\r\n/ }
    ok $on && $!{EAGAIN}, 'which it does';
};

subtest 'sessions that nobody asks for are not loaded' => sub {
    my $c = started($m);
    for my $where (qw(none off)) {
        my $r;
        is $memcached->traffic(sub { $r = env_at($c, $where) }), 0, "$where: no store traffic";
        is_deeply [grep { /^MEMSESS_(?!T_)/ } split /\n/, $r->body], [], "$where: nothing exposed";
        is scalar($r->header('Set-Cookie')), '', "$where: the cookie stays";
    }
    $c->get(say_via('cgi/off', 'MemSess-Set: a=2'));
    is data($c), 'a=1', 'nor changed where they are off';
    $c->get(say_via('cgi/none', 'MemSess-Set: a=3'));
    is data($c), 'a=3', 'but where they are only not exposed, write-back has its way';
};

subtest 'MemSessLock none' => sub {
    my $c = started($m);
    is $c->get(say_via('cgi/nolock', 'MemSess-Set: b=2', 'MemSess-Incr: a=5'))->status, 200,
        'written';
    is data($c), 'a=6&b=2', 'and read';
    # All of these use the same commit, so they may be mixed.
    my $n = 2;
    for my $where ('cgi/nolock', 'cgi', 'cgi/nolock') {
        my $write = sub { $n++; $c->get(say_via($where, "MemSess-Set: b=$n")) };
        is growth(2, $write, ['cmd_set'], $memcached), 2, "$where: the claim and the record";
        is data($c), "a=6&b=$n", 'done';
    }
};

subtest 'MemSessLock none: the last writer wins' => sub {
    my $c = started($m);
    my ($early, $late) = map { late($c, "cgi/nolock", "MemSess-Set: $_=1") } qw(early late);
    my ($sure) = late($c, 'cgi/nolock', 'MemSess-Incr: n=1');
    is $early->()->status, 200, 'the one has written';
    is data($c), 'a=1&early=1', 'as it saw the session';
    is $late->()->status, 200, 'the other too';
    is data($c), 'a=1&late=1', 'as that saw it';
    is $sure->()->status, 200, 'a third one adds';
    is data($c), 'a=1&late=1&n=1', 'which loses nothing';
};

subtest 'lifetimes over 30 days' => sub {
    my $c = client($m);
    my %before = map { $_ => 1 } $memcached->keys;
    is $c->get(say_via('cgi/long', 'MemSess-Set: a=1'))->status, 200, 'written';
    is state_at($c, 'long'), 'active', 'there';
    my @kept = grep { !$before{$_->[0]} } map { [/^key=(\S+)/, /exp=(\S+)/] }
        $memcached->command('lru_crawler metadump all');
    ok scalar(grep { $_->[1] == -1 || $_->[1] > now + 1400 * 3600 } @kept),
        'and kept for as long in memcached' or diag explain \@kept;
};

subtest 'MemSessCompress' => sub {
    for my $case (['1000', sub { $_[0] < 5000 }], ['Off', sub { $_[0] >= 20000 }]) {
        my ($setting, $right) = @$case;
        my $m = MemSess::Member->start(servers => [$memcached],
            config => "MemSessCompress $setting");
        my $c = client($m);
        my $bytes = $memcached->during(sub { set_via($c, 'a=' . 'x' x 20000, 'lua') }, 'bytes');
        ok $right->($bytes), "$setting: $bytes bytes in memcached";
        is data($c), 'a=' . 'x' x 20000, "$setting: the same session";
        $m->stop;
    }
};

subtest 'namespaces share a pool but no session' => sub {
    my $other = MemSess::Member->start(servers => [$memcached], config => 'MemSessNamespace other');
    my $c = started($m);
    is state($c->copy(server => $other)), 'unknown', 'not found in another namespace';
    is state($c), 'active', 'still there in its own';
    $other->stop;
};

# Several sessions age at the same time.
my %c = map { $_ => client($m) } qw(quiet busy absolute forever reader seldom short_limit);
my $born = now;
subtest 'sessions that will age' => sub {
    for my $name (qw(quiet busy)) {
        is $c{$name}->get(say_via('cgi/idle', "MemSess-Set: a=$name"))->status, 200, $name;
    }
    for my $name (qw(absolute forever)) {
        is $c{$name}->get(say_via("cgi/$name", "MemSess-Set: a=$name"))->status, 200, $name;
    }
    set_via($c{$_}, "a=$_") for qw(reader seldom short_limit);
};

subtest 'a session that is only read is re-dated at most every MemSessRefresh' => sub {
    my $writes = sub {
        my ($c, $where, $times) = @_;
        return growth(0, sub { state_at($c, $where) for 1 .. $times }, [qw(cmd_set cmd_touch)],
            $memcached);
    };
    let_pass(21);
    cmp_ok $memcached->during(sub { state_at($c{reader}, 'refresh') }, 'cmd_set'), '>', 0,
        'after the interval it is';
    is $writes->($c{reader}, 'refresh', 5), 0, 'not again by each of the next requests';
    is $writes->($c{seldom}, 'seldom', 5), 0, 'nor within a longer interval';
};

subtest 'used sessions live on, absolute time-outs do not care' => sub {
    my (%seen, $told);
    while (now - $born < 80) {
        let_pass(5);
        my $age = now - $born;
        my %state = (busy     => state_at($c{busy}, 'idle'),
                     absolute => state_at($c{absolute}, 'absolute'),
                     forever  => state_at($c{forever}, 'forever'));
        # The session expires after 60 s; on a slow machine it is uncertain shortly before and after.
        my $when = now - $born < 50 ? 'before' : $age > 65 ? 'after' : 'between';
        $seen{$when}{$_}{ $state{$_} }++ for keys %state;
        $told++ if $state{absolute} eq 'expired';
    }
    is_deeply [keys %{ $seen{before}{$_} }], ['active'], "$_: active at first"
        for qw(busy absolute forever);
    is_deeply [keys %{ $seen{after}{$_} }], ['active'], "$_: active all the time"
        for qw(busy forever);
    ok !$seen{after}{absolute}{active}, 'absolute: over' or diag explain \%seen;
    cmp_ok $told, '>', 1, 'told again and again';
};

subtest 'an idle session is over' => sub {
    my $cookie = $c{quiet}->cookie;
    my $r = env_at($c{quiet}, 'idle');
    is $r->env('MEMSESS_STATE'), 'expired', 'told so';
    is $r->env('MEMSESS_DATA') // '', '', 'no data';
    ok leaves_cookie($r), 'the cookie stays';
    is state_at($c{quiet}, 'idle'), 'expired', 'told again';
    is $c{quiet}->get(say_via('cgi/idle', 'MemSess-Set: b=new'))->status, 200, 'a write';
    isnt $c{quiet}->cookie, $cookie, 'begins a new session';
    is env_at($c{quiet}, 'idle')->env('MEMSESS_DATA'), 'b=new', 'with nothing of the old one';
};

subtest "the record's age counts, with this request's limits" => sub {
    is state_at($c{short_limit}, 'seldom'), 'active', 'young enough for 30 minutes';
    is state_at($c{short_limit}, 'idle'), 'expired', 'too old for 40 seconds';
};

subtest 'memcached may forget, the session is then unknown' => sub {
    my $c = started($m);
    $memcached->delete($_) for $memcached->keys;
    my $r = $c->get('/cgi/env');
    is $r->env('MEMSESS_STATE'), 'unknown', 'state';
    ok leaves_cookie($r), 'the cookie stays';
};
