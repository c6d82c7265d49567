# MemSessLock request: one request of a session at a time, on all members; and what ends a turn.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use IO::Socket::INET;
use MemSess::Faults;
use MemSess::Process ();
use MemSess::Test;
use Time::HiRes qw(sleep time);

plan tests => 15;

my $backend = IO::Socket::INET->new(LocalHost => '127.0.0.1', Listen => 8) or die $@;
my @pool = pool(3);
my @m = map { MemSess::Member->start(servers => \@pool, config => timing() . <<"END") } 1 .. 2;
MemSessLock request
MemSessLockWait 50s
<Location /status>
    MemSess Off
    SetHandler memsess-status
</Location>
<LocationMatch /short>
    MemSessLockWait 1s
</LocationMatch>
<LocationMatch /anonymous>
    MemSessLockWait 1s
    MemSessOnError anonymous
</LocationMatch>
<LocationMatch /commit>
    MemSessLock commit
</LocationMatch>
<LocationMatch /none>
    MemSessLock none
</LocationMatch>
<LocationMatch /forbidden>
    Require all denied
</LocationMatch>
ProxyPass /slow/ http://127.0.0.1:@{[ $backend->sockport ]}/
END

# ---- words ----

my $files = 0;
sub file { return sprintf '%s/logs/turn-%d-%d', $ENV{MEMSESS_T_ROOT}, $$, ++$files }
sub touch { open my $out, '>', $_[0] or die $! }

# The notes of requests that had their turn: "begin a", "end a", ...
sub notes {
    open my $in, '<', $_[0] or return;
    chomp(my @lines = <$in>);
    return @lines;
}

# A request of this session that lasts: [client, target, headers]. how: on (a member), path, take or
# until, change
sub turn {
    my ($c, $notes, $name, %how) = @_;
    return [$c->copy(server => $how{on} // $m[0]),
            say_via('cgi', $how{change} // 'MemSess-Incr: n=1')
                =~ s{/say}{'/turn' . ($how{path} // '')}er,
            "X-Notes: $notes", "X-Name: $name", 'X-Take: ' . ($how{take} // 0),
            'X-Until: ' . ($how{until} // '')];
}

sub counted {
    my ($m, $what) = @_;
    return client($m)->get('/status?format=json')->body =~ /"locks":\s*\{[^}]*"$what":\s*(\d+)/ ? $1
        : die 'no status';
}

sub begun { my ($notes, $name) = @_;
    return wait_for(20, sub { grep { $_ eq "begin $name" } notes($notes) }) }

# A request that has the lock until the file exists; it has begun.
sub holder {
    my ($c, $notes, %how) = @_;
    my $until = file();
    my $holder = background(@{ turn($c, $notes, 'holder', until => $until, %how) });
    begun($notes, 'holder') or die 'the holder does not begin';
    return ($holder, sub { touch($until) });
}

# A request that has to wait, and is in line.
sub waiter {
    my ($turn) = @_;
    my $m = $turn->[0]{server};
    my $before = counted($m, 'waits');
    my $waiter = background(@$turn);
    wait_for(20, sub { counted($m, 'waits') > $before }) or die 'nobody waits';
    sleep 0.05;    # counted, and then in line
    return $waiter;
}

sub one_by_one {
    my ($notes, @names) = @_;
    is_deeply [notes($notes)], [map { ("begin $_", "end $_") } @names],
        'one after the other: ' . join ' ', @names;
}

# The waiting request is served within this many seconds after this is done.
sub is_served {
    my ($waiter, $within, $do, $who, $how) = @_;
    my $start = time;
    $do->();
    is $waiter->wait->status, 200, "$who is served";
    cmp_ok time - $start, '<', $within, $how;
}

# The session's next request, on the other member, gets the lock at once.
sub is_free {
    my ($c, $what) = @_;
    my ($r) = together([$c->copy(server => $m[1]), say_via('lua', 'MemSess-Set: last=1')]);
    is $r->status, 200, "$what: the next one has its turn";
    cmp_ok $r->{seconds}, '<', 8, 'at once';
}

# ---- turns ----

subtest 'a server hangs while a turn ends' => sub {
    my ($c, $mark, @home) = marked($m[0], @pool);
    for my $at (0, 1) {
        my ($holder, $release) = holder($c, file());
        $home[$at][0]->pause;
        started($m[0]) for 1 .. 8;    # until the member knows that
        is_served($holder, 20, $release, 'the holder', 'soon');
        $home[$at][0]->resume;
        settle();
        is_free($c, 'the server is back');
        settle();
    }
};

subtest 'one at a time, on whatever member' => sub {
    my $c = started($m[0], 'n=0');
    my $notes = file();
    my @r = together(map { turn($c, $notes, $_, on => $m[$_ % 2], take => 0.2) } 1 .. 8);
    is_deeply [map { $_->status } @r], [(200) x 8], 'all are answered';
    my @order = map { /begin (.*)/ } notes($notes);
    is_deeply [sort @order], [1 .. 8], 'all had a turn';
    one_by_one($notes, @order);
    is_deeply [sort { $a <=> $b } map { attr($_, 'n') } @r], [0 .. 7],
        'each saw what the one before had done';
    is data($c->copy(server => $_)), 'n=8', 'all is there' for @m;
};

subtest 'who waits is served' => sub {
    my $c = started($m[0], 'n=0');
    my $notes = file();
    my ($holder, $release) = holder($c, $notes);
    my @waiters = map { waiter(turn($c, $notes, $_, on => $m[$_ % 2])) } 1 .. 6;
    is_deeply [notes($notes)], ['begin holder'], 'all wait';
    $release->();
    is $_->wait->status, 200, 'answered' for $holder, @waiters;
    my @order = map { /begin (.*)/ } notes($notes);
    is_deeply [sort @order], [1 .. 6, 'holder'], 'all had a turn';
    one_by_one($notes, @order);
};

subtest 'nobody else waits' => sub {
    my $c = started($m[0], 'n=0');
    my $other = started($m[0], 'n=0');
    my $notes = file();
    my ($holder, $release) = holder($c, $notes);
    for my $m (@m) {
        is $other->copy(server => $m)->get(say_via('cgi', 'MemSess-Incr: n=1'))->status, 200,
            'another session';
        is state(client($m)), 'none', 'no session';
        is state(client($m)->set_cookie('nonsense')), 'invalid', 'a cookie that is none';
        is client($m)->get(say_via('cgi', 'MemSess-Set: a=1'))->status, 200, 'a new session';
        is $c->copy(server => $m)->get(say_via('cgi/commit', 'MemSess-Set: side=1'))->status, 200,
            'the same where MemSessLock is another';
    }
    is_deeply [notes($notes)], ['begin holder'], 'all that while one has the lock';
    is data($other), 'n=2';
    $release->();
    is $holder->wait->status, 200, 'and who has it gets through';
    is data($c), 'n=1&side=1', 'with both changes';
};

for my $lock (qw(commit none)) {
    subtest "MemSessLock $lock: side by side" => sub {
        my $c = started($m[0], 'n=0');
        my $notes = file();
        my @until = map { file() } 0 .. 1;
        my @r = map {
            background(@{ turn($c, $notes, $_, on => $m[$_], path => "/$lock", until => $until[$_],
                change => "MemSess-Set: w$_=1") })
        } 0 .. 1;
        begun($notes, $_) for 0 .. 1;
        is_deeply [sort +notes($notes)], ['begin 0', 'begin 1'], 'both have begun, none has ended';
        for (0 .. 1) {
            touch($until[$_]);
            is $r[$_]->wait->status, 200, 'answered';
        }
        is data($c), $lock eq 'commit' ? 'n=0&w0=1&w1=1' : 'n=0&w1=1',
            $lock eq 'commit' ? 'both changes' : 'the last one wins';
    };
}

# ---- the end of the wait ----

subtest 'the wait is bounded' => sub {
    my $c = started($m[0], 'n=0');
    my $notes = file();
    my ($holder, $release) = holder($c, $notes);
    my $timeouts = counted($m[1], 'timeouts');

    my ($r) = together(turn($c, $notes, 'short', on => $m[1], path => '/short'));
    is $r->status, 503, 'MemSessOnError deny: 503';
    like $r->header('Retry-After'), qr/^[1-9]\d*$/, 'Retry-After';
    is $r->header('Set-Cookie'), '', 'the cookie stays as it is';
    cmp_ok $r->{seconds}, '>=', 0.9, 'it did wait';
    cmp_ok $r->{seconds}, '<', 30, 'no longer than MemSessLockWait';
    is_deeply [notes($notes)], ['begin holder'], 'its handler does not run';

    ($r) = together(turn($c, $notes, 'anonymous', on => $m[1], path => '/anonymous',
        change => 'MemSess-Set: n=100&fresh=1'));
    is $r->status, 200, 'MemSessOnError anonymous: it goes on';
    is $r->env('MEMSESS_STATE'), 'unavailable', 'without a session, not with an empty one';
    is $r->env('MEMSESS_DATA'), '';
    is $r->header('Set-Cookie'), '', 'nor with a new one';
    is counted($m[1], 'timeouts') - $timeouts, 2, 'counted';

    $release->();
    is $holder->wait->status, 200, 'who had the lock gets through';
    is data($c->copy(server => $_)), 'n=1', 'the session is as it made it' for @m;
};

# ---- what ends a turn ----

subtest 'a handler that fails' => sub {
    my $c = started($m[0], 'n=0');
    for my $case (['an error',           500, say_via('cgi', 'Status: 500')],
                  ['no header at all',   500, '/cgi/say?nonsense'],
                  ['a malformed change', 500, say_via('cgi', 'MemSess-Incr: n=x')],
                  ['no such file',       404, '/nowhere'],
                  ['no access',          403, '/forbidden'],
                  ['a redirect',         302,
                   say_via('cgi', 'Status: 302', 'Location: /elsewhere')],
                  ['an internal one',    200, say_via('cgi', 'Location: /lua/env')],
                  ['no content',         204, say_via('cgi', 'Status: 204')]) {
        my ($what, $status, $target) = @$case;
        is $c->copy->get($target)->status, $status, $what;
        is_free($c, $what);
    }
    is data($c), 'last=1&n=0', 'and the session is as it was';
};

subtest 'a client that goes away while its script runs' => sub {
    my $c = started($m[0], 'n=0');
    my $notes = file();
    my ($holder, $release) = holder($c, $notes);
    my $next = waiter(turn($c, $notes, 'next', on => $m[1]));
    close $holder->{socket};
    sleep 0.3;
    is_deeply [notes($notes)], ['begin holder'], 'the script still runs, and has its turn';
    is_served($next, 4, $release, 'the next one', 'as soon as it has ended');
    one_by_one($notes, 'holder', 'next');
};

subtest 'a client that goes away, and a back end that fails' => sub {
    my $c = started($m[0], 'n=0');
    for my $what ('answers', 'fails') {
        my $gone = background($c->copy, '/slow/');
        my $conn = $backend->accept;
        close $gone->{socket};
        my $next = waiter([$c->copy(server => $m[1]), say_via('lua', 'MemSess-Incr: n=1')]);
        my $answer = $what eq 'answers'
            ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok" : '';
        is_served($next, 4, sub { $conn->print($answer); close $conn },
            "the back end $what: the next one", 'at once');
    }
    is data($c), 'n=2';
};

subtest 'a turn ends when the response begins' => sub {
    my $c = started($m[0], 'n=0');
    my $slow = background($c->copy, '/slow/');
    my $conn = $backend->accept;
    $conn->autoflush(1);
    my $next = waiter([$c->copy(server => $m[1]), say_via('lua', 'MemSess-Incr: n=1')]);
    $conn->print("HTTP/1.1 200 OK\r\nMemSess-Incr: n=10\r\nConnection: close\r\n\r\n", 'x' x 20000);
    is $next->wait->status, 200, 'the next one is served while the body is still under way';
    is data($c->copy(server => $m[1])), 'n=11', 'after the change of the one before';
    close $conn;
    is $slow->wait->status, 200;
};

subtest 'those in line whose clients go away' => sub {
    my $c = started($m[0], 'n=0');
    my $notes = file();
    my ($holder, $release) = holder($c, $notes);
    my $timeouts = sub { sum(map { counted($_, 'timeouts') } @m) };
    my $before = $timeouts->();
    my @gone = map { waiter(turn($c, $notes, $_, on => $m[$_ % 2], path => '/short')) } 1 .. 4;
    my $next = waiter(turn($c, $notes, 'next', on => $m[1]));
    close $_->{socket} for @gone;
    ok wait_for(20, sub { $timeouts->() == $before + 4 }), 'they wait for MemSessLockWait';
    is_served($next, 4, $release, 'who is behind them', 'at once: they have left the line');
    one_by_one($notes, 'holder', 'next');
};

subtest 'a memcached that dies meanwhile' => sub {
    my ($c, $mark, @homes) = marked($m[0], @pool);
    my $notes = file();
    my ($holder, $release) = holder($c, $notes);
    $homes[0][0]->kill9;
    my $next = waiter(turn($c, $notes, 'next', on => $m[1]));
    sleep 0.5;
    is_deeply [notes($notes)], ['begin holder'], 'the other one keeps the lock';
    $release->();
    is $_->wait->status, 200, 'answered' for $holder, $next;
    one_by_one($notes, 'holder', 'next');
    is attr($c->copy->get('/lua/env'), 'n'), 3, 'both changes';
    $homes[0][0]->restart;
    in_use($_, @pool) for @m;
};

subtest 'a handler that takes longer than a lock lives' => sub {
    my $c = started($m[0], 'n=0');
    my $notes = file();
    my $holder = background(@{ turn($c, $notes, 'holder', take => 14) });
    begun($notes, 'holder');
    my $next = waiter(turn($c, $notes, 'next', on => $m[1]));
    is $_->wait->status, 200, 'answered' for $holder, $next;
    one_by_one($notes, 'holder', 'next');
    is_free($c, 'after both');
};

subtest 'a child process that is killed while it has the lock' => sub {
    my $c = started($m[0], 'n=0');
    my $notes = file();
    my ($holder, $release) = holder($c, $notes);
    my $next = waiter(turn($c, $notes, 'next', on => $m[1]));
    is_served($next, 25, sub { kill 'KILL', children_of($m[0]) }, 'the next one',
        'soon after: the lock expires');
    is data($c->copy(server => $m[1])), 'n=1', 'and what the dead one would have done is not done';
    $release->();
    ok wait_for(20, sub { ($c->copy->get('/lua/env')->env('MEMSESS_DATA') // '') eq 'n=1' }),
        'its member goes on';
};
