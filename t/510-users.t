# A user's sessions: all others ended, one of them ended, listed, N at most; and how long ago the
# user logged in.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use JSON::PP;
use MemSess::Test;
use MemSess::Clock;
use MemSess::Status;
use POSIX ();

plan tests => 13;

my @pool = map { MemSess::Memcached->start } 1 .. 3;
my $secret = private_file('users-secret', '0123456789abcdef' x 4);
my $config = q(
    MemSessRetry 300ms
    MemSessUserSessions 3
    MemSessExpose env headers user-sessions
    LuaMapHandler ^/(?:lua|fresh|basic|cart|admin|cached|quick|shop)/(\w+) "${T_ROOT}/lua/$1.lua"
    <LocationMatch "^/(?:lua|cgi|proxy|admin)/">
        MemSessWritebackVerbs set unset incr renew destroy expire admin
    </LocationMatch>
    <Location /shop/>
        MemSessUserAttr customer
    </Location>
    <Location /cart/>
        MemSessWritebackVerbs set
    </Location>
    <Location /fresh/>
        AuthType MemSess
        MemSessLoginURL /login?back=%s
        Require memsess-login-age 1h
    </Location>
    <Location /quick/>
        AuthType MemSess
        MemSessLoginURL /login?back=%s
        Require memsess-login-age 20s
    </Location>
    <Location /basic/>
        Require memsess-login-age 20s
    </Location>
    <Location /status>
        SetHandler memsess-status
    </Location>
    <Location /memsess-admin>
        SetHandler memsess-admin
        Require ip 127.0.0.1
    </Location>
);
my @members = map {
    MemSess::Member->start(servers => \@pool, config => $config)
} 1, 2;
my $m = $members[0];

sub user   { my ($name, @how) = @_; return started($m, "user=$name", @how) }
sub say_to { my ($c, @lines) = @_; return $c->get(say_via('lua', @lines)) }
sub states { return join ' ', map { state($_) // '?' } @_ }
sub listed {
    my ($c) = @_;
    return decode_json($c->get('/lua/env')->env('MEMSESS_USER_SESSIONS') // '[]');
}
sub id { $_[0]->get('/lua/env')->env('MEMSESS_ID') }

subtest 'others' => sub {
    for my $renew (0, 1) {
        my ($own, @other) = map { user("ann$renew") } 1 .. 3;
        my $bob = user('bob');
        my ($id, $cookie) = (id($own), $own->cookie);
        my $r = say_to($own, 'MemSess-Destroy: others', 'MemSess-Set: changed=1',
            $renew ? 'MemSess-Renew: 1' : ());
        is $r->status, 200, $renew ? 'with Renew' : 'without';
        is states($own, @other, $bob), 'active unknown unknown active', 'the others are over';
        is data($own), "changed=1&user=ann$renew", 'this one goes on, with its data';
        is id($own), $id, 'and its id';
        is $own->cookie eq $cookie ? 0 : 1, $renew, $renew ? 'renewed' : 'with the same cookie';
        is states($own->copy->via($members[1]), map { $_->copy->via($members[1]) } @other),
            'active unknown unknown', 'on the other member too';
        is scalar @{ listed($own) }, 1, 'it is the only one in the list';
        say_to($own, 'MemSess-Destroy: others');
        is states($own), 'active', 'once more';
        my $again = user("ann$renew");
        is states($own, $again), 'active active', 'who logs in after that has a session';
        set_via($own, 'b=2');
        is states($own), 'active', 'it is written as ever';
    }
    my $nobody = started($m);
    is say_to($nobody, 'MemSess-Destroy: others')->status, 200, 'without a user';
    is states($nobody), 'active', 'nothing happens';
};

subtest 'two sessions end each other at once' => sub {
    my $both = 0;
    for my $round (1 .. 8) {
        my @c = map { user('twin')->via($members[$_]) } 0, 1;
        my @pids = map {
            my $c = $_;
            fork // die "fork: $!" or do { say_to($c, 'MemSess-Destroy: others'); POSIX::_exit(0) };
        } @c;
        waitpid $_, 0 for @pids;
        my @live = grep { state($_) eq 'active' } @c;
        cmp_ok scalar @live, '==', 1, "round $round: one goes on";
        say_to($live[0], 'MemSess-Destroy: all') if @live;
    }
};

subtest 'verbs' => sub {
    my ($own, $other) = map { user('vera') } 1, 2;
    my $id = id($other);
    for ('others', "id=$id", 'user=vera', 'all', '1') {
        my $mark = $m->log->mark;
        $own->get(say_via('lua', "MemSess-Destroy: $_") =~ s{^/lua}{/cart}r);
        is states($own, $other), 'active active', "$_ without the verb";
        like $m->log->text($mark), qr/left alone, since MemSessWritebackVerbs does not allow/, 'log';
    }
    my $default = MemSess::Member->start(servers => \@pool, config => '');
    $own->via($default)->get(say_via('cgi', 'MemSess-Destroy: user=vera'));
    is states($own->via($m), $other), 'active active', 'admin is none that a section has unasked';
    for ('twice', 'id=', 'user=', 'user', 'user=%zz', 'others=1', 'id=a b') {
        is say_to($own, "MemSess-Destroy: $_")->status, 500, "malformed: $_";
    }
    is states($own, $other), 'active active', 'nothing has ended';
};

subtest 'user=' => sub {
    my @ann = map { user('ann%2C%C3%A4') } 1, 2;
    my $bob = user('bob');
    my $r = client($m)->get(say_via('lua', 'MemSess-Destroy: user=ann%2C%C3%A4'));
    is $r->status, 200, 'without a session';
    ok !$r->header('Set-Cookie'), 'none begins';
    is states(@ann, $bob), 'unknown unknown active', 'all of that user are over';
    is say_to($bob, 'MemSess-Destroy: user=nobody, user=ann')->status, 200, 'nothing to end';
    is states($bob), 'active', 'who asks goes on';
};

subtest 'the list' => sub {
    my $one = user('lena', );
    my $two = client($m);
    $two->get(say_via('cgi', 'MemSess-Set: user=lena&label=%C3%A4 phone'), 'User-Agent: Moz "x"');
    my $list = listed($two);
    is scalar @$list, 2, 'both';
    my ($mine) = grep { $_->{id} eq id($two) } @$list;
    is $mine->{label}, "\x{e4} phone", 'label';
    is_deeply [map { $_->{id} } grep { $_->{current} } @$list], [id($two)], 'current';
    ok abs($mine->{created} - time) < 60 && $mine->{used} >= $mine->{created}, 'times';
    unlike $two->get('/lua/env')->env('MEMSESS_USER_SESSIONS'), qr/[^ -~]/, 'ASCII alone';
    like $two->get('/proxy/echo')->echoed('MemSess-User-Sessions'), qr/^\[\{"id": "/, 'a header';
    my $admin = client($m)->get('/memsess-admin?user=lena');
    is_deeply [sort map { $_->{id} } @{ decode_json($admin->body)->{sessions} }],
        [sort map { $_->{id} } @$list], 'memsess-admin';
    say_to($one, 'MemSess-Destroy: 1');
    is scalar @{ listed($two) }, 1, 'without one that logged out';
    my $agent = client($m);
    $agent->get(say_via('cgi', 'MemSess-Set: user=lena'), 'User-Agent: Moz "x"');
    is_deeply [sort map { $_->{label} } @{ listed($two) }], ['Moz "x"', "\x{e4} phone"], 'User-Agent';
    say_to($agent, 'MemSess-Renew: 1');
    is scalar @{ listed($two) }, 2, 'a renewed one is no other';
    say_to($agent, 'MemSess-Set: user=other');
    is scalar @{ listed($two) }, 1, 'nor one of another user any more';
    is scalar @{ listed($agent) }, 1, 'which is in that list';
    my $none = MemSess::Member->start(servers => \@pool, config => 'MemSessExpose user-sessions env');
    is $two->copy->via($none)->get('/lua/env')->env('MEMSESS_USER_SESSIONS'), undef, 'Off';
    is $two->copy->via($none)->get('/lua/env')->env('MEMSESS_STATE'), 'active', 'all the same';
    my $late = started($none, 'user=lena&customer=17');
    my $shop = sub { $late->via($m)->get('/shop/say?' . escape(join "\n", @_, '', '')) };
    $shop->('MemSess-Incr: n=1');
    is scalar @{ listed($two) }, 2, "in the log-in's list, where another attribute says who the user is";
    $shop->('MemSess-Destroy: 1');
    is scalar @{ listed($two) }, 1, 'and out of it';
};

subtest 'id=' => sub {
    my ($own, $other, $third) = map { user('ida') } 1 .. 3;
    my $bob = user('bobby');
    say_to($own, 'MemSess-Destroy: id=' . id($other));
    is states($own, $other, $third), 'active unknown active', 'that one is over';
    my $mark = $m->log->mark;
    is say_to($own, 'MemSess-Destroy: id=' . id($bob))->status, 200, "another user's";
    is states($bob), 'active', 'is not';
    like $m->log->text($mark), qr/this session's user has no such session/, 'the log says so';
    my $r = client($m)->post('/memsess-admin', 'user=ida&id=' . id($third), 'MemSess-Admin: 1',
        'Content-Type: application/x-www-form-urlencoded');
    is $r->status, 200, 'memsess-admin';
    is states($own, $third), 'active unknown', 'ends one';
    $r = client($m)->post('/memsess-admin', 'user=ida&id=AAAAAAAAAAAAAAAA', 'MemSess-Admin: 1',
        'Content-Type: application/x-www-form-urlencoded');
    is $r->status, 404, 'none such';
};

subtest 'N at most' => sub {
    my @c;
    for (1 .. 4) { push @c, user('max'); let_pass(1.1) if $_ < 4 }
    is states(@c), 'unknown active active active', 'the one that was unused for longest ends';
    is scalar @{ listed($c[3]) }, 3, 'three are left';
};

subtest 'twenty log-ins at once' => sub {
    my @cookies;
    my @kids = map {
        my $n = $_;
        pipe my $in, my $write or die $!;
        my $pid = fork // die "fork: $!";
        if (!$pid) {
            my $c = client($members[$n % 2]);
            my $r = $c->get(say_via('cgi', 'MemSess-Set: user=crowd'));
            syswrite $write, $r->status . ' ' . ($c->cookie // '');
            POSIX::_exit(0);
        }
        close $write;
        [$pid, $in];
    } 1 .. 20;
    for (@kids) {
        my $text = readline $_->[1];
        waitpid $_->[0], 0;
        my ($status, $cookie) = split / /, $text // '';
        is $status, 200, 'a log-in';
        push @cookies, client($m)->set_cookie($cookie);
    }
    is scalar(grep { state($_) eq 'active' } @cookies), 3, 'three are live';
};

subtest 'a list that is lost' => sub {
    my $c = user('lost');
    $_->command('flush_all') for @pool;
    is state($c), 'unknown', 'nobody goes on';
};

subtest 'login age' => sub {
    my $c = user('age');
    my $age = $c->get('/lua/env')->env('MEMSESS_LOGIN_AGE');
    ok defined $age && $age <= 15, 'a moment ago' or diag $age;
    is started($m)->get('/lua/env')->env('MEMSESS_LOGIN_AGE'), undef, 'without a user';
    is $c->get('/fresh/env', 'Accept: text/html')->status, 200, 'new enough';
    let_pass(21);
    cmp_ok $c->get('/lua/env')->env('MEMSESS_LOGIN_AGE'), '>=', 21, 'it grows';
    my $r = $c->get('/quick/env', 'Accept: text/html');
    is $r->status, 302, 'too old: a page';
    is $r->header('Location'), '/login?back=%2fquick%2fenv', 'leads to the log-in';
    is $c->get('/quick/env', 'Accept: application/json')->status, 401, 'others get 401';
    is $c->post('/quick/env', 'a=1', 'Accept: text/html')->status, 401, 'a POST too';
    is $c->get('/basic/env')->status, 401, 'without AuthType';
    is client($m)->get('/quick/env', 'Accept: text/html')->status, 302, 'without a session';
    say_to($c, 'MemSess-Set: b=2', 'MemSess-Renew: 1');
    cmp_ok $c->get('/lua/env')->env('MEMSESS_LOGIN_AGE'), '>=', 2, 'kept through Renew and use';
    say_to($c, 'MemSess-Set: user=age');
    is $c->get('/quick/env', 'Accept: text/html')->status, 200, 'who logs in again is let in';
    my ($status, $message) = MemSess::Member->check(
        "<Location />\nRequire memsess-login-age soon\n</Location>");
    isnt $status, 0, 'no time';
    like $message, qr/Require memsess-login-age soon: must be one time/, 'is refused';
};

subtest 'login age, and a local cache' => sub {
    my @cached = map {
        MemSess::Member->start(servers => \@pool, config => qq(
            MemSessSecret file:$secret
            MemSessLocalCache 1M max-age=1min
            $config
        ));
    } 1, 2;
    my $c = started($cached[0], 'user=cora');
    my $age = sub { $c->via($cached[$_[0]])->get('/lua/env')->env('MEMSESS_LOGIN_AGE') };
    $age->($_) for 0, 1, 0, 1;
    my $hits = status($cached[0])->{local_cache}{hits};
    let_pass(21);
    cmp_ok $age->($_), '>=', 21, "member $_: a copy is no younger" for 0, 1;
    cmp_ok status($cached[0])->{local_cache}{hits}, '>', $hits, 'it was a copy';
    is $c->get('/quick/env', 'Accept: text/html')->status, 302, 'too old';
    $c->via($cached[0])->get(say_via('lua', 'MemSess-Set: user=cora'));
    is $c->via($cached[$_])->get('/quick/env', 'Accept: text/html')->status, 200,
        "member $_: who logs in again is let in, by no older copy" for 0, 1;
};

subtest 'while a server is away' => sub {
    my ($own, $other) = map { user('away') } 1, 2;
    $pool[0]->kill9;
    ok wait_for(20, sub { states($own, $other) eq 'active active' }), 'both go on';
    is say_to($own, 'MemSess-Destroy: others')->status, 200, 'others';
    is states($own, $other), 'active unknown', 'are over';
    my $third = user('away');
    is states($own, $third), 'active active', 'a log-in';
    $pool[0]->restart;
    back_again(sub { states($own, $other, $third) eq 'active unknown active' });
    is states($own, $other, $third), 'active unknown active', 'when it is back';
};

subtest 'while nobody can tell' => sub {
    my ($own, $other) = map { user('mute') } 1, 2;
    $_->pause for @pool;
    is $own->get('/fresh/env', 'Accept: text/html')->status, 503, 'how long ago';
    is client($m)->get(say_via('lua', 'MemSess-Destroy: user=mute'))->status, 503, 'nothing is ended';
    $_->resume for @pool;
    back_again(sub { states($own, $other) eq 'active active' });
    is states($own, $other), 'active active', 'nor is it later';
};
