# mod_memsess.h as other modules use it: one that calls what the query says, and the example.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Test;

plan tests => 20;

-f "t/modules/.build/mod_$_.so"
    or die "mod_$_.so is missing: run make -f Makefile.apxs test-modules\n"
    for qw(apitest counter);

my @pool   = map { MemSess::Memcached->start } 1, 2;
my $config = q(
LoadModule apitest_module "${T_ROOT}/modules/.build/mod_apitest.so"
LoadModule counter_module "${T_ROOT}/modules/.build/mod_counter.so"
MemSessRetry 300ms
<Location "/">
    MemSessExpose none
    MemSessWriteback Off
</Location>
<Location "/api">
    SetHandler apitest
</Location>
<Location "/api/off">
    MemSess Off
</Location>
<Location "/api/headers">
    MemSessWriteback On
    MemSessExpose env
</Location>
<Location "/api/verbs">
    MemSessWriteback On
    MemSessWritebackKeys cart*
</Location>
<Location "/api/small">
    MemSessMaxSize 100
</Location>
<Location "/api/named">
    MemSessUserAttr login.name
</Location>
<Location "/api/anonymous">
    MemSessOnError anonymous
</Location>
<Location "/api/other">
    MemSessCookie other
</Location>
<Location "/api/short">
    MemSessIdleTimeout 20s
    MemSessRefresh 1h
</Location>
<Location "/counter">
    MemSess On
    SetHandler counter
</Location>
<Location "/counter/login">
    AuthType Basic
    AuthName "Counter"
    AuthUserFile "${T_DIR}/users"
    Require valid-user
</Location>
LogFormat "%{late}n %{late-set}n" late
CustomLog "${T_DIR}/late_log" late
);
my ($m, $n) = map { MemSess::Member->start(servers => \@pool, config => $config) } 1, 2;

# The commands' answers, one in each line, without that of open.
sub run {
    my ($c, $path, @commands) = @_;
    my $r = $c->get("/api$path?" . join '&',
        map { join '+', map { escape($_) } split / / } @commands);
    is_deeply [$r->leaks], [], 'nothing leaks';
    return grep { $_ ne 'open: 0' } split /\n/, $r->body;
}

my ($ok, $absent, $unavailable, $off, $late) = 0 .. 4;

subtest 'version' => sub {
    is_deeply [run(client($m), '', 'version')], ['version: 1003'], 'one';
    is_deeply [run(client($m), '', 'explain 4', 'explain 99')],
        ['explain: the response has begun', 'explain: an unknown code'], 'codes in words';
};

subtest 'lazy: nothing is asked or set without need' => sub {
    my $c = client($m);
    my $r;
    is sum(map { $_->traffic(sub { $r =
        $c->get('/api?state&get+a&list&id&unset+a&renew&destroy') }) } @pool), 0,
        'no cookie: no traffic';
    is $r->body,
        "open: 0\nstate: 0\nget: 1 null\nlist: 1\nid: 1 null\nunset: 1\nrenew: 1\ndestroy: 1\n",
        'no session: certainly absent';
    is_deeply [$r->header('Set-Cookie')], [], 'no cookie';
    run($c, '', 'set a 1');
    is sum(map { $_->traffic(sub { $c->get('/api?version') }) } @pool), 0,
        'MemSessExpose none: not read unless asked for';
    is growth(2, sub { $c->get('/api?get+a&list&get+b&state') }, ['cmd_get'], @pool), 2, 'read once';
};

subtest 'set, get, list, unset, incr' => sub {
    my $c = client($m);
    is_deeply [run($c, '', 'set a 1', 'set b two%words', 'get a', 'get b', 'get c', 'incr n 5',
                   'incr n -7', 'unset a', 'get a', 'unset a', 'list', 'id')],
        ['set: 0', 'set: 0', 'get: 0 1 1', 'get: 0 9 two%25words', 'get: 1 null', 'incr: 0 5',
         'incr: 0 -2', 'unset: 0', 'get: 1 null', 'unset: 1', '  b=two%25words', '  n=%2D2',
         'list: 0', 'id: 1 null'],
        'pending changes are read back';
    ok $c->cookie, 'they begin a session';
    my @want = ('state: 1', '  b=two%25words', '  n=%2D2', 'list: 0', 'get: 0 2 %2D2');
    is_deeply [run($c, '', 'state', 'list', 'get n')], \@want, 'and are there in the next request';
    is_deeply [run($c->via($n), '', 'state', 'list', 'get n')], \@want, 'on the other member';
    like [run($c, '', 'id')]->[0], qr/^id: 0 [\w-]{16}$/, 'with a public id';
};

subtest 'bytes, names and sizes' => sub {
    my $c = client($m);
    my $bytes = join '', map { chr } 1 .. 255;
    my @r = run($c, '', "set bin " . $bytes =~ s/ //r, 'get bin', 'set empty', 'get empty');
    is $r[1], 'get: 0 254 ' . join('',
        map { chr =~ /[A-Za-z0-9]/ ? chr : sprintf '%%%02X', $_ } grep { $_ != 32 } 1 .. 255),
        'any bytes';
    is $r[3], 'get: 0 0 ', 'an empty value';
    is_deeply [run($c, '', 'get bin')], [$r[1]], 'stored';
    is_deeply [run($c, '', 'set a nul', 'get a')], ['set: 6', 'get: 1 null'], 'a NUL';
    is_deeply [run($c, '', 'set a/b 1', 'incr a/b 1', 'set ' . 'x' x 65 . ' 1',
        'set ' . 'x' x 64 . ' 1')],
        ['set: 5', 'incr: 5 0', 'set: 5', 'set: 0'], 'names';
    is_deeply [run($c, '', 'set text abc', 'incr text 1', 'get text', 'set max 9223372036854775807',
        'incr max 1', 'get max')],
        ['set: 0', 'incr: 8 0', 'get: 0 3 abc', 'set: 0', 'incr: 9 0',
         'get: 0 19 9223372036854775807'], 'integers';
    $c = client($m);
    is_deeply [run($c, '/small', 'set a bytes40', 'set b bytes100', 'set b bytes50', 'get b',
        'set a bytes20', 'set b bytes50')],
        ['set: 0', 'set: 7', 'set: 7', 'get: 1 null', 'set: 0', 'set: 0'], 'MemSessMaxSize';
    is_deeply [run($c, '', 'list')], ['  a=' . 'x' x 20, '  b=' . 'x' x 50, 'list: 0'],
        'what fitted is stored';
    is_deeply [run($c, '/small', 'set a bytes60', 'get a')], ['set: 7', 'get: 0 20 ' . 'x' x 20],
        'a value taken back';
    is_deeply [run($c, '', 'set big bytes900000', 'unset big')], ['set: 0', 'unset: 0'],
        'large ones';
};

subtest 'the list goes on while it is changed' => sub {
    my $c = client($m);
    run($c, '', 'set a 1', 'set last 1', 'set volatile 1', 'set z 1');
    is_deeply [run($c, '', 'list')], ['  a=1', '  last=1', 'list: 0'], 'ended by the callback';
    run($c, '', 'unset last');
    is_deeply [run($c, '', 'list', 'list')],
        ['  a=1', '  volatile=1', '  z=1', 'list: 0', '  a=1', '  z=1', 'list: 0'], 'changed by it';
};

subtest 'renew and destroy' => sub {
    my $c = client($m);
    run($c, '', 'set a 1');
    my ($old, @id) = ($c->copy, run($c, '', 'id'));
    is_deeply [run($c, '', 'renew', 'get a')], ['renew: 0', 'get: 0 1 1'], 'renew';
    isnt $c->cookie, $old->cookie, 'a new cookie';
    is_deeply [run($c, '', 'get a', 'id')], ['get: 0 1 1', @id], 'the same session';
    is_deeply [run($old->copy, '', 'state')], ['state: 2'], 'the old id is dead';

    $old = $c->copy;
    is_deeply [run($c, '', 'set b 2', 'destroy', 'get a', 'list', 'destroy')],
        ['set: 0', 'destroy: 0', 'get: 1 null', 'list: 1', 'destroy: 1'], 'destroy';
    is $c->cookie, undef, 'clears the cookie';
    is_deeply [run($old->copy, '', 'state')], ['state: 2'], 'for all';

    run($c, '', 'set a 1');
    $old = $c->copy;
    my @other = run($c, '', 'id');
    is_deeply [run($c, '', 'destroy', 'set c 3', 'list')],
        ['destroy: 0', 'set: 0', '  c=3', 'list: 0'], 'and begin another one';
    is_deeply [run($c, '', 'list')], ['  c=3', 'list: 0'], 'with what was set then';
    isnt $c->cookie, $old->cookie, 'another cookie';
    isnt [run($c, '', 'id')]->[0], $other[0], 'another session';
};

subtest 'log out everywhere' => sub {
    my ($here, $there, $other) = map { client($m) } 1 .. 3;
    run($_, '', 'set user ann') for $here, $there;
    run($other, '', 'set user bob');
    my $more = client($m);
    run($more, '', 'set user ann');
    is_deeply [run($here, '', 'others', 'set b 2', 'list')],
        ['others: 0', 'set: 0', '  b=2', '  user=ann', 'list: 0'], 'destroy_others';
    is_deeply [run($more, '', 'get user')], ['get: 1 null'], 'another one is over';
    is_deeply [run($here->copy->via($n), '', 'list')], ['  b=2', '  user=ann', 'list: 0'], 'this one goes on';
    run($there = client($m), '', 'set user ann');
    is_deeply [run($here, '', 'everywhere', 'get user')], ['everywhere: 0', 'get: 1 null'],
        'destroy_all';
    is $here->cookie, undef, 'this session';
    is_deeply [run($there->via($n), '', 'get user')], ['get: 1 null'], "and the user's others";
    is_deeply [run($other, '', 'get user')], ['get: 0 3 bob'], 'but nobody else';

    run($_ = client($m), '', 'set user ann') for $here, $there;
    is_deeply [run($here, '/named', 'others', 'destroy', 'get user')],
        ['others: 0', 'destroy: 0', 'get: 1 null'],
        'destroy_others and destroy, where the section knows its user by another attribute';
    is $here->cookie, undef, 'this session';
    is_deeply [run($there->via($n), '', 'get user')], ['get: 1 null'],
        'and the others of its log-in';
    is_deeply [run($other, '', 'get user')], ['get: 0 3 bob'], 'but nobody else';
};

subtest 'with write-back headers, in one commit' => sub {
    my $c = client($m);
    my $r;
    run($c, '/headers', 'set a api', 'incr n 1', 'header MemSess-Incr n=10',
        'header MemSess-Set b=header');
    my $times = 1;
    my $once_more = sub { $times++; run($c, '/headers', 'incr n 1', 'header MemSess-Incr n=10') };
    my @sets = map { growth(2, $once_more, ['cmd_set'], $_) } @pool;
    is_deeply [run($c, '', 'list')], ['  a=api', '  b=header', '  n=' . 11 * $times, 'list: 0'],
        'both count';
    is_deeply [map { $_ <= 2 ? 'one' : $_ } @sets], ['one', 'one'],
        'one claim and one write on each server';
    run($c, '', 'header MemSess-Set c=3', 'set d 4');
    is_deeply [grep { /^  [cd]=/ } run($c, '', 'list')], ['  d=4'],
        'MemSessWriteback Off holds headers back, not modules';
    $r = $c->get('/api/headers?set+e+5&header+MemSess-Set+broken');
    is $r->status, 500, 'a malformed header';
    is_deeply [grep { /^  e=/ } run($c, '', 'list')], [], 'refuses all of the response';
    run($c, '/headers', 'set f 6', 'header MemSess-Destroy 1');
    is $c->cookie, undef, 'a header ends what calls have set';
};

subtest 'say: whatever response headers say' => sub {
    my $c = client($m);
    my $malformed = 11;
    is_deeply [run($c, '', 'say MemSess-Renew 1', 'say MemSess-Destroy 1', 'say MemSess-Unset a',
        'say MemSess-Expire 60')], [('say: 1') x 4], 'no session: certainly absent';
    is $c->cookie, undef, 'none begins';
    is_deeply [run($c, '', 'say MemSess-Set a=1&b=two%20words,n=5', 'say memsess-incr n=2&m=1',
        'say MemSess-Unset a&x', 'list')],
        [('say: 0') x 3, '  b=two%20words', '  m=1', '  n=7', 'list: 0'], 'attributes';
    is_deeply [run($c->copy->via($n), '', 'list')],
        ['  b=two%20words', '  m=1', '  n=7', 'list: 0'], 'stored';

    is_deeply [run($c, '', 'say MemSess-Sets a=1', 'say MemSess-Set a', 'say MemSess-Renew 2',
        'say MemSess-Expire 1s', 'say MemSess-Destroy')],
        ["say: $malformed there is no such header", "say: $malformed 'a' has no '='",
         "say: $malformed the value must be 1",
         "say: $malformed the value must be a number of seconds, 2147483647 at most",
         "say: $malformed the value must be 1, all, others, id=PUBLIC_ID or user=NAME"],
        'malformed, in the words of the log';
    is_deeply [run($c, '', 'say MemSess-Incr n=1&b=1', 'say MemSess-Incr n=1&m=9223372036854775807',
        'get n', 'get m')], ['say: 8', 'say: 9', 'get: 0 1 7', 'get: 0 1 1'], 'all or nothing';
    is_deeply [run($c, '/small', 'say MemSess-Set a=1&c=' . 'x' x 100, 'get a')],
        ['say: 7', 'get: 1 null'], 'MemSessMaxSize';
    is_deeply [run($c, '', 'list')], ['  b=two%20words', '  m=1', '  n=7', 'list: 0'], 'nor stored';
    my $long = 'c ' . 'x' x 100;
    is_deeply [run(client($m), '/small', "set $long", 'renew', 'list'),
               run(client($m), '/small', 'say MemSess-Set a=1&c=' . 'x' x 100, 'renew', 'list')],
        ['set: 7', 'renew: 1', 'list: 1', 'say: 7', 'renew: 1', 'list: 1'], 'what is refused begins no session';

    my $old = $c->cookie;
    is_deeply [run($c, '', 'expire 3600000', 'say MemSess-Expire 86400', 'expiry',
        'say MemSess-Renew 1')], ['expire: 0', 'say: 0', 'expiry: 0 never', 'say: 0'],
        'the last end counts';
    isnt $c->cookie, $old, 'a new id';
    like +($c->get('/api?set+a+1&say+MemSess-Renew+1')->header('Set-Cookie')), qr/Max-Age=86400/i,
        'for so many seconds';
    is_deeply [run($c, '', 'say MemSess-Destroy 1', 'list', 'say MemSess-Set z=1')],
        ['say: 0', 'list: 1', 'say: 0'], 'ended, and another one begun';
    is_deeply [run($c, '', 'list')], ['  z=1', 'list: 0'], 'in order';

    my $ann = client($m);
    run($ann, '', 'set user ann');
    is_deeply [run(client($m), '', 'say MemSess-Destroy user=ann')], ['say: 0'], "another's";
    is_deeply [run($ann, '', 'get user')], ['get: 1 null'], 'all end';
    is_deeply [run($c, '', 'flush', 'say MemSess-Set a=1')], ['say: 4'], 'too late';
};

subtest 'parallel requests lose nothing' => sub {
    my $c = client($m);
    run($c, '', 'set a 1');
    my @pids = map {
        my $k = $_;
        defined(my $pid = fork) or die "fork: $!";
        if (!$pid) {
            my $own = $c->copy(server => $k % 2 ? $m : $n);
            $own->get("/api?incr+n+1&set+k$k+$_") for 1 .. 10;
            require POSIX;
            POSIX::_exit(0);
        }
        $pid;
    } 1 .. 4;
    waitpid $_, 0 for @pids;
    is_deeply [run($c, '', 'list')], ['  a=1', (map { "  k$_=10" } 1 .. 4), '  n=40', 'list: 0'],
        'merged';
};

subtest 'too late' => sub {
    my $c = client($m);
    is_deeply [run($c, '', 'set a 1', 'flush', 'set b 2', 'unset a', 'incr n 1', 'renew', 'destroy',
        'expire 1000', 'get a', 'get b')],
        ['set: 0', 'set: 4', 'unset: 4', 'incr: 4 0', 'renew: 4', 'destroy: 4', 'expire: 4',
         'get: 0 1 1', 'get: 1 null'],
        'once the headers have left';
    is_deeply [run($c, '', 'list')], ['  a=1', 'list: 0'], 'what came before counts';
    run($c, '', 'set late yes', 'log');
    ok wait_for(20, sub { MemSess::Log->new($m->dir . '/late_log')->text(0) =~ /^yes late$/m }),
        'in the log phase sessions are read, not changed';
};

subtest 'subrequests, internal redirects and errors share it' => sub {
    my $c = client($m);
    my @r = run($c, '', 'set a 1', 'sub /api?get+a&set+b+2', 'get b');
    is_deeply \@r, ['get: 0 1 1', 'set: 0', 'set: 0', 'get: 0 1 2'], 'a subrequest';
    is_deeply [run($c, '', 'list')], ['  a=1', '  b=2', 'list: 0'], 'commits with the request';
    run($c, '', 'set c 3', 'redirect /api?get+c&set+d+4');
    is_deeply [run($c, '', 'list')], ['  a=1', '  b=2', '  c=3', '  d=4', 'list: 0'], 'a redirect';
    is $c->get('/api?set+e+5&status+404')->status, 404, 'an error';
    is_deeply [run($c, '', 'get e')], ['get: 0 1 5'], 'commits too';
};

subtest 'MemSess Off, another cookie' => sub {
    my $c = client($m);
    is_deeply [split /\n/, $c->get('/api/off')->body], ['open: 3'], 'off';
    run($c, '', 'set a 1');
    my $other = client($m, name => 'other');
    run($other, '/other', 'set a 2');
    $other->set_cookie($other->cookie . '; memsess=' . $c->cookie);
    is_deeply [run($other, '/other', 'get a')], ['get: 0 1 2'], 'of the section';
    is_deeply [run($other, '', 'get a')], ['get: 0 1 1'], 'each';
};

subtest 'an end of its own' => sub {
    my $c = client($m);
    is_deeply [run($c, '', 'expire 1000', 'expiry')], ['expire: 1', 'expiry: 1 never'],
        'no session';
    run($c, '', 'set a 1', 'expire 3600000');
    like [run($c, '', 'expiry')]->[0], qr/^expiry: 0 3[56]\d{5}$/, 'is known';
    run($c, '', 'set b 2');
    like [run($c, '', 'expiry')]->[0], qr/^expiry: 0 3[56]\d{5}$/,
        'and stays when the session changes';
    let_pass(30);
    is_deeply [run($c, '/short', 'state')], ['state: 1'], 'above the idle time-out';
    run($c, '', 'expire 20000');
    is_deeply [run($c, '', 'state')], ['state: 1'], 'not yet';
    let_pass(21);
    is_deeply [run($c->copy, '', 'state')], ['state: 3'], 'below it';
    run($c, '', 'set a 1', 'expire 3600000');
    run($c, '', 'expire 0');
    is_deeply [run($c, '', 'expiry')], ['expiry: 0 never'], 'taken back';
    let_pass(30);
    is_deeply [run($c, '/short', 'state')], ['state: 3'], 'time-outs count again';
};

subtest 'keys and verbs are for headers' => sub {
    my $c = client($m);
    run($c, '/verbs', 'set user ann');
    my $old = $c->cookie;
    is_deeply [run($c, '/verbs', 'get user', 'renew')], ['get: 0 3 ann', 'renew: 0'], 'set, renew';
    isnt $c->cookie, $old, 'a new id';
    run($c, '/verbs', 'destroy');
    is $c->cookie, undef, 'destroy';
};

subtest 'kinds' => sub {
    my $c = client($m, name => 'own');
    is_deeply [run($c, '/off', 'kind mine own', 'set a 1', 'list')],
        ['open: 3', 'kind: 0', 'set: 0', '  a=1', 'list: 0'],
        'a session of its own, though MemSess is Off';
    is_deeply [run($c, '', 'kind mine own', 'get a', 'set b 2')],
        ['kind: 0', 'get: 0 1 1', 'set: 0'], 'or On';
    is_deeply [run($c, '', 'kind yours own', 'state', 'get a')],
        ['kind: 0', 'state: 2', 'get: 1 null'], 'another label does not find it';
    my $id = $c->set_cookie('x') && client($m, name => 'own');
    run($id, '', 'kind mine own', 'set a 1');
    is_deeply [run(client($m)->set_cookie($id->cookie), '', 'state')], ['state: 2'],
        'nor do the sessions of MemSess On';
    my $native = client($m);
    run($native, '', 'set a 1');
    is_deeply [run(client($m, name => 'own')->set_cookie($native->cookie), '', 'kind mine own',
        'state')],
        ['kind: 0', 'state: 2'], 'nor the other way round';
    is_deeply [run($native, '', 'kind mine memsess')], ['kind: 10'], 'one name for two kinds';
    is_deeply [run($native, '', 'kind mine own', 'kind yours own')], ['kind: 0', 'kind: 10'],
        'of modules';
    like [run($native, '', 'kind mine __Host-x')]->[0], qr/^kind: browsers drop __Host-x/,
        'the checks of MemSessCookie';
    like [run($native, '', 'kind m/ne own')]->[0], qr/^kind: the label must be/, 'a bad label';
    is_deeply [run($native, '', 'get a', 'kind mine own', 'set b 2')],
        ['get: 0 1 1', 'kind: 0', 'set: 0'], 'two in one request';
};

subtest 'caches' => sub {
    my $c = client($m);
    run($c, '', 'set a 1');
    my $r = $c->get('/api?get+a');
    like $r->header('Vary'), qr/\bCookie\b/, 'read: Vary';
    like $r->header('Cache-Control'), qr/private/, 'and private';
    $r = $c->get('/api?version');
    is $r->header('Vary') . $r->header('Cache-Control'), '', 'not read: neither';
};

subtest 'a store that cannot tell' => sub {
    my $c = client($m);
    run($c, '', 'set a 1');
    my $cookie = $c->cookie;
    $_->pause for @pool;
    my @r = run($c, '/anonymous', 'state', 'get a', 'list', 'id', 'set b 2', 'unset a', 'incr n 1',
        'renew', 'destroy', 'deny', 'version');
    is_deeply \@r, ['state: 5', 'get: 2 null', 'list: 2', 'id: 2 null', 'set: 2', 'unset: 2',
        'incr: 2 0', 'renew: 2', 'destroy: 2', 'version: 1003'],
        'unavailable, by every call; deny lets an anonymous one go on';
    my $r = $c->get('/api?get+a&deny');
    is $r->status, 503, 'deny';
    ok $r->header('Retry-After'), 'with Retry-After';
    is $c->cookie, $cookie, 'the cookie stays';
    $_->resume for @pool;
    ok wait_for(20, sub { (run($c, '/anonymous', 'get a'))[0] eq 'get: 0 1 1' }),
        'and so does the session';
    back_again(sub { 1 });
};

subtest 'the example' => sub {
    for my $member ($m, $n) {
        open my $users, '>', $member->dir . '/users' or die $!;
        print $users "ann:{SHA}", 'qUqP5cyxm6YcTAhz05Hph5gvu9M=', "\n"; # test
    }
    my $c = client($m);
    is $c->get('/counter')->body, "page 1 of a guest\n", 'a guest';
    is $c->via($n)->get('/counter')->body, "page 2 of a guest\n", 'on the other member';
    my $old = $c->copy;
    is $c->get('/counter/login')->status, 401, 'log-in needs a password';
    is $c->get('/counter/login', 'Authorization: Basic YW5uOnRlc3Q=')->body, "page 0 of ann\n",
        'log-in';
    isnt $c->cookie, $old->cookie, 'with a new id';
    is $c->via($m)->get('/counter')->body, "page 3 of ann\n", 'known everywhere';
    is $old->get('/counter')->body, "page 1 of a guest\n", 'but not by the old id';
    is $c->get('/counter/logout')->body, "page 0 of a guest\n", 'log-out';
    is $c->get('/counter')->body, "page 1 of a guest\n", 'and away';
};

subtest 'without mod_memsess' => sub {
    my $file = $m->dir . '/without.conf';
    open my $out, '>', $file or die "$file: $!";
    print $out (grep { !/memsess_module/ } split /^/,
        MemSess::Log->new("$ENV{MEMSESS_T_ROOT}/conf/modules.conf")->text(0)),
        qq(LoadModule counter_module "$ENV{MEMSESS_T_ROOT}/modules/.build/mod_counter.so"\n),
        qq(ServerName localhost\nErrorLog "$file.log"\n);
    close $out or die $!;
    my $message = qx('@{[ MemSess::Site::httpd() ]}' -t -f '$file' 2>&1);
    like $message, qr/Syntax OK/, 'the example loads';
};
